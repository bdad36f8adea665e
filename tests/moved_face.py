"""A face that moves by parts of a px, for measures and filters of steadiness."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 128


def still_face() -> np.ndarray:
    """(SIZE, SIZE, 3) RGB."""
    from skimage.data import astronaut

    return cv2.resize(astronaut()[10:234, 112:336], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def moved(picture: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """By px to the right and down."""
    shift = np.float32([[1, 0, dx], [0, 1, dy]])
    return cv2.warpAffine(picture, shift, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
