"""Segments cover the timeline; crop sizes follow the face; the choice of faces is steady."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.faces.align import TEMPLATE_512
from iconface_video.restore.plan import REPEAT_BLOCK, choose_crop_size, make_plan, make_segments, select
from iconface_video.settings import RestoreSettings
from iconface_video.types import ColorTags, Segment, Shot, Survey, Track, VideoInfo

INFO = VideoInfo(
    path=Path("clip.mp4"), container="mp4", codec="h264", width=640, height=480, pix_fmt="yuv420p",
    time_base=Fraction(1, 90000), average_rate=Fraction(25), is_vfr=False, first_pts=0, duration_seconds=None,
    frame_count_declared=None, sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8,
    field_order="progressive",
)  # fmt: skip
TICK = 3600


def make_track(
    frames: int = 50, first: int = 0, window_px: float = 200.0, landmarks: np.ndarray | None = None, **changes
) -> Track:
    points = np.broadcast_to(TEMPLATE_512 if landmarks is None else landmarks, (frames, 5, 2)).astype(np.float32)
    parameters = np.zeros((frames, 4))
    parameters[:, 0] = np.log(512 / window_px)
    track = Track(
        track_id=0, shot=0, birth_pts=first, birth_order=0, pts=first + TICK * np.arange(frames),
        boxes=np.zeros((frames, 4), np.float32), landmarks=points, scores=np.full(frames, 0.9, np.float32),
        parameters=parameters, quality=np.full(frames, 0.5, np.float32), fade=np.ones(frames, np.float32),
        embeddings=np.zeros((0, 512), np.float32), embedding_pts=np.zeros(0, np.int64),
        sharpness=np.full(frames, 10.0, np.float32),
    )  # fmt: skip
    return replace(track, **changes)


def profile() -> np.ndarray:
    """Landmarks of a face turned away: eyes and mouth corners nearly over each other, the nose far out."""
    points = TEMPLATE_512.copy()
    points[:, 0] = 256 + 0.12 * (points[:, 0] - 256)
    points[2, 0] += 60
    return points


def make_survey(tracks=(), shots=((0, 99),)) -> Survey:
    """shots: (first, last) frame numbers."""
    all_shots = tuple(Shot(i, first * TICK, last * TICK) for i, (first, last) in enumerate(shots))
    last = shots[-1][1]
    return Survey(INFO, all_shots, tuple(tracks), last + 1, all_shots[0].first_pts, last * TICK)


@pytest.mark.parametrize(
    "shots",
    [
        [(0, 0)],
        [(0, 99)],
        [(0, 4999)],
        [(0, 10), (11, 30), (31, 2000), (2001, 2003)],
        [(i * 40, i * 40 + 39) for i in range(100)],
    ],
)
def test_segments_cover_the_timeline_once(shots):
    survey = make_survey(shots=shots)
    segments = make_segments(survey)
    assert segments[0].first_pts == survey.first_pts
    assert segments[-1].last_pts == survey.last_pts
    for before, after in itertools.pairwise(segments):
        assert after.first_pts == before.last_pts + 1
        assert after.index == before.index + 1
    seconds = [(s.last_pts - s.first_pts) / 90000 for s in segments]
    assert max(seconds) <= 15.01
    assert all(second >= 5 for second in seconds[:-1])


def test_short_shots_are_cut_at_shot_boundaries():
    shots = [(i * 100, i * 100 + 99) for i in range(10)]  # 4 s each
    starts = {first * TICK for first, _ in shots}
    segments = make_segments(make_survey(shots=shots))
    assert len(segments) > 2
    assert all(segment.first_pts in starts for segment in segments)


@pytest.mark.parametrize(("window_px", "expected"), [(60, 128), (128, 128), (129, 256), (255, 256), (300, 512), (900, 512)])
def test_crop_size_is_the_nearest_above_the_face(window_px, expected):
    assert choose_crop_size(make_track(window_px=window_px), (512, 128, 256)) == expected


def test_crop_size_follows_the_largest_moment_of_the_track():
    track = make_track(window_px=100)
    track.parameters[30, 0] = np.log(512 / 200)
    assert choose_crop_size(track, (128, 256, 512)) == 256


def test_settings_override_the_crop_size():
    (item,) = make_plan(make_survey([make_track()]), RestoreSettings(crop_size=192), (128, 256)).tracks
    assert item.crop_size == 192


def test_faces_left_alone_are_counted_with_their_reason():
    sharp = make_track(sharpness=np.full(50, 40.0, np.float32))
    unsure = make_track(scores=np.where(np.arange(50) % 10 == 0, 0.9, 0.0).astype(np.float32))
    turned = make_track(landmarks=profile())
    survey = make_survey([make_track(), sharp, unsure, turned])
    plan = make_plan(survey, RestoreSettings(max_sharpness=30.0), (256,))
    assert plan.left_alone == {"already sharp": 50, "uncertain": 50, "turned too far": 50}
    assert [item.crops for item in plan.tracks] == [50]
    assert plan.crops_by_size() == {256: 50}


def test_sharpness_zero_restores_all():
    assert select(make_track(sharpness=np.full(50, 900.0, np.float32)), RestoreSettings()).keep.all()


def test_a_turn_away_fades_out_and_in_without_flicker():
    track = make_track(60)
    landmarks = track.landmarks.copy()
    landmarks[20:40] = profile()
    landmarks[30] = TEMPLATE_512  # one frame that seems frontal
    landmarks[50] = profile()  # and one that seems turned
    chosen = select(replace(track, landmarks=landmarks), RestoreSettings())
    assert chosen.left_alone == {"turned too far": int((~chosen.keep).sum())}
    runs = np.flatnonzero(np.diff(chosen.keep.astype(int)))
    assert len(runs) == 2
    assert abs(runs[0] - 19) <= 2
    assert abs(runs[1] - 39) <= 2
    assert chosen.fade[~chosen.keep].max() == 0
    assert np.abs(np.diff(chosen.fade)).max() <= 1 / 5
    assert chosen.fade[0] == chosen.fade[-1] == 1


def test_rows_of_a_range_and_where_decoding_has_to_start():
    track = make_track(50, first=10 * TICK)
    plan = make_plan(make_survey([track]), RestoreSettings(), (256,))
    rows = plan.rows_in(20 * TICK, 22 * TICK + 5)
    assert {pts // TICK: [row for _, row in found] for pts, found in rows.items()} == {20: [10], 21: [11], 22: [12]}
    assert plan.handle_start(Segment(0, 20 * TICK, 90 * TICK)) == (10 + 10 - 10 % REPEAT_BLOCK) * TICK
    assert plan.handle_start(Segment(0, 26 * TICK, 90 * TICK)) == 26 * TICK
    assert plan.handle_start(Segment(0, 0, 90 * TICK)) == 0
    assert plan.handle_start(Segment(0, 80 * TICK, 90 * TICK)) == 80 * TICK
