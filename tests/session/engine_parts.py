"""A clip with faces that were found already, and models that can be named to other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from iconface_video.errors import UsageError
from iconface_video.restore.crop_store import SegmentCrops
from iconface_video.restore.plan import make_plan
from iconface_video.session.clip import Clip
from iconface_video.session.engines.job import RestoreWork
from iconface_video.settings import RestoreSettings
from iconface_video.types import IdentityAnchor, Segment, Shot, Survey, Track, VideoInfo
from iconface_video.video.reader import VideoReader

RATE, FRAMES = 10, 40
SEGMENT_SECONDS = 0.5
SEGMENTS = 8
FATAL = 66.0
"""First value of an anchor whose face kills the worker of `fatal_model`."""
SETTINGS = RestoreSettings(batch=2, segment_seconds=SEGMENT_SECONDS, device="cpu", dtype="float32")


class StandIn:
    """Adds the noise and the anchor's first value, and takes its time."""

    name = "stand-in"
    crop_sizes = (64,)

    def __init__(self, seconds: float = 0.0, marker: Path | None = None) -> None:
        """marker: the first process that restores anything and can make this file is killed."""
        self._seconds = seconds
        self._marker = marker

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        if size % 16:
            raise UsageError(f"crops of {size} px are not taken")
        return 3, size, size

    def prepare(self, anchor: IdentityAnchor, size: int) -> float:
        return float(anchor.direction[0])

    def restore(self, crops, contexts, noise):
        time.sleep(self._seconds)
        if self._marker is not None and not self._marker.exists():
            self._marker.touch()
            die()
        shift = np.array(contexts, np.float32)[:, None, None, None]
        return np.clip(crops + 9 * noise.transpose(0, 2, 3, 1) + shift, 0, 255).astype(np.uint8)


class Fatal(StandIn):
    """One track's face kills it."""

    def restore(self, crops, contexts, noise):
        if FATAL in contexts:
            die()
        return super().restore(crops, contexts, noise)


class Clumsy(StandIn):
    """Fails once with an error of its own."""

    def restore(self, crops, contexts, noise):
        assert self._marker is not None
        if not self._marker.exists():
            self._marker.touch()
            raise RuntimeError("CUDA error: unspecified launch failure")
        return super().restore(crops, contexts, noise)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stand_in(settings: RestoreSettings, *, seconds: float = 0.0, marker: Path | None = None) -> StandIn:
    return StandIn(seconds, marker)


def fatal_model(settings: RestoreSettings) -> Fatal:
    return Fatal()


def clumsy_model(settings: RestoreSettings, *, marker: Path) -> Clumsy:
    return Clumsy(marker=marker)


def slow(seconds: float) -> partial[StandIn]:
    return partial(stand_in, seconds=seconds)


def make_clip(path: Path) -> Path:
    """Four seconds of a moving test picture, one key frame a second."""
    source = f"testsrc2=size=160x96:rate={RATE}:duration={FRAMES / RATE}"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-g", str(RATE)]
    subprocess.run([*command, "-bf", "2", "-pix_fmt", "yuv420p", "-threads", "1", str(path)], check=True)
    return path


def make_track(track_id: int, info: VideoInfo, first: int, count: int, x: float) -> Track:
    """A face of about 48 px whose window drifts slowly."""
    tick = round(Fraction(1, RATE) / info.time_base)
    pts = info.first_pts + (first + np.arange(count)) * tick
    parameters = np.zeros((count, 4))
    parameters[:, 0] = np.log(512 / 50)
    parameters[:, 2] = -(x + 0.2 * np.arange(count)) * 512 / 50
    parameters[:, 3] = -20 * 512 / 50
    return Track(
        track_id=track_id, shot=0, birth_pts=int(pts[0]), birth_order=0, pts=pts.astype(np.int64),
        boxes=np.zeros((count, 4), np.float32),
        landmarks=np.tile(np.array([(10, 14), (20, 14), (15, 20), (11, 25), (19, 25)], np.float32), (count, 1, 1)),
        scores=np.ones(count, np.float32), parameters=parameters, quality=np.full(count, 0.5, np.float32),
        fade=np.ones(count, np.float32), embeddings=np.zeros((0, 512), np.float32), embedding_pts=np.zeros(0, np.int64),
        sharpness=np.ones(count, np.float32),
    )  # fmt: skip


def anchor(value: float, picture: int = 0) -> IdentityAnchor:
    direction = np.full(512, value, np.float32)
    shown = (np.full((64, 64, 3), picture, np.uint8),) if picture else ()
    return IdentityAnchor(direction, 1.0, np.ones(max(1, len(shown)), np.float32), shown, "self")


@dataclass(frozen=True)
class Found:
    """A clip, its survey and anchors."""

    clip: Path
    survey: Survey
    anchors: dict[int, IdentityAnchor]

    def work(self, crops: Path, settings: RestoreSettings = SETTINGS, crop_sizes=(64,)) -> RestoreWork:
        """All segments, into the folder `crops`."""
        crops.mkdir(parents=True, exist_ok=True)
        plan = make_plan(self.survey, settings, crop_sizes)
        return RestoreWork(Clip(VideoReader(self.clip)), self.anchors, settings, plan, plan.segments, crops)


def find(folder: Path, fatal: bool = False) -> Found:
    """Two faces through the clip, a third one for a moment (within segment 3)."""
    clip = make_clip(folder / "clip.mp4")
    info = VideoReader(clip).info
    tracks = (make_track(0, info, 0, FRAMES, 5), make_track(1, info, 7, 20, 80), make_track(2, info, 15, 4, 40))
    tick = round(Fraction(1, RATE) / info.time_base)
    last = info.first_pts + (FRAMES - 1) * tick
    survey = Survey(info, (Shot(0, info.first_pts, last),), tracks, FRAMES, info.first_pts, last)
    anchors = {0: anchor(3.0, picture=90), 1: anchor(-8.0), 2: anchor(FATAL if fatal else 1.0)}
    return Found(clip, survey, anchors)


def crops_of(work: RestoreWork) -> list[tuple]:
    """All that stands in the store, as values that can be compared."""
    return [
        (segment.index, crop.pts, crop.track_id, crop.crop_from_frame.tobytes(), crop.fade, crop.image.tobytes())
        for segment in work.segments
        for crop in SegmentCrops(work.crops, segment.index)
    ]


def files_of(work: RestoreWork) -> list[str]:
    return sorted(path.name for path in work.crops.iterdir())


def without(work: RestoreWork, *indexes: int) -> RestoreWork:
    """The work without segments that are done already."""
    left: tuple[Segment, ...] = tuple(segment for segment in work.segments if segment.index not in indexes)
    return replace(work, segments=left)


def person_of(network: Any, anchor: IdentityAnchor, folder: Path) -> dict[str, bytes]:
    """As if somebody had been learnt, for one anchor: differences at random."""
    from iconface_video.personalize.difference import target_weights
    from iconface_video.personalize.person_weights import PersonFacts, PersonWeights, save_person, weights_hash
    from iconface_video.personalize.recipe import PersonalizeSettings
    from iconface_video.restore.people import anchor_key
    from tests.personalize.test_difference import random_factors

    settings = PersonalizeSettings()
    factors = random_factors(network, target_weights(network, settings.weights), size=0.02)
    path = folder / "person.safetensors"
    save_person(PersonWeights(factors, PersonFacts(weights_hash(network), 3, 1.0, settings, None)), path)
    return {anchor_key(anchor): path.read_bytes()}
