"""What a kept stage depends on, and what it does not."""

from __future__ import annotations

from dataclasses import replace

from iconface_video.session.parts import survey_parts
from iconface_video.settings import AnchorSettings, RunSettings, SurveySettings


def test_a_survey_depends_on_its_grouping_and_not_on_how_anchors_are_weighed():
    settings = RunSettings()
    before = survey_parts({}, settings)
    assert survey_parts({}, replace(settings, anchors=AnchorSettings(temperature=0.5))) == before
    assert survey_parts({}, replace(settings, anchors=AnchorSettings(same_person_similarity=0.5))) != before
    assert survey_parts({}, replace(settings, survey=SurveySettings(min_face_px=30.0))) != before
