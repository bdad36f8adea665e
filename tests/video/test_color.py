from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from iconface_video.types import ColorTags, Frame
from iconface_video.video.color import blend_rgb, grow_box, to_rgb, to_rgb_float
from iconface_video.video.planes import layout_of
from iconface_video.video.reader import VideoReader


def make_frame(pix_fmt: str, width: int = 16, height: int = 12, color: ColorTags | None = None, seed: int | None = 0) -> Frame:
    """A frame of random samples in the legal range, or of mid-gray."""
    layout = layout_of(pix_fmt)
    step = 2 ** (layout.depth - 8)
    planes = []
    for index in range(layout.plane_count):
        shape = layout.plane_shape(index, width, height)
        if seed is None:
            values = np.full(shape, 128 * step)
        else:
            values = np.random.default_rng(seed + index).integers(16 * step, 235 * step, shape)
        planes.append(values.astype(layout.dtype))
    return Frame(0, Fraction(1, 25), 1, tuple(planes), pix_fmt, width, height, color or ColorTags(), 0)


def with_codes(frame: Frame, *codes: int) -> Frame:
    return replace(frame, planes=tuple(np.full_like(plane, code) for plane, code in zip(frame.planes, codes)))


# Codes from ITU-R BT.601-7, BT.709-6 and BT.2020-2: 8-bit limited-range colour bars computed by hand from the standards' equations
# (Y' = Kr R + Kg G + Kb B; codes 16 + 219 Y', 128 + 224 C'), e.g. pure red in BT.601 = 81, 90, 240.
@pytest.mark.parametrize(
    ("space", "codes", "rgb"),
    [
        (6, (81, 90, 240), (1, 0, 0)),
        (6, (145, 54, 34), (0, 1, 0)),
        (6, (41, 240, 110), (0, 0, 1)),
        (1, (63, 102, 240), (1, 0, 0)),
        (1, (173, 42, 26), (0, 1, 0)),
        (1, (32, 240, 118), (0, 0, 1)),
        (9, (74, 97, 240), (1, 0, 0)),
        (9, (164, 47, 25), (0, 1, 0)),
        (9, (29, 240, 119), (0, 0, 1)),
        (1, (16, 128, 128), (0, 0, 0)),
        (1, (235, 128, 128), (1, 1, 1)),
    ],
)
def test_primaries_of_each_standard(space, codes, rgb):
    frame = with_codes(make_frame("yuv444p", color=ColorTags(range=1, space=space)), *codes)
    assert np.allclose(to_rgb_float(frame, (0, 0, 16, 12)), rgb, atol=0.012)  # codes are rounded to 1/219
    assert np.allclose(to_rgb(frame) / 255, rgb, atol=0.016)
    deep = with_codes(make_frame("yuv444p10le", color=ColorTags(range=1, space=space)), *(4 * code for code in codes))
    assert np.allclose(to_rgb_float(deep, (0, 0, 16, 12)), rgb, atol=0.012)
    assert np.allclose(to_rgb(deep) / 255, rgb, atol=0.016)


def test_full_range_uses_all_codes():
    frame = make_frame("yuv420p", color=ColorTags(range=2, space=6))
    assert np.allclose(to_rgb_float(with_codes(frame, 255, 128, 128), (0, 0, 16, 12)), 1)
    assert np.allclose(to_rgb_float(with_codes(frame, 0, 128, 128), (0, 0, 16, 12)), 0)
    assert np.all(to_rgb(with_codes(frame, 255, 128, 128)) == 255)


def test_unspecified_matrix_follows_the_height():
    red_601 = (81, 90, 240)
    low = with_codes(make_frame("yuv444p", 16, 576), *red_601)
    high = with_codes(make_frame("yuv444p", 16, 720), *red_601)
    assert np.allclose(to_rgb_float(low, (0, 0, 2, 2)), (1, 0, 0), atol=0.012)
    assert to_rgb_float(high, (0, 0, 2, 2), clip=False)[0, 0, 1] > 0.05


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gbrp", "gray", "yuv422p10le", "yuv411p"])
@pytest.mark.parametrize("location", [0, 2, 3])
def test_fast_whole_frame_agrees_with_the_exact_box(pix_fmt, location):
    frame = make_frame(pix_fmt, 33, 21, ColorTags(range=1, space=1, chroma_location=location))
    exact = to_rgb(frame, (0, 0, 33, 21)).astype(int)
    fast = to_rgb(frame).astype(int)
    assert np.abs(fast - exact).max() <= 3
    assert np.abs((fast - exact).mean()) < 0.25


@pytest.mark.parametrize(
    ("location", "flags", "tolerance"),
    [
        (3, "bilinear:in_h_chr_pos=0:in_v_chr_pos=0", 0.05),
        (1, "bicubic+full_chroma_inp:in_h_chr_pos=0:in_v_chr_pos=128", 0.6),  # its bilinear disregards the vertical position
    ],
)
def test_agrees_with_swscale_on_a_picture(ffmpeg, location, flags, tolerance):
    """Ground truth: ffmpeg's scaler in its accurate mode, told where the chroma samples lie."""
    tags = ("-colorspace", "bt709", "-color_range", "tv", "-pix_fmt", "yuv420p")
    path = ffmpeg.picture("clip.mkv", "-vf", "gblur=3", *tags, "-c:v", "ffv1", size="128x96", seconds=0.1)
    frame = next(VideoReader(path).frames())
    frame = replace(frame, color=replace(frame.color, chroma_location=location))
    scale = f"scale=in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int+{flags}"
    data = ffmpeg.raw(path, "-frames:v", "1", "-vf", scale, "-pix_fmt", "rgb24")
    expected = np.frombuffer(data, np.uint8).reshape(96, 128, 3).astype(int)
    assert np.abs(to_rgb(frame, (0, 0, 128, 96)) - expected).mean() < tolerance
    assert np.abs(to_rgb(frame) - expected).mean() < tolerance + 0.4


@pytest.mark.parametrize(("location", "across", "down"), [(1, 0.0, 0.5), (2, 0.5, 0.5), (3, 0.0, 0.0)])
def test_chroma_siting_places_a_ramp(location, across, down):
    """Chroma that rises linearly across: at luma pixel x its value is the ramp's at (x - site) / 2."""
    frame = make_frame("yuv420p", 32, 32, ColorTags(range=2, space=6, chroma_location=location), seed=None)
    ramp = 100 + np.arange(16)
    for axis, site in ((1, across), (0, down)):
        chroma = np.broadcast_to(ramp[None, :] if axis == 1 else ramp[:, None], (16, 16)).astype(np.uint8).copy()
        red = to_rgb_float(
            Frame(0, frame.time_base, 1, (frame.planes[0], frame.planes[1], chroma), "yuv420p", 32, 32, frame.color, 0),
            (0, 0, 32, 32),
            clip=False,
        )
        # R = Y + 1.402 (Cr - 128) / 255
        found = (red[..., 0] - 128 / 255) / 1.402 * 255 + 128
        expected = 100 + (np.arange(32) - site) / 2
        line = found[16, 4:28] if axis == 1 else found[4:28, 16]
        assert np.allclose(line, expected[4:28], atol=1e-3)


FORMATS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv410p",
    "yuva420p",
    "gray",
    "gbrp",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p16le",
    "gbrp12le",
]


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("color_range", [1, 2])
def test_blend_touches_nothing_outside_the_mask(pix_fmt, color_range):
    frame = make_frame(pix_fmt, 67, 49, ColorTags(range=color_range, space=1))
    before = [plane.copy() for plane in frame.planes]
    box = grow_box(frame, (11, 9, 50, 40))
    x0, y0, x1, y1 = box
    mask = np.zeros((y1 - y0, x1 - x0), np.float32)
    mask[8:24, 8:30] = np.random.default_rng(1).random((16, 22), np.float32)
    rgb = np.random.default_rng(2).random((y1 - y0, x1 - x0, 3), np.float32)
    blended = blend_rgb(frame, box, rgb, mask)
    assert all(np.array_equal(plane, copy) for plane, copy in zip(frame.planes, before)), "the input frame must stay"
    layout = layout_of(pix_fmt)
    for index, (old, new) in enumerate(zip(before, blended.planes)):
        across, down = layout.chroma_shift if index in (1, 2) and not layout.is_rgb else (0, 0)
        allowed = np.zeros(old.shape, bool)
        # A chroma sample stands for the luma pixels around it: those up to one sample spacing away.
        rows = slice((y0 + 8 >> down) - (down > 0), -(-(y0 + 24) >> down) + (down > 0))
        columns = slice((x0 + 8 >> across) - (across > 0), -(-(x0 + 30) >> across) + (across > 0))
        allowed[rows, columns] = index != 3
        assert np.array_equal(old[~allowed], new[~allowed])
        if index != 3:
            assert not np.array_equal(old, new)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_full_mask_takes_the_new_colour_and_half_mask_the_mean(pix_fmt):
    frame = make_frame(pix_fmt, 32, 24, ColorTags(range=1, space=1))
    gray = layout_of(pix_fmt).is_gray
    colour = (0.5, 0.5, 0.5) if gray else (0.7, 0.4, 0.3)
    rgb = np.full((24, 32, 3), colour, np.float32)
    whole = (0, 0, 32, 24)
    full = blend_rgb(frame, whole, rgb, np.ones((24, 32), np.float32))
    steps = 2 ** (layout_of(pix_fmt).depth - 8)
    assert np.abs(to_rgb_float(full, whole) - rgb).max() < 0.012 / steps + 1e-5
    half = blend_rgb(frame, whole, rgb, np.full((24, 32), 0.5, np.float32))
    for old, new, mixed in zip(frame.planes[:3], full.planes, half.planes):
        assert np.abs(mixed.astype(float) - (old.astype(float) + new.astype(float)) / 2).max() <= 1.0


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_luma_survives_the_way_there_and_back(pix_fmt):
    """An unchanged box gives every luma (and every 4:4:4) sample back exactly, also colours outside RGB."""
    frame = make_frame(pix_fmt, 32, 24, ColorTags(range=1, space=1))
    whole = (0, 0, 32, 24)
    back = blend_rgb(frame, whole, to_rgb_float(frame, whole, clip=False), np.ones((24, 32), np.float32))
    layout = layout_of(pix_fmt)
    for index, (old, new) in enumerate(zip(frame.planes, back.planes)):
        if index not in (1, 2) or layout.chroma_shift == (0, 0):
            assert np.array_equal(old, new)


@pytest.mark.parametrize("location", [1, 2, 3])
def test_smooth_chroma_survives_the_way_there_and_back(location):
    frame = make_frame("yuv420p", 32, 32, ColorTags(range=1, space=1, chroma_location=location), seed=None)
    ramp = np.add.outer(np.arange(16), 2 * np.arange(16)).astype(np.uint8) + 90
    frame = Frame(0, frame.time_base, 1, (frame.planes[0], ramp, ramp.T.copy()), "yuv420p", 32, 32, frame.color, 0)
    whole = (0, 0, 32, 32)
    back = blend_rgb(frame, whole, to_rgb_float(frame, whole, clip=False), np.ones((32, 32), np.float32))
    for old, new in zip(frame.planes, back.planes):
        assert np.array_equal(old[2:-2, 2:-2], new[2:-2, 2:-2])


def test_grow_box_reaches_chroma_edges_and_stays_inside():
    assert grow_box(make_frame("yuv420p", 67, 49), (11, 9, 50, 41)) == (10, 8, 50, 42)
    assert grow_box(make_frame("yuv420p", 67, 49), (-5, -5, 67, 49)) == (0, 0, 67, 49)
    assert grow_box(make_frame("yuv422p", 67, 49), (11, 9, 50, 41)) == (10, 9, 50, 41)
    assert grow_box(make_frame("yuv410p", 64, 48), (11, 9, 50, 41)) == (8, 8, 52, 44)
    with pytest.raises(ValueError, match="does not overlap the 67x49 frame"):
        grow_box(make_frame("yuv420p", 67, 49), (70, 0, 80, 10))


def test_wrong_boxes_are_refused():
    frame = make_frame("yuv420p")
    with pytest.raises(ValueError, match="cuts through chroma samples of yuv420p"):
        blend_rgb(frame, (1, 0, 9, 8), np.zeros((8, 8, 3), np.float32), np.ones((8, 8), np.float32))
    with pytest.raises(ValueError, match="is not inside the 16x12 frame"):
        to_rgb_float(frame, (0, 0, 17, 12))
    with pytest.raises(ValueError, match=r"rgb must be \(8, 8, 3\)"):
        blend_rgb(frame, (0, 0, 8, 8), np.zeros((4, 8, 3), np.float32), np.ones((8, 8), np.float32))
