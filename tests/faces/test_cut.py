"""The fast way to cut (plane by plane, then RGB) beside the plain way (RGB of the box, then the crop)."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from iconface_video.faces.align import cut_crop, cut_from_frame
from iconface_video.types import ColorTags, Frame
from iconface_video.video.color import to_rgb

WIDTH, HEIGHT = 300, 220
LAYOUTS = {"yuv420p": (1, 1), "yuv422p10le": (1, 0), "yuv444p": (0, 0), "gbrp": (0, 0), "gray": None}


def _frame(pix_fmt: str, location: int) -> Frame:
    """Smooth enough that both ways of bringing chroma to luma's resolution mean the same."""
    rng = np.random.default_rng(3)
    depth = 10 if "10" in pix_fmt else 8
    shifts = LAYOUTS[pix_fmt]

    def plane(width: int, height: int, spread: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), 7)
        field = cv2.resize(128 + spread * field / field.std(), (width, height), interpolation=cv2.INTER_AREA)
        return np.rint(field * 2 ** (depth - 8)).astype(np.uint8 if depth == 8 else np.uint16)

    planes = [plane(WIDTH, HEIGHT, 30)]
    if shifts is not None:
        spread = 30 if pix_fmt == "gbrp" else 10
        planes += [plane(WIDTH >> shifts[0], HEIGHT >> shifts[1], spread) for _ in range(2)]
    color = ColorTags(space=1, chroma_location=location)
    return Frame(0, Fraction(1, 25), 1, tuple(planes), pix_fmt, WIDTH, HEIGHT, color, 0)


@pytest.mark.parametrize(("middle", "most"), [((150.0, 110.0), 2), ((60.0, 70.0), 5)])
@pytest.mark.parametrize("scale", [0.35, 1.0, 2.2])
@pytest.mark.parametrize(("pix_fmt", "location"), [("yuv420p", 1), ("yuv420p", 2), *((f, 1) for f in list(LAYOUTS)[1:])])
def test_the_same_picture_as_the_plain_way(pix_fmt, location, scale, middle, most):
    frame = _frame(pix_fmt, location)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]) * scale
    # Around the frame's middle, and close to its corner, where the mirror beyond its edge is looked at, too.
    matrix = np.column_stack([turn, 31.5 - turn @ np.array(middle)])
    fast, plain = cut_from_frame(frame, matrix, 64), cut_crop(to_rgb(frame, (0, 0, WIDTH, HEIGHT)), matrix, 64)
    difference = np.abs(fast.astype(int) - plain)
    assert fast.dtype == np.uint8
    assert fast.std() > 15
    assert difference.mean() < 0.7
    assert np.percentile(difference, 99) <= most
