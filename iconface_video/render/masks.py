"""How much of each crop pixel is pasted: soft masks in crop space."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from iconface_video.types import Float32

ELLIPSE_CENTER = (0.5, 0.53)
"""x, y as shares of the crop: a little under the middle, where the FFHQ frame has the face."""
ELLIPSE_RADII = (0.44, 0.465)
"""Where the mask has fallen to zero. Inside the crop, so that its border is never seen."""


@lru_cache(maxsize=16)
def crop_mask(size: int, shape: Literal["ellipse", "square"], feather: float) -> Float32:
    """(size, size) weights: 1 over the face, falling smoothly to 0 before the crop's border.

    feather: width of the soft rim as a share of the crop. The result is shared between calls and read-only.
    """
    centers = (np.arange(size) + 0.5) / size
    y, x = centers[:, None], centers[None, :]
    if shape == "ellipse":
        # Distance to the rim, in shares of the crop, to first order: (1 - r) times the local radius.
        (cx, cy), (rx, ry) = ELLIPSE_CENTER, ELLIPSE_RADII
        radius = np.hypot((x - cx) / rx, (y - cy) / ry)
        inside = (1 - radius) * min(rx, ry)
    else:
        inside = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) - 1.0 / size
    mask = _smoothstep(inside / feather).astype(np.float32)
    mask.flags.writeable = False
    return mask


def _smoothstep(t: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, level at both ends: no visible edge where the rim begins or ends."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)
