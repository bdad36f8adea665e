"""A picture as a frame of film: `FilmReel` is the effect for what `film_media` describes.

Pictures are (h, w, 3) uint8 RGB. A code v stands for the transmittance (v / 255) ** 2.2, i.e. for a density of
-2.2 log10(v / 255): density that is added multiplies codes, so that grain is a multiplication by the exponential of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, Frames, Wander
from iconface_video.degrade.film_dirt import Dirt
from iconface_video.degrade.film_media import FilmMedium
from iconface_video.errors import UsageError
from iconface_video.types import Float32, UInt8

_GAMMA = 2.2
_HOLE_UM = 42.5
"""Side of the square with the area of Kodak's round hole of 48 um."""
_NEGATIVE_DENSITY, _NEGATIVE_GAMMA = 0.2, 0.6
"""Density of a negative's clear base, and its slope: the print's contrast makes up for it, and enlarges its grain."""


@dataclass(frozen=True)
class FilmReel:
    """Shot on `medium`, scanned frame by frame and shown at the clip's rate: a frame that must last is shown twice, as it is.

    `frame_px`: px of a whole frame's height at the clip's scale, where the clip is a crop. None: the clip's height.
    """

    medium: FilmMedium
    frame_px: float | None = None

    def __post_init__(self) -> None:
        if self.frame_px is not None and self.frame_px <= 0:
            raise UsageError(f"frame_px is {self.frame_px}, must be more than 0")

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        scan = _Scan(self.medium, clip, self.frame_px or float(clip.height), rng)
        shown, last = -1, None
        for number, frame in enumerate(frames):
            exposed = int(number / clip.frame_rate * self.medium.frames_per_second + 1e-6)
            if last is None or exposed != shown or self.medium.frames_per_second >= clip.frame_rate:
                shown, last = exposed, scan.frame(frame)
            yield last


class _Scan:
    """Tables and kernels of one clip; slow processes from frame to frame."""

    def __init__(self, medium: FilmMedium, clip: ClipFormat, frame_px: float, rng: np.random.Generator) -> None:
        self.medium, self.clip, self.rng = medium, clip, rng
        self.um = 1000 * medium.frame_mm / frame_px
        """Of a px."""
        self.blur = float(np.sqrt(2 * np.log(2)) / (2 * np.pi) * 1000 / self.um / medium.sharp_lines_mm)
        self.grain_sigma = medium.grain_um / self.um
        self.dyes = _dye_table(medium)
        self.grain = _grain_table(medium, self.um)
        self.vignette = _vignette(clip, medium.vignette)
        self.dirt = Dirt(medium, clip, self.um, rng)
        self.weave, self.light, self.quick = Wander(rng, 12), Wander(rng, 10), Wander(rng, 0.5)

    def frame(self, picture: UInt8) -> UInt8:
        medium = self.medium
        if medium.is_monochrome:
            picture = np.dstack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)] * 3)
        if self.blur > 0.3:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self.blur), np.uint8)
        picture = self._woven(np.asarray(cv2.LUT(picture, self.dyes), np.uint8))
        density = self._grain_field() * np.asarray(cv2.LUT(picture, self.grain), np.float32)
        light = 1 + medium.flicker * float(0.8 * self.light.step()[0] + 0.6 * self.quick.step()[0])
        shown = np.asarray(cv2.exp(density), np.float32)
        shown *= picture
        shown *= np.float32(max(0.2, light) ** (1 / _GAMMA)) * self.vignette
        self.dirt.lay(shown)
        shown += np.float32(0.5)
        return np.clip(shown, 0, 255, out=shown).astype(np.uint8)

    def _woven(self, picture: UInt8) -> UInt8:
        """Jump anew in each frame, weave slowly."""
        x = self.medium.weave_um * (0.95 * float(self.weave.step()[0]) + 0.3 * float(self.rng.standard_normal()))
        y = self.medium.jump_um * float(self.rng.standard_normal())
        move = np.array([[1, 0, x / self.um], [0, 1, y / self.um]], dtype=np.float64)
        size = (self.clip.width, self.clip.height)
        return np.asarray(cv2.warpAffine(picture, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def _grain_field(self) -> Float32:
        """(h, w, 3) noise whose deviation is what is left of 1 after clumping: Selwyn's law holds for the unblurred."""
        height, width, own = self.clip.height, self.clip.width, self.medium.grain_color
        if own <= 0:
            return np.asarray(cv2.merge([self._clumps(height, width, 1)] * 3), np.float32)
        mixing = np.float32(np.hstack([np.sqrt(own) * np.eye(3), np.full((3, 1), np.sqrt(1 - own))]))
        return np.asarray(cv2.transform(self._clumps(height, width, 4), mixing), np.float32)

    def _clumps(self, height: int, width: int, channels: int) -> Float32:
        noise = self.rng.standard_normal((height, width, channels), dtype=np.float32)
        if self.grain_sigma < 0.25:
            return noise
        return np.asarray(cv2.GaussianBlur(noise, (0, 0), self.grain_sigma), np.float32)


def _dye_table(medium: FilmMedium) -> UInt8:
    """(1, 256, 3): code of the scene -> of the faded frame. A share of a dye is a share of its density."""
    code = np.arange(256, dtype=np.float64)
    black = 10 ** (-medium.black_density / _GAMMA)
    scene = black + (1 - black) * code / 255
    stain = np.array([0.0, 0.2, 1.0]) * medium.stain  # yellow holds back blue, and a little green
    channels = [scene**left * 10 ** (-more / _GAMMA) for left, more in zip(medium.dyes, stain)]
    return np.asarray(np.clip(np.stack(channels, 1)[None] * 255 + 0.5, 0, 255), np.uint8)


def _grain_table(medium: FilmMedium, um: float) -> Float32:
    """(1, 256, 3): code -> deviation of its logarithm. Nutting: the density's deviation goes with the root of the density."""
    code = np.maximum(np.arange(256), 1) / 255.0
    density = -_GAMMA * np.log10(code)
    deviation = np.full(256, medium.rms_granularity / 1000 * _HOLE_UM / um)
    if medium.is_negative:
        # The print shows the negative's fluctuations enlarged by its own slope (1 over the negative's).
        own = _NEGATIVE_DENSITY + _NEGATIVE_GAMMA * np.maximum(medium.black_density - density, 0) / 1.5
        deviation = deviation * np.sqrt(own) / _NEGATIVE_GAMMA
    else:
        deviation = deviation * np.sqrt(density + 0.05)
    table = deviation * np.log(10) / _GAMMA
    return np.repeat(np.asarray(table, np.float32)[None, :, None], 3, axis=2)


def _vignette(clip: ClipFormat, depth: float) -> Float32:
    """(h, w, 1) gain of codes: 1 in the middle, falling with the distance squared to 1 - depth in the corners."""
    y = np.linspace(-1, 1, clip.height, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, clip.width, dtype=np.float32)[None, :, None]
    return np.asarray((1 - depth * (x * x + y * y) / 2), np.float32)
