"""A real face to survey."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest


class Portrait(NamedTuple):
    rgb: np.ndarray
    """(210, 200, 3) head and shoulders of Eileen Collins (public domain, from scikit-image)."""
    landmarks: np.ndarray
    """(5, 2) eyes, nose tip, mouth corners, clicked in the picture by hand."""


@pytest.fixture(scope="session")
def portrait() -> Portrait:
    from skimage.data import astronaut

    landmarks = np.array([(203, 101), (246, 102), (223, 124), (203, 143), (241, 144)], dtype=float)
    return Portrait(np.ascontiguousarray(astronaut()[20:230, 120:320]), landmarks - (120, 20))
