"""Film grain stays: a restored face replaces what the input shows under its grain, not the grain.

The residual that is pasted is restored minus source; the source's grain in it, sign turned, would wipe the grain off the face
and leave a smooth patch in a grainy picture. So the source's own grain is taken out of that difference.
"""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32, UInt8

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
