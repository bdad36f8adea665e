"""A stretch of a survey restores what the whole would restore there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from iconface_video.restore.plan import make_plan
from iconface_video.settings import RestoreSettings
from iconface_video.tracking.store import part_of_survey
from iconface_video.types import Shot
from tests.identity.test_evidence import make_survey, make_track


def whole():
    tracks = [make_track(0, 0, 300), replace(make_track(1, 300, 200), shot=1), replace(make_track(2, 700, 200), shot=2)]
    return replace(make_survey(*tracks), shots=(Shot(0, 0, 299), Shot(1, 300, 699), Shot(2, 700, 999)))


def test_rows_frames_and_keys_are_those_of_the_whole():
    survey = whole()
    part = part_of_survey(survey, 250, 349)
    assert [(track.track_id, int(track.pts[0]), int(track.pts[-1])) for track in part.tracks] == [(0, 250, 299), (1, 300, 349)]
    assert (part.first_pts, part.last_pts, part.frame_count) == (250, 349, 100)
    for track in part.tracks:
        before = survey.tracks[track.track_id]
        assert part.key_of(track) == survey.key_of(before)
        rows = np.isin(before.pts, track.pts)
        np.testing.assert_array_equal(track.parameters, before.parameters[rows])
        np.testing.assert_array_equal(track.landmarks, before.landmarks[rows])
        assert len(track.boxes) == len(track.scores) == len(track.fade) == len(track.sharpness) == len(track)


def test_the_plan_covers_the_stretch_and_nothing_else():
    plan = make_plan(part_of_survey(whole(), 350, 849), RestoreSettings(), (128,))
    assert plan.segments[0].first_pts == 350
    assert plan.segments[-1].last_pts == 849
    assert all(before.last_pts + 1 == after.first_pts for before, after in zip(plan.segments, plan.segments[1:]))
    assert [item.crops for item in plan.tracks] == [150, 150]


def test_beyond_the_clip_there_is_nothing_to_add():
    survey = whole()
    assert part_of_survey(survey, -50, 5000).frame_count == survey.frame_count
    assert [track.track_id for track in part_of_survey(survey, 500, 699).tracks] == []
