"""Where a face's eyes, brows and mouth are: a tenth of the picture, and nearly all that people know each other by."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32

_EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398),
)
_BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
REGIONS = (*_EYES, *_BROWS, _LIPS)
"""Outlines by rows of MediaPipe's 468 points."""
_MARGIN = 0.03
"""Share of the crop's side by which each is widened: lids and the rim of the lips belong to it."""
_SUBPIXELS = 3
"""Binary places of cv2's fixed-point coordinates."""


def feature_regions(points: Float32, size: int) -> Float32:
    """points: (B, 468, 2) shares of the crop's side -> (B, 1, size, size), 1 within eyes, brows and mouth, 0 elsewhere, soft between."""
    maps = np.zeros((len(points), 1, size, size), np.float32)
    widened = max(1, round(2 * _MARGIN * size))
    for place, face in zip(maps, points):
        for outline in REGIONS:
            corners = np.rint((face[list(outline)] * size - 0.5) * 2**_SUBPIXELS).astype(np.int32)
            hull = cv2.convexHull(corners)
            cv2.fillConvexPoly(place[0], hull, 1.0, shift=_SUBPIXELS)
            cv2.polylines(place[0], [hull], True, 1.0, widened, shift=_SUBPIXELS)
        place[0] = cv2.GaussianBlur(place[0], (0, 0), _MARGIN * size / 3)
    return maps
