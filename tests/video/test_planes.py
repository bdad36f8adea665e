from __future__ import annotations

import av
import numpy as np
import pytest

from iconface_video.types import ColorTags
from iconface_video.video.planes import layout_of, packed_picture_of, planar_name, planes_of


def test_every_format_of_ffmpeg_has_a_home():
    """Each software format is kept in a planar one whose layout is known."""
    hardware = 0
    for name in av.video.format.names:
        fmt = av.VideoFormat(name, 64, 64)
        if not fmt.components:
            hardware += 1
            continue
        layout = layout_of(planar_name(name))
        assert layout.depth >= min(16, max(component.bits for component in fmt.components)) or fmt.is_bayer, name
        assert 8 <= layout.depth <= 16
    assert hardware < 40


@pytest.mark.parametrize(
    ("name", "chroma", "shift"), [("p010le", "420", 6), ("p016le", "420", 0), ("p210le", "422", 6), ("p412le", "444", 4)]
)
def test_semi_planar_high_depth(name, chroma, shift):
    """Samples in the high bits, chroma interleaved: counted out by hand."""
    picture = av.VideoFrame(6, 4, name)
    luma = np.arange(24, dtype=np.uint16).reshape(4, 6)
    width, height = {"420": (3, 2), "422": (3, 4), "444": (6, 4)}[chroma]
    pairs = np.arange(2 * width * height, dtype=np.uint16).reshape(height, 2 * width) + 100
    for plane, values in zip(picture.planes, (luma, pairs)):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        rows[: values.shape[0], : values.shape[1] * 2] = (values << shift).view(np.uint8).reshape(values.shape[0], -1)
    planes = planes_of(picture, planar_name(name))
    assert np.array_equal(planes[0], luma)
    assert np.array_equal(planes[1], pairs[:, 0::2])
    assert np.array_equal(planes[2], pairs[:, 1::2])


def test_packing_is_the_inverse_of_unpacking():
    planes = tuple(np.random.default_rng(k).integers(0, 256, (5, 7), dtype=np.uint8) for k in range(3))
    for name in ("rgb24", "bgr0", "0bgr"):
        picture = packed_picture_of(planes, name, 7, 5, ColorTags())
        assert all(np.array_equal(a, b) for a, b in zip(planes_of(picture, "gbrp"), planes))


def test_packed_layout_is_named_by_what_is_kept():
    with pytest.raises(ValueError, match="frames are not kept in 'nv12'; it is laid out as 'yuv420p'"):
        layout_of("nv12")
