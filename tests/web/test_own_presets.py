"""Settings under names of the user's own: kept beside the projects, taken by other videos, alone or in a queue."""

from __future__ import annotations

import json

import pytest

from iconface_video.errors import StoreError, UsageError
from iconface_video.web.own_presets import FILE, OwnPresets
from iconface_video.web.record import Options
from tests.web.conftest import added, serving, wait_until_idle
from tests.web.test_work import Standing

GENTLE = {"strength": 0.4, "mask": "square", "codec": "hevc", "container": ".mkv"}


def test_they_are_taken_by_another_video_and_outlive_the_server(folder, face_clip, quick_survey):
    with serving(folder) as client:
        one, other = added(client, face_clip, "one.mp4"), added(client, face_clip, "other.mp4")
        client.patch(one, json={**GENTLE, "begin": 0.5})
        answer = client.post("/api/presets", json={"name": "  Grandma's \n tapes ", "project": one.rpartition("/")[2]})
        assert (answer.status_code, answer.json()["name"]) == (201, "Grandma's tapes")
        state = client.patch(other, json={"own": "Grandma's tapes", "crf": 30}).json()
        assert {name: state["options"][name] for name in GENTLE} == GENTLE
        assert (state["options"]["crf"], state["options"]["begin"]) == (30, None)
    with serving(folder) as client:
        (kept,) = client.get("/api/presets").json()["own"]
        assert (kept["name"], kept["values"]["strength"], "begin" in kept["values"]) == ("Grandma's tapes", 0.4, False)
        assert client.patch(other, json={"own": "Grandpa"}).status_code == 400
        assert client.post("/api/presets/delete", json={"name": "Grandma's tapes"}).json() == {"own": []}
        assert client.post("/api/presets/delete", json={"name": "Grandma's tapes"}).status_code == 400
        assert client.get(other).json()["options"]["strength"] == 0.4, "videos keep what they took"


@pytest.mark.parametrize("looks_anew", [False, True])
def test_a_queue_takes_them(folder, face_clip, quick_survey, looks_anew):
    """Also where they find people otherwise: then each video is looked through again before it is restored."""
    with serving(folder, engine=Standing()) as client:
        numbers = [added(client, face_clip, f"{name}.mp4").rpartition("/")[2] for name in "ab"]
        client.patch(f"/api/projects/{numbers[0]}", json={**GENTLE, "harder": looks_anew})
        wait_until_idle(client, f"/api/projects/{numbers[0]}")
        client.post("/api/presets", json={"name": "Mine", "project": numbers[0]})
        assert client.post("/api/line", json={"projects": numbers, "own": "Nobody's"}).status_code == 400
        assert client.post("/api/line", json={"projects": numbers, "own": "Mine"}).status_code == 202
        for number in numbers:
            (result,) = wait_until_idle(client, f"/api/projects/{number}")["results"]
            assert (result["settings"]["strength"], result["settings"]["harder"]) == (0.4, looks_anew)
            assert result["name"].endswith(".mkv")


def test_a_look_before_restoring_is_gone_on_with(folder, face_clip, quick_survey):
    with serving(folder, engine=Standing()) as client:
        project = added(client, face_clip)
        number = project.rpartition("/")[2]
        client.patch(project, json={"harder": True})
        wait_until_idle(client, project)
        client.post("/api/presets", json={"name": "Mine", "project": number})
        client.patch(project, json={"harder": False})
        wait_until_idle(client, project)
        client.patch("/api/line", json={"paused": True})
        client.post("/api/line", json={"projects": [number], "own": "Mine"})
    assert json.loads((folder / number / "project.json").read_text())["todo"]["then_run"] is True
    with serving(folder, engine=Standing()) as client:
        state = wait_until_idle(client, project)
        assert (len(state["results"]), state["results"][0]["settings"]["harder"]) == (1, True)


@pytest.mark.parametrize("name", ["", "  ", "default", "Film"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(UsageError):
        OwnPresets(tmp_path).save(name, Options())


def test_one_name_in_any_letters_is_one_preset(tmp_path):
    presets = OwnPresets(tmp_path)
    presets.save("Tapes", Options())
    presets.save("tapes", Options(strength=0.5))
    assert [(item["name"], item["values"]["strength"]) for item in OwnPresets(tmp_path).listed()["own"]] == [("tapes", 0.5)]


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 7}', '{"format": 1, "presets": {"a": {"strength": 7}}}'])
def test_a_damaged_file_is_said_and_left_alone(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    presets = OwnPresets(tmp_path)
    assert presets.listed() == {"own": []}
    with pytest.raises(StoreError, match=FILE):
        presets.save("Tapes", Options())
    assert (tmp_path / FILE).read_text() == content
