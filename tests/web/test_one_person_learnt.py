"""Whether one person is learnt from the photos, as the page is told it."""

from __future__ import annotations

import json

import pytest

from iconface_video.session.clip_session import ClipSession
from tests.web.conftest import added, serving
from tests.web.test_projects import Counting, restored


@pytest.mark.parametrize(("said", "wish"), [("yes", {0: True}), ("no", {0: False}), ("", {})])
def test_one_person_is_learnt_or_not_as_the_user_says(folder, face_clip, quick_survey, monkeypatch, said, wish):
    """It outlives the server, and goes the way of the command's people.yaml: into the session that restores."""
    seen = []
    monkeypatch.setattr(ClipSession, "_learn_people", lambda session, model: seen.append(session.survey().chosen.learn))
    with serving(folder, engine=Counting()) as client:
        project = added(client, face_clip)
        restored(client, project)
        state = client.patch(f"{project}/people/0", json={"learn": said}).json()
        assert state["people"][0]["learn"] == said
        assert state["results"][0]["changed"] == (["learn"] if said else [])
    with serving(folder, engine=Counting()) as client:
        assert client.get(project).json()["people"][0]["learn"] == said
        assert restored(client, project)["changed"] == []
    assert seen == [{}, wish]


@pytest.mark.parametrize("wrong", ["maybe", True, 1])
def test_a_wrong_word_on_learning_is_refused_whole(client, surveyed, wrong):
    answer = client.patch(f"{surveyed}/people/0", json={"learn": wrong, "name": "Anna"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("learn ")
    assert client.get(surveyed).json()["people"][0]["name"] == ""


def test_a_record_of_before_says_nothing_of_it(folder, face_clip, quick_survey):
    with serving(folder) as client:
        project = added(client, face_clip)
        client.patch(f"{project}/people/0", json={"learn": "yes"})
    (file,) = folder.glob("*/project.json")
    values = json.loads(file.read_text())
    del values["people"][0]["learn"]
    del values["options"]["folder"]
    file.write_text(json.dumps(values))
    with serving(folder) as client:
        state = client.get(project).json()
        assert (state["people"][0]["learn"], state["options"]["folder"]) == ("", "")
