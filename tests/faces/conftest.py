"""A real face to find: the public-domain portrait of Eileen Collins that scikit-image carries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest


class Portrait(NamedTuple):
    rgb: np.ndarray
    """(512, 512, 3) uint8."""
    box: np.ndarray
    """(4,) her face from brow to chin, read off the picture by eye."""
    landmarks: np.ndarray
    """(5, 2) eyes, nose tip and mouth corners, clicked in the picture by hand."""


@pytest.fixture(scope="session")
def portrait() -> Portrait:
    from skimage.data import astronaut

    return Portrait(
        np.ascontiguousarray(astronaut()),
        np.array([178, 62, 268, 178], dtype=float),
        np.array([(203, 101), (246, 102), (223, 124), (203, 143), (241, 144)], dtype=float),
    )
