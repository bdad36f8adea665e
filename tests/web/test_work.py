"""The page's long work, with a stand-in for the model: what a stopped run restored is taken by the next one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iconface_video.errors import Cancelled
from iconface_video.identity.grouping import DecidedPeople
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.web.jobs import Job
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
