"""Colour and light stay the input's: the restored face changes detail, not low frequencies."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32

SIGMA_SHARE = 1 / 8
"""Sigma of the Gaussian that parts light from detail, as a share of the crop: wider than an eye, narrower than a cheek.

Much smaller would bring the degradation back (its blur lives in what is exchanged), much larger would miss shading.
"""
_WORK_SIZE = 64


def low_frequencies(picture: Float32) -> Float32:
    """(S, S, C) float32 -> the same, low-passed by a Gaussian of sigma S * `SIGMA_SHARE`.

    Computed at 64 px: nothing that the Gaussian leaves needs more.
    """
    size = picture.shape[0]
    small = min(size, _WORK_SIZE)
    reduced = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(reduced, (0, 0), small * SIGMA_SHARE, borderType=cv2.BORDER_REFLECT_101)
    if small != size:
        blurred = cv2.resize(blurred, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(blurred, np.float32)


def match_color(residual: Float32) -> Float32:
    """Take the low frequencies out of a residual (restored minus source): what is left changes neither colour nor light.

    residual: (S, S, 3). Working on the residual instead of on two pictures makes "no change" exactly no change.
    """
    return residual - low_frequencies(residual)
