"""The page's long work, with a stand-in for the model: what a stopped run restored is taken by the next one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iconface_video.errors import Cancelled
from iconface_video.identity.grouping import DecidedPeople
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.session import clip
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.web.jobs import Job
from iconface_video.web.remembering import PREVIEWED, forget, memory_of_previews, memory_of_run
from iconface_video.web.work import Wanted, make_preview, make_result
from tests.pipelines.conftest import Sharpener
from tests.web.conftest import NoModels

SETTINGS = RunSettings(
    survey=SurveySettings(detection_size=256),
    restore=RestoreSettings(batch=4, segment_seconds=0.5),
    encode=EncodeSettings(preset="ultrafast"),
)


class Standing(NoModels):
    """With one model for all jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Sharpener()

    def restorer(self, settings):
        return self.model


class Stopping(Job):
    """Cancelled by its user once so many faces are restored."""

    def __init__(self, faces: int) -> None:
        super().__init__("run", lambda job: None)
        self.faces = faces

    def report(self, event) -> None:
        super().report(event)
        if event.stage == "restore" and event.done >= self.faces:
            self.cancel()


@pytest.fixture(autouse=True)
def every_event(monkeypatch):
    """Nothing is passed over: a calm machine would be through with all faces before the second event."""
    monkeypatch.setattr(clip, "_LEAST_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def wanted(known_survey, face_clip) -> Wanted:
    survey = replace(known_survey, info=replace(known_survey.info, path=face_clip))
    return Wanted(DecidedPeople(ChosenPeople(survey)), SETTINGS)


def test_a_run_goes_on_from_what_a_cancelled_one_restored(wanted, tmp_path):
    work = tmp_path / "work"
    with pytest.raises(Cancelled):
        make_result(wanted, tmp_path / "one", work, Standing(), Stopping(13))
    assert list((tmp_path / "one" / "out").iterdir()) == []
    assert list((work / "crops").glob("*.npz"))
    again, at_once = Standing(), Standing()
    result = make_result(wanted, tmp_path / "two", work, again, Job("run", lambda job: None))
    whole = make_result(wanted, tmp_path / "three", tmp_path / "other", at_once, Job("run", lambda job: None))
    assert 0 < again.model.faces < at_once.model.faces
    assert any("going on from an earlier run" in note for note in result.report.notes)
    assert result.report.output.read_bytes() == whole.report.output.read_bytes()


def test_a_preview_leaves_pictures_alone(wanted, tmp_path):
    place = tmp_path / "preview"
    preview = make_preview(wanted, "frame", wanted.survey.first_pts, place, Standing(), Job("preview", lambda job: None))
    assert sorted(path.name for path in place.iterdir()) == ["after.jpg", "before.jpg", "result.json"]
    assert (place / "before.jpg").read_bytes() != (place / "after.jpg").read_bytes()
    assert len(preview.close_ups) > 0


def test_a_run_takes_the_faces_of_previews_to_the_bit(wanted, tmp_path):
    """Also those of a preview that was cancelled."""
    engine, at_once = Standing(), Standing()
    begin, job = wanted.survey.first_pts, Job("preview", lambda job: None)
    make_preview(wanted, "frame", begin, tmp_path / "preview", engine, job, memory_of_previews(tmp_path))
    base = wanted.survey.info.time_base
    later, stopping = begin + round(0.5 / base), Stopping(9)
    with pytest.raises(Cancelled):
        make_preview(wanted, "stretch", later, tmp_path / "preview", engine, stopping, memory_of_previews(tmp_path))
    shown = len(list((tmp_path / PREVIEWED).iterdir()))
    assert shown > 8
    memory = memory_of_run(tmp_path)
    run = Job("run", lambda job: None)
    before = engine.model.faces
    result = make_result(wanted, tmp_path / "one", tmp_path / "work", engine, run, memory)
    whole = make_result(wanted, tmp_path / "two", tmp_path / "other", at_once, Job("run", lambda job: None))
    assert memory.taken == shown
    assert engine.model.faces - before < at_once.model.faces
    assert result.report.output.read_bytes() == whole.report.output.read_bytes()
    assert result.report.faces_restored == whole.report.faces_restored
    forget(tmp_path)
    assert not (tmp_path / PREVIEWED).exists()


def test_a_run_takes_the_faces_of_a_piece_that_was_broken_off(wanted, tmp_path):
    long = replace(wanted, settings=replace(SETTINGS, restore=replace(SETTINGS.restore, segment_seconds=10.0)))
    engine, at_once = Standing(), Standing()
    work = tmp_path / "work"
    with pytest.raises(Cancelled):
        make_result(long, tmp_path / "one", work, engine, Stopping(13), memory_of_run(tmp_path))
    assert not list((work / "crops").glob("*.npz")), "no piece is whole"
    memory = memory_of_run(tmp_path)
    result = make_result(long, tmp_path / "two", work, engine, Job("run", lambda job: None), memory)
    whole = make_result(long, tmp_path / "three", tmp_path / "other", at_once, Job("run", lambda job: None))
    assert memory.taken >= 12
    assert result.report.output.read_bytes() == whole.report.output.read_bytes()


def test_a_preview_of_other_settings_is_not_taken(wanted, tmp_path):
    engine, begin = Standing(), wanted.survey.first_pts
    make_preview(wanted, "frame", begin, tmp_path / "p", engine, Job("preview", lambda job: None), memory_of_previews(tmp_path))
    other = replace(wanted, settings=replace(SETTINGS, restore=replace(SETTINGS.restore, seed=7)))
    memory = memory_of_run(tmp_path)
    make_result(other, tmp_path / "one", tmp_path / "work", engine, Job("run", lambda job: None), memory)
    assert memory.taken == 0
