"""Film grain stays: a restored face replaces what the input shows under its grain, not the grain.

The residual that is pasted is restored minus source; the source's grain in it, sign turned, would wipe the grain off the face
and leave a smooth patch in a grainy picture. So the source's own grain is taken out of that difference.

Black and white stays black and white: finds out whether a face has colors of its own, before a model invents some.

In a monochrome picture chroma is a function of luma: neutral everywhere (black and white), the same everywhere (tinted), or
stronger where it is brighter (sepia toning, as most scanners and editors make it). In a color picture skin, lips, eyes and
hair differ in chroma at the same luma. So what is measured is how far chroma strays from what luma says.

Colour and light stay the input's: the restored face changes detail, not low frequencies.
"""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32, Float64, UInt8

_WIDEST_PX = 2.0
"""Sigma of the low pass over which the picture is not grain."""
_BLOCK_PX = 8
_CALM_SHARE = 0.1
"""Share of the blocks that are calm (cheek, forehead, ground): there only the grain moves the grey values."""
_RANGE_SIGMAS = 3 * 3.0
"""Range of the bilateral filter in sigmas of the grain: differences well beyond three of them are the picture's own. Times three,
as OpenCV adds the differences of the three channels."""
_LIMIT_SIGMAS = 3.0
"""No more than this is taken for grain at any one place."""
_MOST_GAIN = 1.5
"""The filter lets through some of the grain, mostly its widest part; what it finds is raised to the level measured."""
_LEAST_SIGMA = 0.7
"""Grey levels; below this there is no grain, only rounding."""


def grain_sigma(picture: Float32) -> float:
    """Standard deviation of the grain in grey levels: that of the calmest blocks of a (S, S) grey picture.

    Hair, lashes and edges lie in other blocks. Scanned grain is wider than a pixel: estimators that look at the finest
    detail alone miss most of it.
    """
    return float(np.quantile(_block_deviations(picture), _CALM_SHARE))


def grain_of(source: UInt8, crop_px_per_frame_px: float) -> Float32:
    """The source crop's grain: (S, S, 3) float32 grey levels, mean about 0.

    source: (S, S, 3) RGB. crop_px_per_frame_px: its enlargement; grain is looked for at the frame's own scale, because an
    enlarged crop has blobs instead. A crop that was shrunk has lost most of its grain, and as much is found.
    """
    size = source.shape[0]
    picture = _at_frame_scale(source, crop_px_per_frame_px)
    sigma = grain_sigma(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32))
    if sigma < _LEAST_SIGMA:
        return np.zeros(source.shape, np.float32)
    smooth = cv2.bilateralFilter(picture, d=9, sigmaColor=_RANGE_SIGMAS * sigma, sigmaSpace=_WIDEST_PX)
    if len(smooth) != size:
        smooth = cv2.resize(smooth, (size, size), interpolation=cv2.INTER_CUBIC)
    grain = np.clip(source.astype(np.float32) - smooth, -_LIMIT_SIGMAS * sigma, _LIMIT_SIGMAS * sigma)
    found = grain_sigma(_at_frame_scale(grain, crop_px_per_frame_px).mean(axis=2))
    return grain * np.float32(np.clip(sigma / max(found, 1e-3), 1.0, _MOST_GAIN))


def kept_grain(source: UInt8, restored: Float32, crop_px_per_frame_px: float) -> Float32:
    """What to add to restored minus source so that the pasted face has the input's grain: (S, S, 3) float32 grey levels.

    A model that left some of the grain in its face gets only the rest: the share that is still there is found by projecting
    the restored crop's fine structure on the grain, where the source is calm.
    """
    grain = grain_of(source, crop_px_per_frame_px)
    if not grain.any():
        return grain
    own = _fine(_at_frame_scale(grain, crop_px_per_frame_px).mean(axis=2))
    left = _fine(_at_frame_scale(restored, crop_px_per_frame_px).mean(axis=2))
    blocks = _block_deviations(_at_frame_scale(source, crop_px_per_frame_px).mean(axis=2))
    calm = np.kron(blocks <= np.quantile(blocks, 3 * _CALM_SHARE), np.ones((_BLOCK_PX, _BLOCK_PX), bool))
    own, left = (_whole_blocks(part)[calm] for part in (own, left))
    still_there = float((own * left).sum()) / max(float((own * own).sum()), 1e-9)
    return grain * np.float32(1.0 - np.clip(still_there, 0.0, 1.0))


def _at_frame_scale(crop: UInt8 | Float32, crop_px_per_frame_px: float) -> Float32:
    """(S, S, 3) -> (s, s, 3) float32, never enlarged."""
    size = crop.shape[0]
    side = size if crop_px_per_frame_px <= 1 else max(4 * _BLOCK_PX, round(size / crop_px_per_frame_px))
    picture = crop.astype(np.float32)
    if side >= size:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _fine(picture: Float32) -> Float32:
    return picture - np.asarray(cv2.GaussianBlur(picture, (0, 0), _WIDEST_PX), np.float32)


def _whole_blocks(picture: Float32) -> Float32:
    """Without the border (the filters' and the crop's), cut to whole blocks."""
    edge = picture.shape[0] // 8
    count = max(1, (picture.shape[0] - 2 * edge) // _BLOCK_PX)
    return picture[edge : edge + count * _BLOCK_PX, edge : edge + count * _BLOCK_PX]


def _block_deviations(picture: Float32) -> Float32:
    """(n, n) standard deviation of the fine structure in each block."""
    middle = _whole_blocks(_fine(picture))
    count = middle.shape[0] // _BLOCK_PX
    return np.asarray(middle.reshape(count, _BLOCK_PX, count, _BLOCK_PX).std(axis=(1, 3)), np.float32)


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


SIGMA_SHARE = 1 / 8
"""Sigma of the Gaussian that parts light from detail, as a share of the crop: wider than an eye, narrower than a cheek.

Much smaller would bring the degradation back (its blur lives in what is exchanged), much larger would miss shading.
"""
LIGHT_SIZE = 64
"""px at which light is computed: nothing that the Gaussian leaves needs more."""


def low_frequencies(picture: Float32) -> Float32:
    """(S, S, C) float32 -> the same, low-passed by a Gaussian of sigma S * `SIGMA_SHARE`."""
    return light_of(at_light_size(picture), picture.shape[0])


def at_light_size(picture: Float32) -> Float32:
    """(S, S, C) -> (s, s, C), s at most `LIGHT_SIZE`; areas are averaged."""
    side = min(picture.shape[0], LIGHT_SIZE)
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def light_of(small: Float32, size: int | None = None) -> Float32:
    """The low frequencies of a picture that `at_light_size` has reduced, (s, s, C), at that size or at another one."""
    side = small.shape[0]
    light = cv2.GaussianBlur(small, (0, 0), side * SIGMA_SHARE, borderType=cv2.BORDER_REFLECT_101)
    if size is not None and size != side:
        light = cv2.resize(light, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(light, np.float32)


def match_color(residual: Float32) -> Float32:
    """Take the low frequencies out of a residual (restored minus source): what is left changes neither colour nor light.

    residual: (S, S, 3). Working on the residual instead of on two pictures makes "no change" exactly no change.
    """
    return residual - low_frequencies(residual)
