"""Dust, hairs and scratches of both signs, drawn at the size that they have on the film."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat
from iconface_video.degrade.film_media import FilmMedium
from iconface_video.types import Float32, UInt8

_LIGHT, _DARK = (232.0, 230.0, 222.0), (16.0, 14.0, 13.0)
_SCRATCH_SECONDS = 1.5
"""How long one runs, on average."""


@dataclass
class _Scratch:
    x: float
    drift: float
    frames_left: int
    width: float
    is_light: bool
    weight: float


class Dirt:
    """What lies on a clip's frames. Dust is in one frame alone, scratches run on."""

    def __init__(self, medium: FilmMedium, clip: ClipFormat, um: float, rng: np.random.Generator) -> None:
        """um: of a px."""
        self._medium, self._clip, self._um, self._rng = medium, clip, um, rng
        self._stay = max(1.0, _SCRATCH_SECONDS * medium.frames_per_second)
        # A crop has its part of the frame's dirt.
        frame_px = 1000 * medium.frame_mm / um
        self._part = min(1.0, clip.width * clip.height / (1.37 * frame_px**2))
        self._count = medium.scratches * min(1.0, clip.width / (1.37 * frame_px))
        self._alive = [self._scratch() for _ in range(int(rng.poisson(self._count)))]

    def lay(self, picture: Float32) -> None:
        """Draw the next frame's dirt into an (h, w, 3) float32 picture of codes 0..255."""
        self._alive += [self._scratch() for _ in range(int(self._rng.poisson(self._count / self._stay)))]
        for scratch in self._alive:
            self._draw_scratch(picture, scratch)
            scratch.x += scratch.drift + float(self._rng.normal(0, 4)) / self._um
            scratch.frames_left -= 1
        self._alive = [scratch for scratch in self._alive if scratch.frames_left > 0]
        for _ in range(int(self._rng.poisson(self._medium.dust_per_frame * self._part))):
            self._draw_dust(picture)

    def _is_light(self) -> bool:
        return bool(self._rng.random() < self._medium.light_share)

    def _scratch(self) -> _Scratch:
        rng = self._rng
        return _Scratch(
            x=float(rng.uniform(0, self._clip.width)),
            drift=float(rng.normal(0, 3)) / self._um,
            frames_left=1 + int(rng.exponential(self._stay)),
            width=max(0.45, float(rng.gamma(4, self._medium.scratch_um / 4)) / self._um / 2),
            is_light=self._is_light(),
            weight=float(rng.uniform(0.25, 0.8)),
        )

    def _draw_scratch(self, picture: Float32, scratch: _Scratch) -> None:
        """A little unsteady down the frame, broken here and there; only the columns near it are touched."""
        height, width = picture.shape[:2]
        reach = int(np.ceil(3 * scratch.width + 3))
        left, right = max(0, int(scratch.x) - reach), min(width, int(scratch.x) + reach + 1)
        if left >= right:
            return
        wobble = np.asarray(cv2.resize(self._rng.normal(0, 0.4, (6, 1)), (1, height), interpolation=cv2.INTER_CUBIC))
        strength = cv2.resize(self._rng.uniform(0.0, 1.8, (9, 1)), (1, height), interpolation=cv2.INTER_LINEAR)
        columns = np.arange(left, right)[None, :]
        near = np.exp(-0.5 * ((columns - scratch.x - wobble) / scratch.width) ** 2) * np.clip(strength, 0, 1) * scratch.weight
        _lay(picture[:, left:right], near, _LIGHT if scratch.is_light else _DARK)

    def _draw_dust(self, picture: Float32) -> None:
        rng = self._rng
        height, width = picture.shape[:2]
        size = max(0.7, float(rng.gamma(2.0, self._medium.dust_um / 2)) / self._um / 2)
        center = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        color = _LIGHT if self._is_light() else _DARK
        if rng.random() < self._medium.hair_share:
            turns = np.cumsum(rng.normal(0, 0.4, 10)) + rng.uniform(0, 2 * np.pi)
            points = center + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * 2.5 * size, 0)
            return self._stamp(picture, points, color, thick=max(1, round(12 / self._um)))
        angles = np.linspace(0, 2 * np.pi, 10)[:-1]
        self._stamp(
            picture,
            center + np.stack([np.cos(angles), np.sin(angles)], 1) * (size * rng.uniform(0.4, 1.3, (9, 1))),
            color,
            thick=0,
        )

    def _stamp(self, picture: Float32, points: np.ndarray, color: tuple[float, float, float], thick: int) -> None:
        """A filled outline (thick 0) or a line, soft at its edge, drawn in the box around it."""
        height, width = picture.shape[:2]
        low = np.maximum(np.floor(points.min(0)).astype(int) - 3 - thick, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + 4 + thick, [width, height])
        if (low >= high).any():
            return
        mask: UInt8 = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        shape = [np.round((points - low) * 8).astype(np.int32)]
        if thick:
            cv2.polylines(mask, shape, False, 255, thick, cv2.LINE_AA, 3)
        else:
            cv2.fillPoly(mask, shape, 255, cv2.LINE_AA, 3)
        weight = cv2.GaussianBlur(mask, (3, 3), 0.6) * (0.85 / 255)
        _lay(picture[low[1] : high[1], low[0] : high[0]], weight, color)


def _lay(part: Float32, weight: np.ndarray, color: tuple[float, float, float]) -> None:
    part += weight[:, :, None].astype(np.float32) * (np.array(color, np.float32) - part)
