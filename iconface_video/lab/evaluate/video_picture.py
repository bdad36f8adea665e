"""Measures of single frames of a restored video: the mask's rim, colour against the input, sharpness against the clean one.

Crops are uint8 (S, S, 3) RGB in the FFHQ frame.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.render.match import low_frequencies
from iconface_video.render.paste import ELLIPSE_CENTER, ELLIPSE_RADII
from iconface_video.types import Float32, Float64, UInt8

_RIM_HALF_WIDTH = 0.012
"""Of the band around the mask's outer edge, as a share of the crop's side."""
_BESIDE = 8 / 128
"""How far inside and outside the compared bands lie: 8 px of a 128-px crop."""


def true_detail(crop: UInt8, clean: UInt8, region: NDArray[np.bool_]) -> float:
    """The clean picture's detail that is there, at its place, as a share: regression of the one Laplacian on the other inside
    the region. Noise and invented texture add nothing to it, as they do to sharpness; 1 for the clean picture itself."""
    edges = [cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[region] for picture in (crop, clean)]
    return float((edges[0] * edges[1]).sum() / max(float((edges[1] ** 2).sum()), 1e-6))


def seam_score(crop: UInt8, degraded: UInt8) -> float:
    """How much steeper what was changed is across the mask's outer edge than 8 px (of 128) inside and outside it, grey levels
    per px: 0 where the change fades out unseen, and for a video that was not changed at all.

    Measured on the change (crop minus input), because the picture's own edges (hair, collar) are not seams.
    """
    change = cv2.GaussianBlur(crop.astype(np.float32) - degraded, (0, 0), crop.shape[0] / 128)
    outward, bands = _rim_bands(crop.shape[0])
    steepness = np.abs(
        cv2.Scharr(change, cv2.CV_32F, 1, 0, scale=1 / 32) * outward[..., :1]
        + cv2.Scharr(change, cv2.CV_32F, 0, 1, scale=1 / 32) * outward[..., 1:]
    ).mean(axis=2)
    inside, rim, outside = (float(steepness[band].mean()) for band in bands)
    return max(0.0, rim - 0.5 * (inside + outside))


@lru_cache(maxsize=8)
def _rim_bands(size: int) -> tuple[Float32, tuple[NDArray[np.bool_], ...]]:
    """(S, S, 2) unit vectors across the ellipse, and the bands inside, on and outside its edge."""
    centers = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid((centers - ELLIPSE_CENTER[0]) / ELLIPSE_RADII[0], (centers - ELLIPSE_CENTER[1]) / ELLIPSE_RADII[1])
    distance = (np.hypot(x, y) - 1) * min(ELLIPSE_RADII)
    slope = np.stack([x / ELLIPSE_RADII[0], y / ELLIPSE_RADII[1]], axis=-1)
    outward = (slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-9)).astype(np.float32)
    bands = tuple(np.abs(distance - at) < _RIM_HALF_WIDTH for at in (-_BESIDE, 0.0, _BESIDE))
    return outward, bands


def color_drift(crop: UInt8, degraded: UInt8, region: NDArray[np.bool_]) -> float:
    """Mean CIEDE2000 difference between the low-passed face and that of the input, over the region."""
    pictures = [low_frequencies(np.asarray(picture / 255, np.float32)) for picture in (crop, degraded)]
    lab = [cv2.cvtColor(np.clip(picture, 0, 1), cv2.COLOR_RGB2LAB)[region] for picture in pictures]
    return float(ciede2000(*(np.asarray(colors, np.float32) for colors in lab)).mean())


def luma(crop: UInt8, region: NDArray[np.bool_]) -> float:
    """Mean grey level of the region."""
    return float(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[region].mean())


def ciede2000(lab: Float32, other: Float32) -> Float64:
    """(..., 3) CIELAB colours -> (...) their difference by CIE 142-2001, as written out by Sharma, Wu and Dalal 2005."""
    one, two = np.asarray(lab, np.float64), np.asarray(other, np.float64)
    chroma = (np.hypot(one[..., 1], one[..., 2]) + np.hypot(two[..., 1], two[..., 2])) / 2
    bend = 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
    a1, a2 = one[..., 1] * (1 + bend), two[..., 1] * (1 + bend)
    c1, c2 = np.hypot(a1, one[..., 2]), np.hypot(a2, two[..., 2])
    h1, h2 = np.degrees(np.arctan2(one[..., 2], a1)) % 360, np.degrees(np.arctan2(two[..., 2], a2)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    hue_step = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    far = np.abs(h1 - h2) > 180
    total = h1 + h2
    hue = np.where(grey, total, np.where(far, np.where(total < 360, total + 360, total - 360), total) / 2)
    light, c = (one[..., 0] + two[..., 0]) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    s_light = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    s_chroma, s_hue = 1 + 0.045 * c, 1 + 0.015 * c * t
    rotation = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    d_light, d_chroma, d_hue = (two[..., 0] - one[..., 0]) / s_light, (c2 - c1) / s_chroma, hue_step / s_hue
    return np.asarray(np.sqrt(d_light**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue))
