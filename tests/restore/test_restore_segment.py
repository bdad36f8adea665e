"""Restoring a segment: batches of one shape, repeated frames once, and the same crops wherever the timeline is cut."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.restore.crop_store import SegmentCrops, SegmentWriter, StoredCrop
from iconface_video.restore.face_model import neighbours_of, run_batch
from iconface_video.restore.framing import canonical_from_crop
from iconface_video.restore.noise import TrackNoise
from iconface_video.restore.plan import RestorePlan, make_plan
from iconface_video.restore.segment import ContextCache, SegmentRestorer
from iconface_video.settings import RestoreSettings
from iconface_video.types import ColorTags, Frame, IdentityAnchor, Segment, Shot, Survey, Track, VideoInfo

SIDE = 64
TICK = 40
INFO = VideoInfo(
    path=Path("clip.mp4"), container="mp4", codec="h264", width=SIDE * 2, height=SIDE, pix_fmt="yuv444p",
    time_base=Fraction(1, 1000), average_rate=Fraction(25), is_vfr=False, first_pts=0, duration_seconds=None,
    frame_count_declared=None, sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8,
    field_order="progressive",
)  # fmt: skip


class StandIn:
    """Adds the noise and the anchor's first value: shows which noise and which anchor each crop was given."""

    name = "stand-in"
    crop_sizes = (32, 64)

    def __init__(self, memory_faces: int = 10**6) -> None:
        self.batches: list[int] = []
        self.prepared = 0
        self._memory_faces = memory_faces

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        return 3, size, size

    def prepare(self, anchor: IdentityAnchor, size: int) -> float:
        self.prepared += 1
        return float(anchor.direction[0])

    def restore(self, crops, contexts, noise):
        if len(crops) > self._memory_faces:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        self.batches.append(len(crops))
        shift = np.array(contexts, np.float32)[:, None, None, None]
        return np.clip(crops + 9 * noise.transpose(0, 2, 3, 1) + shift, 0, 255).astype(np.uint8)


class LookingStandIn(StandIn):
    """Every frame of the window leaves its own trace in the result."""

    neighbours = 3

    def fuse(self, window):
        assert len(window) == 7
        weights = np.array([0.05, 0.08, 0.13, 0.4, 0.12, 0.12, 0.1], np.float32)
        return np.tensordot(weights, np.stack(window).astype(np.float32), 1).astype(np.uint8)


def make_frames(count: int, repeat: int = 1) -> list[Frame]:
    """A picture that slides by a pixel; each shown `repeat` times, as a tape of a film shows them."""
    wide = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(SIDE, SIDE * 2 + count)).astype(np.float32), (0, 0), 2)
    wide = np.clip(128 + 50 * wide / wide.std(), 16, 235).astype(np.uint8)
    frames = []
    for index in range(count):
        step = index // repeat
        luma = np.ascontiguousarray(wide[:, step : step + SIDE * 2])
        planes = (luma, np.full_like(luma, 120), np.full_like(luma, 135))
        frames.append(
            Frame(index * TICK, INFO.time_base, TICK, planes, "yuv444p", SIDE * 2, SIDE, ColorTags(range=1, space=1), index)
        )
    return frames


def make_track(track_id: int, first: int, count: int, x: float) -> Track:
    """A face of 32 px whose window drifts slowly."""
    parameters = np.zeros((count, 4))
    parameters[:, 0] = np.log(512 / 30)
    parameters[:, 2] = -(x + 0.1 * np.arange(count)) * 512 / 30
    parameters[:, 3] = -16 * 512 / 30
    rng = np.random.default_rng(track_id)
    return Track(
        track_id=track_id, shot=0, birth_pts=first * TICK, birth_order=0, pts=(first + np.arange(count)) * TICK,
        boxes=np.zeros((count, 4), np.float32),
        landmarks=np.array([(10, 14), (20, 14), (15, 20), (11, 25), (19, 25)], np.float32) + rng.normal(0, 0.2, (count, 5, 2)).astype(np.float32),
        scores=np.ones(count, np.float32), parameters=parameters, quality=np.full(count, 0.5, np.float32),
        fade=np.ones(count, np.float32), embeddings=np.zeros((0, 512), np.float32), embedding_pts=np.zeros(0, np.int64),
        sharpness=np.ones(count, np.float32),
    )  # fmt: skip


COUNT = 40


def make_survey() -> Survey:
    tracks = (make_track(0, 0, COUNT, 5), make_track(1, 11, 20, 60))
    return Survey(INFO, (Shot(0, 0, (COUNT - 1) * TICK),), tracks, COUNT, 0, (COUNT - 1) * TICK)


def anchors() -> dict[int, IdentityAnchor]:
    def one(value: float) -> IdentityAnchor:
        return IdentityAnchor(np.full(512, value, np.float32), 1.0, np.ones(1, np.float32), (), "self")

    return {0: one(0.0), 1: one(5.0)}


def restore(folder: Path, plan: RestorePlan, segments, frames, settings, model=None) -> list[StoredCrop]:
    """Each segment apart, from its own frames, in the order given."""
    model = model or StandIn()
    for segment in segments:
        writer = SegmentWriter(folder, segment.index)
        noise = TrackNoise(settings.noise, settings.seed)
        restorer = SegmentRestorer(plan, segment, INFO, model, ContextCache(model, anchors()), noise, settings, writer)
        for frame in frames:
            looks = neighbours_of(model)
            if plan.handle_start(segment, looks) <= frame.pts <= plan.handle_end(segment, looks):
                restorer.push(frame)
        restorer.finish()
    return sorted((crop for s in segments for crop in SegmentCrops(folder, s.index)), key=lambda c: (c.pts, c.track_id))


def whole(last: int = COUNT - 1) -> list[Segment]:
    return [Segment(0, 0, last * TICK)]


@pytest.mark.parametrize("noise", ["independent", "fixed", "mixed", "progressive", "warped"])
@pytest.mark.parametrize("repeat", [1, 3])
def test_cut_anywhere_gives_the_same_crops_bit_for_bit(tmp_path, noise, repeat):
    settings = RestoreSettings(noise=noise)
    plan = make_plan(make_survey(), settings, StandIn.crop_sizes)
    frames = make_frames(COUNT, repeat)
    expected = restore(tmp_path / "whole", plan, whole(), frames, settings)
    assert len(expected) == COUNT + 20
    for cut in (1, 7, 8, 13, 22):
        parts = [Segment(1, cut * TICK, (COUNT - 1) * TICK), Segment(0, 0, cut * TICK - 1)]
        found = restore(tmp_path / str(cut), plan, parts, frames, settings)
        for one, other in zip(found, expected, strict=True):
            assert (one.pts, one.track_id) == (other.pts, other.track_id)
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.crop_from_frame, other.crop_from_frame)


@pytest.mark.parametrize("repeat", [1, 2, 3, 13])
@pytest.mark.parametrize("left_alone", [(), (4, 9), (14, 22)])
def test_cut_anywhere_a_face_sees_the_same_neighbours(tmp_path, repeat, left_alone):
    """Also where some frames of a track are left alone, and where the picture stands still."""
    settings, model = RestoreSettings(), LookingStandIn()
    plan = make_plan(make_survey(), settings, StandIn.crop_sizes)
    if left_alone:
        plan.tracks[0].selection.keep[slice(*left_alone)] = False
    frames = make_frames(COUNT, repeat)
    expected = restore(tmp_path / "whole", plan, whole(), frames, settings, model)
    alone = restore(tmp_path / "alone", plan, whole(), frames, settings, StandIn())
    assert any(not np.array_equal(one.image, other.image) for one, other in zip(expected, alone, strict=True))
    for cut in (1, 7, 8, 13, 22, 31):
        parts = [Segment(1, cut * TICK, (COUNT - 1) * TICK), Segment(0, 0, cut * TICK - 1)]
        found = restore(tmp_path / str(cut), plan, parts, frames, settings, model)
        for one, other in zip(found, expected, strict=True):
            assert (one.pts, one.track_id) == (other.pts, other.track_id)
            np.testing.assert_array_equal(one.image, other.image)


def test_neighbours_are_the_nearest_that_show_something_new(tmp_path):
    """The first frame of each picture looks at three other pictures on each side, not at its own repeats."""
    settings, seen = RestoreSettings(), []

    class Noting(LookingStandIn):
        def fuse(self, window):
            seen.append(window)
            return window[3]

    plan = make_plan(make_survey(), settings, StandIn.crop_sizes)
    restore(tmp_path, plan, whole(), make_frames(COUNT, 2), settings, Noting())
    middle = [window for window in seen if all(picture is not window[3] for k, picture in enumerate(window) if k != 3)]
    assert len(middle) > 10
    for window in middle:
        assert all(not np.array_equal(a, b) for a, b in pairwise(window))
    ends = [window for window in seen if window[0] is window[3]]  # a track's first frames have nobody before them
    assert ends


def test_every_model_call_has_the_planned_shape(tmp_path):
    settings = RestoreSettings(batch=7)
    model = StandIn()
    plan = make_plan(make_survey(), settings, model.crop_sizes)
    restore(tmp_path, plan, whole(), make_frames(COUNT), settings, model)
    assert set(model.batches) == {7}
    assert len(model.batches) == -(-(COUNT + 20) // 7)
    assert model.prepared == 2


def test_repeated_frames_are_restored_once(tmp_path):
    settings = RestoreSettings(noise="independent", batch=1)
    model = StandIn()
    plan = make_plan(make_survey(), settings, model.crop_sizes)
    crops = restore(tmp_path, plan, whole(), make_frames(COUNT, repeat=4), settings, model)
    assert len(crops) == COUNT + 20
    assert len(model.batches) < 0.45 * len(crops)
    first = [crop for crop in crops if crop.track_id == 0]
    for row in (0, 4, 8):
        for other in range(row + 1, row + 4):
            np.testing.assert_array_equal(first[row].image, first[other].image)
            np.testing.assert_array_equal(first[row].crop_from_frame, first[other].crop_from_frame)
    assert not np.array_equal(first[3].image, first[4].image)


def test_a_change_in_chroma_alone_is_a_change(tmp_path):
    settings = RestoreSettings(batch=1)
    model = StandIn()
    plan = make_plan(make_survey(), settings, model.crop_sizes)
    frames = make_frames(COUNT, repeat=COUNT)
    luma, cb, cr = frames[3].planes
    frames[3] = replace(frames[3], planes=(luma, cb + np.uint8(1), cr))
    crops = [crop for crop in restore(tmp_path, plan, whole(), frames, settings, model) if crop.track_id == 0]
    assert not np.array_equal(crops[3].image, crops[2].image)
    np.testing.assert_array_equal(crops[5].image, crops[4].image)


def test_each_track_gets_its_own_anchor_and_noise(tmp_path):
    settings = RestoreSettings()
    plan = make_plan(make_survey(), settings, StandIn.crop_sizes)
    crops = restore(tmp_path, plan, whole(), make_frames(COUNT, repeat=COUNT), settings)
    frame = [crop for crop in crops if crop.pts == 15 * TICK]
    assert [crop.track_id for crop in frame] == [0, 1]
    means = [float(crop.image.mean()) for crop in frame]
    noise_free = restore(tmp_path / "2", plan, whole(), make_frames(COUNT, repeat=COUNT), replace(settings, seed=43))
    same_frame = [crop for crop in noise_free if crop.pts == 15 * TICK]
    assert not np.array_equal(frame[0].image, same_frame[0].image)
    assert means[0] != means[1]


def test_out_of_memory_splits_the_batch_and_says_so():
    model = StandIn(memory_faces=3)
    crops = np.random.default_rng(0).integers(30, 200, (7, 32, 32, 3)).astype(np.uint8)
    noise = np.random.default_rng(1).normal(size=(7, 3, 32, 32)).astype(np.float32)
    contexts = [float(i) for i in range(7)]
    restored, note = run_batch(model, crops, contexts, noise, 8)
    expected = StandIn().restore(crops, contexts, noise)
    np.testing.assert_array_equal(restored, expected)
    assert note == "memory ran out at 4 faces per model call; went on with 2 (`batch` sets the number)"
    assert set(model.batches) == {2}


def test_other_failures_of_the_model_are_not_hidden():
    class Broken(StandIn):
        def restore(self, crops, contexts, noise):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_batch(Broken(), np.zeros((2, 32, 32, 3), np.uint8), [0.0, 0.0], np.zeros((2, 3, 32, 32), np.float32), 4)


def test_canonical_map_undoes_what_alignment_left_over():
    """Landmarks that sit 3 template px too far right and 10 % too wide in the crop: the map brings the template back."""
    from iconface_video.faces.align import TEMPLATE_512

    track = make_track(0, 0, 9, 0)
    parameters = np.zeros((9, 4))
    seen = (TEMPLATE_512 - 256) * np.array([1.1, 1.0]) + 256 + np.array([3.0, 0.0])
    track = replace(track, parameters=parameters, landmarks=np.broadcast_to(seen, (9, 5, 2)).astype(np.float32))
    for samples in (512, 64):
        matrix = canonical_from_crop(track, 4, samples)
        scale = samples / 512
        points, wanted = (points * scale + (scale - 1) / 2 for points in (seen, TEMPLATE_512))
        np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], wanted, atol=1e-3)
