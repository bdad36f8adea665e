"""Results in a folder of the user's own: whole, beside what lies there, and nowhere that was not chosen on this machine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from iconface_video.errors import Cancelled, OutputError, UsageError
from iconface_video.web import saving
from iconface_video.web.saving import checked_folder, save_into
from iconface_video.web.serving import ServeSettings
from tests.web.conftest import added, serving, wait_until_idle
from tests.web.test_projects import Counting, download, restored

OWNER = "0123456789abcdef"
PART = ".film.mp4.01234567.partial"


@pytest.fixture
def video(tmp_path) -> Path:
    path = tmp_path / "made" / "film.mp4"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 40_000)
    return path


@pytest.fixture
def place(tmp_path) -> Path:
    path = tmp_path / "films"
    path.mkdir()
    return path


def copied(video: Path, place: Path) -> Path:
    return save_into(place, video, OWNER, lambda done, total: None)


def names(place: Path) -> list[str]:
    return sorted(item.name for item in place.iterdir())


def test_it_is_whole_and_replaces_nothing(video, place):
    (place / "film.mp4").write_text("somebody's own")
    (place / "film.2.mp4").symlink_to("nowhere")
    assert copied(video, place) == place / "film.3.mp4"
    assert (place / "film.3.mp4").read_bytes() == video.read_bytes()
    assert (place / "film.mp4").read_text() == "somebody's own"
    assert names(place) == ["film.2.mp4", "film.3.mp4", "film.mp4"]


def test_where_there_are_no_links_it_is_renamed(video, place, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(saving.os, "link", refuse)
    assert [copied(video, place).name for _ in range(2)] == ["film.mp4", "film.2.mp4"]
    assert names(place) == ["film.2.mp4", "film.mp4"]


def test_until_it_is_whole_nothing_has_its_name(video, place):
    """A cancelled copy leaves nothing; what a killed one left is written over, and nobody else's."""
    (place / PART).write_text("of a killed server")
    (place / ".film.mp4.89abcdef.partial").write_text("of another project, which is at work")
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append((names(place), done, total))
        if len(seen) == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        save_into(place, video, OWNER, stop)
    others = [".film.mp4.89abcdef.partial"]
    assert [held for held, _, _ in seen] == [sorted([PART, *others])] * 2
    assert seen[0][1] < seen[0][2] == video.stat().st_size
    assert names(place) == others


def test_a_full_disk_and_a_folder_that_is_gone_are_named(video, place, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"films: has room for 1,000 bytes, and the video takes 10,240,000"):
        copied(video, place)
    assert names(place) == []
    place.rmdir()
    with pytest.raises(OutputError, match=r"films: this folder is not there any more"):
        copied(video, place)


def test_what_is_no_folder_to_save_in_is_refused_with_a_sentence(tmp_path, place, video):
    projects = tmp_path / "projects"
    (projects / "one").mkdir(parents=True)
    assert checked_folder("  ", projects) == ""
    assert checked_folder(f" {place}/ ", projects) == str(place)
    wrong = {
        "films": "give the whole path",
        f"{tmp_path}/fims": "there is no such folder",
        str(video): "this is a file",
        str(projects): "lies among the projects",
        str(projects / "one"): "lies among the projects",
        f"{tmp_path}/\0": "nothing can be written there",
        f"{tmp_path}/" + "x" * 300: "nothing can be written there",
    }
    for typed, sentence in wrong.items():
        with pytest.raises(UsageError, match=sentence):
            checked_folder(typed, projects)
    assert names(place) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_nobody_may_write_to_is_refused(tmp_path, place):
    place.chmod(0o500)
    with pytest.raises(UsageError, match="nothing can be written there"):
        checked_folder(str(place), tmp_path / "projects")


def test_a_result_is_saved_where_the_user_chose(folder, face_clip, quick_survey, place):
    """It is part of the project, outlives the server, and says nothing of the result itself."""
    with serving(folder, engine=Counting()) as client:
        project = added(client, face_clip)
        assert restored(client, project)["saved"] == ""
        state = client.patch(project, json={"folder": f"{place}/"}).json()
        assert (state["options"]["folder"], state["results"][0]["changed"]) == (str(place), [])
        refused = client.patch(project, json={"folder": f"{place}/nowhere", "strength": 0.5})
        assert refused.status_code == 400
        assert client.get(project).json()["options"] == state["options"]
    with serving(folder, engine=Counting()) as client:
        result = restored(client, project)
        assert (Path(result["saved"]).parent, result["save_error"]) == (place, "")
        assert Path(result["saved"]).read_bytes() == download(client, project, result)
        first = client.get(project).json()["results"][-1]
        answer = client.post(f"{project}/results/{first['id']}/save", json={})
        assert answer.status_code == 202
        state = wait_until_idle(client, project)
        assert state["job"]["status"] == "done", state["job"]
        saved = Path(state["results"][-1]["saved"])
        assert saved.parent == place
        assert saved != Path(result["saved"])
        assert saved.read_bytes() == download(client, project, first)
        assert len(names(place)) == 2
        saved.unlink()  # it is the user's own
        assert client.get(project).json()["results"][-1]["saved"] == ""
    (kept,) = folder.glob("*/project.json")
    assert json.loads(kept.read_text())["options"]["folder"] == str(place)


def test_what_cannot_be_saved_is_kept_and_said(folder, face_clip, quick_survey, place):
    with serving(folder, engine=Counting()) as client:
        project = added(client, face_clip)
        client.patch(project, json={"folder": str(place)})
        place.rmdir()  # a stick that was taken out
        result = restored(client, project)
        assert result["saved"] == ""
        assert "this folder is not there any more" in result["save_error"]
        assert len(download(client, project, result)) > 1000
    with serving(folder, engine=Counting()) as client:
        assert client.get(project).json()["results"][0]["save_error"] == result["save_error"]
        place.mkdir()
        client.post(f"{project}/results/{result['id']}/save", json={})
        state = wait_until_idle(client, project)
        assert (state["results"][0]["save_error"], len(names(place))) == ("", 1)
        client.patch(project, json={"folder": ""})
        answer = client.post(f"{project}/results/{result['id']}/save", json={})
        assert "no folder is chosen" in answer.json()["error"]


def test_on_this_machine_alone(folder, face_clip, quick_survey, place):
    with serving(folder, ServeSettings(host="0.0.0.0")) as client:
        project = added(client, face_clip)
        assert client.patch(project, json={"folder": str(place)}).status_code == 403
        assert client.post(f"{project}/results/x/save", json={}).status_code == 403
        assert client.get(project).json()["options"]["folder"] == ""


def test_settings_of_ones_own_name_no_folder(client, surveyed, place):
    client.patch(surveyed, json={"folder": str(place)})
    (own,) = client.post("/api/presets", json={"name": "Mine", "project": surveyed.split("/")[-1]}).json()["own"]
    assert "folder" not in own["values"]
    assert client.patch(surveyed, json={"own": "Mine"}).json()["options"]["folder"] == str(place)
