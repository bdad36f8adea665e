"""Damage that film brings along: grain, dust, scratches, an unsteady gate."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade import operations as op
from iconface_video.degrade.clip_effects import ClipFormat, Frames, Wander
from iconface_video.types import UInt8


@dataclass(frozen=True)
class FilmGrain:
    """New grain in every frame, `size_px` wide."""

    deviation: float = 8.0
    size_px: float = 1.6

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        for frame in frames:
            yield op.add_grain(frame, self.deviation, max(1.0, self.size_px * clip.scale), rng)


@dataclass(frozen=True)
class GateWeave:
    """The picture floats in the gate: moved by about `shift_px`, turned by about `turn_degrees`, mostly slowly, with a little shake."""

    shift_px: float = 1.5
    turn_degrees: float = 0.05

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        slow, quick = Wander(rng, memory=15, size=3), Wander(rng, memory=0.7, size=3)
        center = ((clip.width - 1) / 2, (clip.height - 1) / 2)
        for frame in frames:
            x, y, turn = 0.9 * slow.step() + 0.3 * quick.step()
            matrix = cv2.getRotationMatrix2D(center, float(turn * self.turn_degrees), 1.0)
            matrix[:, 2] = matrix[:, 2] + np.array([x, y]) * self.shift_px * clip.scale
            moved = cv2.warpAffine(
                frame, matrix, (clip.width, clip.height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
            yield np.asarray(moved, dtype=np.uint8)


@dataclass
class _Scratch:
    x: float
    drift: float
    frames_left: int
    width: float
    value: float
    weight: float


@dataclass(frozen=True)
class Scratches:
    """Upright lines that stay for `seconds` on average and drift sideways; about `count` are there at any time."""

    count: float = 1.5
    seconds: float = 1.2

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        stay = max(1.0, self.seconds * clip.frame_rate)
        alive = [self._new(clip, rng, stay) for _ in range(int(rng.poisson(self.count)))]
        for frame in frames:
            alive += [self._new(clip, rng, stay) for _ in range(int(rng.poisson(self.count / stay)))]
            yield self._drawn(frame, alive, clip, rng)
            for scratch in alive:
                scratch.x += scratch.drift + float(rng.normal(0, 0.3)) * clip.scale
                scratch.frames_left -= 1
            alive = [scratch for scratch in alive if scratch.frames_left > 0]

    def _new(self, clip: ClipFormat, rng: np.random.Generator, stay: float) -> _Scratch:
        return _Scratch(
            x=float(rng.uniform(0, clip.width)),
            drift=float(rng.normal(0, 0.4)) * clip.scale,
            frames_left=1 + int(rng.exponential(stay)),
            width=float(rng.uniform(0.4, 1.2)) * max(0.7, clip.scale),
            value=225.0 if rng.random() < 0.6 else 20.0,
            weight=float(rng.uniform(0.3, 0.9)),
        )

    def _drawn(self, frame: UInt8, alive: list[_Scratch], clip: ClipFormat, rng: np.random.Generator) -> UInt8:
        if not alive:
            return frame
        damaged = frame.astype(np.float32)
        columns = np.arange(clip.width, dtype=np.float32)[None, :]
        for scratch in alive:
            # A little unsteady down the picture, and interrupted here and there.
            line = scratch.x + cv2.resize(
                rng.normal(0, 0.5 * clip.scale, (6, 1)), (1, clip.height), interpolation=cv2.INTER_CUBIC
            )
            strength = np.clip(
                cv2.resize(rng.uniform(0.2, 1.6, (9, 1)), (1, clip.height), interpolation=cv2.INTER_LINEAR), 0, 1
            )
            near = np.exp(-0.5 * ((columns - line) / scratch.width) ** 2) * strength * scratch.weight
            damaged += near[:, :, None].astype(np.float32) * (scratch.value - damaged)
        return op.to_uint8(damaged)


@dataclass(frozen=True)
class Dust:
    """Specks and hairs, on average `rate` in a frame, each in one frame only."""

    rate: float = 4.0
    size_px: float = 3.0

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        for frame in frames:
            count = int(rng.poisson(self.rate))
            if count == 0:
                yield frame
                continue
            damaged = frame.copy()
            for _ in range(count):
                self._speck(damaged, clip, rng)
            yield damaged

    def _speck(self, picture: UInt8, clip: ClipFormat, rng: np.random.Generator) -> None:
        size = max(0.6, float(rng.gamma(2.0, self.size_px / 2)) * clip.scale)
        center = np.array([rng.uniform(0, clip.width), rng.uniform(0, clip.height)])
        value = (230, 228, 222) if rng.random() < 0.55 else (18, 16, 15)
        if rng.random() < 0.12:  # a hair: a bent line of some length
            turns = np.cumsum(rng.normal(0, 0.5, 8)) + rng.uniform(0, 2 * np.pi)
            steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * size * 2
            points = np.round((center + np.cumsum(steps, axis=0)) * 8).astype(np.int32)
            cv2.polylines(picture, [points], False, value, max(1, round(clip.scale)), cv2.LINE_AA, 3)
            return
        angles = np.linspace(0, 2 * np.pi, 9)[:-1]
        radii = size * rng.uniform(0.4, 1.2, 8)
        outline = center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
        cv2.fillPoly(picture, [np.round(outline * 8).astype(np.int32)], value, cv2.LINE_AA, 3)
