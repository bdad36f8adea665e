"""Damage of whole clips: effects that run over a stream of frames, seeded, coherent in time, and composed by putting them in a row.

An effect takes an iterator of uint8 (h, w, 3) RGB frames and gives one with as many frames of the same size. At most a few frames are held.
Lengths are given in px of a picture of 576 lines and scale with the clip's height.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from iconface_video.degrade import operations as op
from iconface_video.errors import UsageError
from iconface_video.types import UInt8

Frames = Iterator[UInt8]

_LINES = 576.0


@dataclass(frozen=True)
class ClipFormat:
    """What effects must know of the clip."""

    width: int
    height: int
    frame_rate: float = 25.0

    @property
    def scale(self) -> float:
        """px of the clip per px of a 576-line picture."""
        return self.height / _LINES


class ClipEffect(Protocol):
    """One kind of damage."""

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        """The damaged frames, as many and as large as came in."""
        ...


def degrade_frames(frames: Frames, effects: Sequence[ClipEffect], clip: ClipFormat, seed: int) -> Frames:
    """Run `effects` one after another over a clip. The same frames, effects and seed give the same result.

    Each effect has a random stream of its own, told by its kind and how often that kind came before, so that taking one out leaves
    what the others draw as it was. Raises `UsageError` when a frame's size is not the clip's.
    """
    frames = _checked(frames, clip)
    seen: dict[str, int] = {}
    for effect in effects:
        kind = type(effect).__name__
        seen[kind] = seen.get(kind, 0) + 1
        frames = effect.apply(frames, clip, _stream(seed, kind, seen[kind]))
    return frames


def _stream(seed: int, kind: str, place: int) -> np.random.Generator:
    name = int.from_bytes(hashlib.sha256(kind.encode()).digest()[:4], "little")
    return np.random.default_rng((seed, name, place))


def _checked(frames: Frames, clip: ClipFormat) -> Frames:
    for frame in frames:
        if frame.dtype != np.uint8 or frame.shape != (clip.height, clip.width, 3):
            raise UsageError(f"a frame is {frame.dtype} {frame.shape}, must be uint8 ({clip.height}, {clip.width}, 3)")
        yield frame


class Wander:
    """Random numbers that change slowly: a stationary first-order process with unit deviation and a memory of `memory` frames."""

    def __init__(self, rng: np.random.Generator, memory: float, size: int = 1) -> None:
        self._rng, self._keep = rng, float(np.exp(-1.0 / max(memory, 1e-3)))
        self._value = rng.standard_normal(size)

    def step(self) -> np.ndarray:
        """(size,) the next frame's values."""
        self._value = self._keep * self._value + np.sqrt(1 - self._keep**2) * self._rng.standard_normal(len(self._value))
        return self._value


# ---- sharpness and color


@dataclass(frozen=True)
class Bandwidth:
    """Lost resolution: across `lines` px remain of a 768-px wide picture, down `rows` of 576; color has `color_lines` across."""

    lines: float = 320.0
    rows: float = 576.0
    color_lines: float = 100.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        width, height = clip.width, clip.height
        across, down = min(1.0, self.lines / 768), min(1.0, self.rows / 576)
        small = (max(2, round(width * across)), max(2, round(height * down)))
        color = (max(2, round(width * min(1.0, self.color_lines / 768))), small[1])
        for frame in frames:
            ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
            light = _there_and_back(ycc[:, :, 0], small, (width, height))
            chroma = _there_and_back(ycc[:, :, 1:], color, (width, height))
            yield np.asarray(cv2.cvtColor(np.dstack([light, chroma]), cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def _there_and_back(plane: np.ndarray, small: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    if small == size:
        return plane
    return np.asarray(cv2.resize(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), size, interpolation=cv2.INTER_CUBIC))


@dataclass(frozen=True)
class ChromaShift:
    """Color smeared along the lines and displaced against the light; the displacement drifts."""

    bleed_px: float = 8.0
    shift_px: float = 4.0
    drop_px: float = 1.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        side = rng.choice([-1.0, 1.0], 2)
        drift = Wander(rng, memory=50, size=2)
        for frame in frames:
            shift, drop = side * (1 + 0.15 * drift.step()) * (self.shift_px, self.drop_px) * clip.scale
            yield op.bleed_chroma(frame, self.bleed_px * clip.scale, float(shift), float(drop))


@dataclass(frozen=True)
class Fading:
    """Faded stock with a color cast; brightness flickers from frame to frame by `flicker` (share of the light)."""

    contrast: float = 0.85
    lift: float = 18.0
    cast: float = 0.06
    flicker: float = 0.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        cast = 1 + self.cast * rng.uniform(-1, 1, 3)
        slow, quick = Wander(rng, memory=12), Wander(rng, memory=0.5)
        for frame in frames:
            light = 1 + self.flicker * float(0.7 * slow.step()[0] + 0.5 * quick.step()[0])
            yield op.fade(frame, self.contrast * light, self.lift, cast.astype(np.float32))


@dataclass(frozen=True)
class BlackAndWhite:
    """No color; `tone` 0..1 mixes in sepia."""

    tone: float = 0.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        tint = 1 + self.tone * np.array([0.08, 0.0, -0.18])
        tables = op.to_uint8(np.arange(256)[:, None] * tint)[None]
        for frame in frames:
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            yield np.asarray(cv2.LUT(np.dstack([grey] * 3), tables), dtype=np.uint8)


@dataclass(frozen=True)
class Banding:
    """Only `levels` steps of light and color are left."""

    levels: int = 24

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        for frame in frames:
            yield op.band(frame, self.levels)


# ---- tape


@dataclass(frozen=True)
class Interlace:
    """Combing: the other field's lines come from the next frame, as when two of them are woven into one picture."""

    top_first: bool = True

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        later = 1 if self.top_first else 0
        held: UInt8 | None = None
        for frame in frames:
            if held is not None:
                woven = held.copy()
                woven[later::2] = frame[later::2]
                yield woven
            held = frame
        if held is not None:
            yield held


@dataclass(frozen=True)
class LineJitter:
    """An unstable time base: single lines jump by about `rough_px`, the whole picture bends by `bend_px`, and the lowest `switch_rows`
    lines, where the heads change over, are torn aside.
    """

    rough_px: float = 0.6
    bend_px: float = 1.5
    switch_rows: float = 8.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        height, scale = clip.height, clip.scale
        y = np.arange(height) / height
        waves = Wander(rng, memory=20, size=6)
        tear = Wander(rng, memory=3)
        rows = round(self.switch_rows * scale)
        for frame in frames:
            a = waves.step()
            bend = a[0] * np.sin(2 * np.pi * (1.3 * y + 0.1 * a[1])) + a[2] * np.sin(2 * np.pi * (3.1 * y + 0.1 * a[3]))
            offsets = (0.6 * self.bend_px * bend + self.rough_px * rng.standard_normal(height)) * scale
            if rows > 0:
                offsets[-rows:] += (18 + 8 * float(tear.step()[0])) * scale * np.linspace(0, 1, rows) ** 0.5
            yield op.jitter_lines(frame, offsets.astype(np.float32))


@dataclass(frozen=True)
class Dropouts:
    """White or black streaks along single lines, on average `rate` a frame; some last two frames."""

    rate: float = 2.0
    length_px: float = 120.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        last: list[tuple[int, int, int, int]] = []
        for frame in frames:
            streaks = [s for s in last if rng.random() < 0.25]
            streaks += [self._streak(clip, rng) for _ in range(int(rng.poisson(self.rate)))]
            damaged = frame.copy() if streaks else frame
            for row, start, length, value in streaks:
                # A comet: full at its head, gone at its tail.
                part = damaged[row, start : start + length].astype(np.float32)
                weight = np.linspace(1, 0, len(part), dtype=np.float32)[:, None] ** 0.7
                damaged[row, start : start + length] = op.to_uint8(part * (1 - weight) + value * weight)
            yield damaged
            last = streaks

    def _streak(self, clip: ClipFormat, rng: np.random.Generator) -> tuple[int, int, int, int]:
        length = max(2, round(float(rng.exponential(self.length_px)) * clip.scale))
        row, start = int(rng.integers(clip.height)), int(rng.integers(-length // 2, clip.width))
        return row, max(0, start), length, 235 if rng.random() < 0.8 else 10


@dataclass(frozen=True)
class TapeNoise:
    """Noise of an analogue signal: drawn out along the lines, in color coarser and stronger than in light."""

    light: float = 5.0
    color: float = 8.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        width, height, scale = clip.width, clip.height, clip.scale
        for frame in frames:
            ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb).astype(np.float32)
            ycc[:, :, 0] += _streaky(rng, width, height, 2.0 * scale, 1) * self.light
            ycc[:, :, 1:] += _streaky(rng, width, height, 12.0 * scale, 2) * self.color
            yield np.asarray(cv2.cvtColor(op.to_uint8(ycc), cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def _streaky(rng: np.random.Generator, width: int, height: int, length_px: float, channels: int) -> np.ndarray:
    """Noise of about unit deviation whose grains are `length_px` long and one line high; (h, w) or (h, w, channels)."""
    across = max(2, round(width / max(1.0, length_px)))
    noise = rng.standard_normal((height, across, channels), dtype=np.float32)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)) * np.float32(1.2)
