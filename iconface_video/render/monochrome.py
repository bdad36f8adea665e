"""Black and white stays black and white: finds out whether a face has colors of its own, before a model invents some.

In a monochrome picture chroma is a function of luma: neutral everywhere (black and white), the same everywhere (tinted), or
stronger where it is brighter (sepia toning, as most scanners and editors make it). In a color picture skin, lips, eyes and
hair differ in chroma at the same luma. So what is measured is how far chroma strays from what luma says.
"""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32, Float64, UInt8

_SIDE = 16
"""px to which a crop is shrunk: grain and chroma noise are averaged away, lips and eyes are not."""
_EDGE = 2
"""Of these, px at each side that are not looked at: background."""
_WINDOW = 13
"""Pixels of neighbouring luma whose mean chroma stands for what luma says."""
_UNCLIPPED = (4.0, 250.0)
"""Where a channel is at its limit, a tint loses its color; such pixels say nothing."""
_FEWEST = 2 * _WINDOW
_MEMORY_FRAMES = 8
"""The picture that is judged is a running mean over about so many frames: chroma noise of tapes goes, faces stay."""
_MONOCHROME, _COLORED = 2.8, 4.0
"""Chroma stray (codes of 8 bits) up to which a face is monochrome, from which it is in color. Measured on 200 aligned faces:
color 3.7 and more in 99 of 100 (median 8), neutral 0, constant tint up to 1.6, sepia with clipped highlights up to 3.3. What is
taken for monochrome by mistake only keeps the input's chroma; what is missed gets invented color. So the doubt is for the input."""


def chroma_stray(picture: Float32, luma_weights: Float32) -> float:
    """How far chroma strays from being a function of luma: RMS of Cb and Cr together, codes of 8 bits; 0 for monochrome.

    picture: (h, w, 3) RGB, 0..255.  luma_weights: (3,) of R, G, B.
    """
    pixels = picture.reshape(-1, 3).astype(np.float64)
    usable = ((pixels > _UNCLIPPED[0]) & (pixels < _UNCLIPPED[1])).all(axis=1)
    if usable.sum() >= _FEWEST:
        pixels = pixels[usable]
    red, green, blue = (float(weight) for weight in luma_weights)
    luma = pixels @ np.array([red, green, blue])
    chroma = np.stack([(pixels[:, 2] - luma) / (2 - 2 * blue), (pixels[:, 0] - luma) / (2 - 2 * red)], axis=1)
    chroma = chroma[np.argsort(luma, kind="stable")]
    return float(np.sqrt(((chroma - _running_mean(chroma)) ** 2).sum(axis=1).mean()))


def _running_mean(values: Float64) -> Float64:
    """(n, 2) -> the same; continued at the ends by point reflection, so that a straight slope is its own mean."""
    half = min(_WINDOW // 2, (len(values) - 1) // 2)
    padded = np.pad(values, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
    kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
    return np.stack([np.convolve(padded[:, k], kernel, "valid") for k in range(2)], axis=1)


class ColorJudge:
    """Of one track: how much of the model's color may be used. Push its source crops in order.

    The answer is a weight that moves softly, not a switch: a face must not flicker between two treatments.
    """

    def __init__(self) -> None:
        self._mean: Float32 | None = None
        self._seen = 0

    def push(self, source: UInt8, luma_weights: Float32) -> float:
        """0: monochrome, keep the input's chroma; 1: in color.  source: (S, S, 3) RGB.  luma_weights: (3,)."""
        small = cv2.resize(source, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        self._seen = min(self._seen + 1, _MEMORY_FRAMES)
        mean = small if self._mean is None else self._mean + (small - self._mean) / np.float32(self._seen)
        self._mean = mean
        stray = chroma_stray(mean[_EDGE:-_EDGE, _EDGE:-_EDGE], luma_weights)
        return float(np.clip((stray - _MONOCHROME) / (_COLORED - _MONOCHROME), 0.0, 1.0))
