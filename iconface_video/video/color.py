"""YCbCr <-> RGB on the boxes that someone needs, at the frame's own depth, matrix, range and chroma siting.

Matrices: ITU-T H.273 (table 4, Kr and Kb), i.e. BT.601, BT.709, BT.2020 non-constant luminance and relatives. RGB here is
the video's own non-linear R'G'B'; no transfer function is applied (HDR stays PQ or HLG coded): see `display_light`.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.types import ColorTags, Float32, Frame, UInt8
from iconface_video.video.planes import FULL_RANGE, Plane, PlaneLayout, layout_of

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in frame px, edges exclusive."""

_KR_KB: dict[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470 B/G = BT.601 (625 lines)
    6: (0.299, 0.114),  # SMPTE 170M = BT.601 (525 lines)
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020 non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020 constant luminance; treated as non-constant, as swscale does
}
_LIMITED_RANGE = 1
_SD_LINES = 576


def matrix_code(color: ColorTags, height: int) -> int:
    """H.273 matrix code to use: the tagged one, or by convention BT.601 up to 576 lines and BT.709 above."""
    if color.space in _KR_KB:
        return color.space
    return 6 if height <= _SD_LINES else 1


def luma_weights(color: ColorTags, height: int) -> Float32:
    """(3,) shares of R, G and B in luma, of frames so tagged and so many lines high."""
    kr, kb = _KR_KB[matrix_code(color, height)]
    return np.array([kr, 1 - kr - kb, kb], np.float32)


def is_full_range(color: ColorTags, layout: PlaneLayout) -> bool:
    """RGB and gray are full range unless tagged otherwise; YCbCr is limited unless tagged full."""
    if layout.is_rgb:
        return True
    if layout.is_gray:
        return color.range != _LIMITED_RANGE
    return color.range == FULL_RANGE


@dataclass(frozen=True, eq=False)
class Coding:
    """Everything that one kind of frame needs for conversion, prepared once."""

    layout: PlaneLayout
    luma_offset: float
    luma_scale: float
    """Code steps between black and white."""
    chroma_offset: float
    chroma_scale: float
    """Code steps from -0.5 to 0.5."""
    rgb_from_ycc: Float32
    """(3, 3)."""
    ycc_from_rgb: Float32
    siting: tuple[float, float]
    """Position of the first chroma sample in luma pixels, across and down."""


def coding_of(frame: Frame) -> Coding:
    """What the frame's codes mean; one object for all frames of a kind."""
    return _make_coding(frame.pix_fmt, frame.color, matrix_code(frame.color, frame.height))


@cache
def _make_coding(pix_fmt: str, color: ColorTags, matrix: int) -> Coding:
    layout = layout_of(pix_fmt)
    steps = float(2 ** (layout.depth - 8))
    top = float(2**layout.depth - 1)
    kr, kb = _KR_KB[matrix]
    ycc = np.array(
        [
            [kr, 1 - kr - kb, kb],
            [-kr / (2 * (1 - kb)), -(1 - kr - kb) / (2 * (1 - kb)), 0.5],
            [0.5, -(1 - kr - kb) / (2 * (1 - kr)), -kb / (2 * (1 - kr))],
        ]
    )
    full = is_full_range(color, layout)
    return Coding(
        layout=layout,
        luma_offset=0.0 if full else 16 * steps,
        luma_scale=top if full else 219 * steps,
        chroma_offset=128 * steps,
        chroma_scale=top if full else 224 * steps,
        rgb_from_ycc=np.linalg.inv(ycc).astype(np.float32),
        ycc_from_rgb=ycc.astype(np.float32),
        siting=_siting(layout, color.chroma_location),
    )


def _siting(layout: PlaneLayout, location: int) -> tuple[float, float]:
    """Where the first chroma sample lies, in luma pixels from the first luma sample (AVChromaLocation)."""
    across, down = ((1 << shift) - 1 for shift in layout.chroma_shift)
    if location == 0:
        # MPEG-2, H.264 and all later codecs default to left; in 4:2:2 and 4:1:1 chroma is cosited across anyway.
        location = 1
    left = location in (1, 3, 5)
    vertical = {3: 0.0, 4: 0.0, 5: 1.0, 6: 1.0}.get(location, 0.5)
    return (0.0 if left else across / 2, down * vertical)


def grow_box(frame: Frame, box: Box) -> Box:
    """The box, clipped to the frame and grown so that its edges fall between chroma samples (or on the frame's edge)."""
    across, down = (1 << shift for shift in layout_of(frame.pix_fmt).chroma_shift)
    x0, y0, x1, y1 = (int(value) for value in box)
    x0, y0 = max(0, x0) // across * across, max(0, y0) // down * down
    x1, y1 = min(frame.width, -(-x1 // across) * across), min(frame.height, -(-y1 // down) * down)
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {box} does not overlap the {frame.width}x{frame.height} frame")
    return x0, y0, x1, y1


def to_rgb(frame: Frame, box: Box | None = None) -> UInt8:
    """RGB, uint8 (h, w, 3), of the whole frame or of a box that lies inside it.

    A box is converted exactly; the whole frame quickly, in integers (unbiased, within 3 levels of exact).
    """
    if box is not None:
        return np.rint(to_rgb_float(frame, box) * np.float32(255)).astype(np.uint8)
    coding = coding_of(frame)
    if coding.layout.is_rgb:
        green, blue, red = (_to_8_bits(plane, coding) for plane in frame.planes[:3])
        return cv2.merge([red, green, blue]).astype(np.uint8, copy=False)
    if coding.layout.is_gray:
        gray = _to_8_bits(frame.planes[0], coding)
        return cv2.merge([gray, gray, gray]).astype(np.uint8, copy=False)
    luma: Plane = frame.planes[0]
    chroma = frame.planes[1:3]
    ycc = cv2.merge([luma, *(_upsampled_fast(plane, frame.width, frame.height, coding) for plane in chroma)])
    if coding.layout.depth == 8:
        return cv2.transform(ycc, _affine_rgb_from_codes(coding, 255)).astype(np.uint8, copy=False)
    # Deep pictures are transformed at 16 bits and then rounded, with saturation, to 8.
    deep = cv2.transform(ycc, _affine_rgb_from_codes(coding, 255 * 256))
    return cv2.convertScaleAbs(deep, alpha=1 / 256).astype(np.uint8, copy=False)


def small_frame(frame: Frame, longer_side: int) -> Frame:
    """The whole frame, shrunk (never enlarged) until its longer side is `longer_side` px, for a picture of it.

    Each plane is shrunk by itself, before any conversion, which is fast, and free of aliasing.
    """
    layout = layout_of(frame.pix_fmt)
    scale = min(1.0, longer_side / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    colors = frame.planes[: 1 if layout.is_gray else 3]
    planes = tuple(_shrunk(plane, width, height) for plane in colors)
    pix_fmt = frame.pix_fmt.replace("a", "", 1) if layout.has_alpha else frame.pix_fmt
    if not layout.is_gray and not layout.is_rgb:
        pix_fmt = "yuv444p" + (f"{layout.depth}le" if layout.depth > 8 else "")
    color = replace(frame.color, space=matrix_code(frame.color, frame.height))
    return replace(frame, planes=planes, pix_fmt=pix_fmt, width=width, height=height, color=color, side_data=())


def _shrunk(plane: Plane, width: int, height: int) -> Plane:
    smaller = plane.shape[1] >= width and plane.shape[0] >= height
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _to_8_bits(plane: Plane, coding: Coding) -> UInt8:
    scaled = (plane.astype(np.float32) - coding.luma_offset) * (255 / coding.luma_scale)
    if coding.luma_offset == 0 and coding.luma_scale == 255:
        return plane.astype(np.uint8, copy=False)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _affine_rgb_from_codes(coding: Coding, top: float) -> NDArray[np.float64]:
    """(3, 4): from stored Y, Cb, Cr codes to R, G, B of 0..top."""
    scale = np.array([coding.luma_scale, coding.chroma_scale, coding.chroma_scale])
    offset = np.array([coding.luma_offset, coding.chroma_offset, coding.chroma_offset])
    matrix = coding.rgb_from_ycc.astype(np.float64) * top / scale
    return np.hstack([matrix, -(matrix @ offset)[:, None]])


def _upsampled_fast(plane: Plane, width: int, height: int, coding: Coding) -> Plane:
    """Chroma at every luma pixel in the plane's own integers; the usual sitings without a general warp."""
    (across, down), siting = coding.layout.chroma_shift, coding.siting
    if (across, down) == (0, 0):
        return plane
    if (
        (across, down) not in ((1, 1), (1, 0))
        or siting not in ((0.0, 0.5), (0.5, 0.5), (0.0, 0.0))
        or (down and siting[1] == 0)
    ):
        return np.rint(_warped_chroma(plane, (0, 0, width, height), coding)).astype(plane.dtype)
    rows = 2 * plane.shape[0] if down else plane.shape[0]
    if siting[0] == 0.5:
        return cv2.resize(plane, (2 * plane.shape[1], rows), interpolation=cv2.INTER_LINEAR)[:height, :width]
    if down:
        plane = cv2.resize(plane, (plane.shape[1], rows), interpolation=cv2.INTER_LINEAR)
    wide = np.empty((rows, 2 * plane.shape[1]), plane.dtype)
    wide[:, 0::2] = plane
    following = np.concatenate([plane[:, 1:], plane[:, -1:]], axis=1)
    wide[:, 1::2] = (plane.astype(np.uint32 if plane.dtype == np.uint16 else np.uint16) + following + 1) >> 1
    return np.ascontiguousarray(wide[:height, :width])


def to_rgb_float(frame: Frame, box: Box, *, clip: bool = True) -> Float32:
    """RGB of a box inside the frame: float32 (h, w, 3), 0..1 at the frame's full depth.

    `clip=False` keeps colours that YCbCr can hold but RGB cannot (slightly below 0 or above 1).
    """
    coding = coding_of(frame)
    x0, y0, x1, y1 = _inside(frame, box)
    if coding.layout.is_rgb:
        green, blue, red = (plane[y0:y1, x0:x1].astype(np.float32) / coding.luma_scale for plane in frame.planes[:3])
        return np.dstack((red, green, blue))
    luma = (frame.planes[0][y0:y1, x0:x1].astype(np.float32) - coding.luma_offset) / coding.luma_scale
    if coding.layout.is_gray:
        rgb = cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB)
    else:
        chroma = [
            (_upsampled(plane, (x0, y0, x1, y1), coding) - coding.chroma_offset) / coding.chroma_scale
            for plane in frame.planes[1:3]
        ]
        rgb = cv2.transform(cv2.merge([luma, *chroma]), coding.rgb_from_ycc)
    result = typing.cast(Float32, rgb)
    return np.clip(result, 0, 1, out=result) if clip else result


def _inside(frame: Frame, box: Box) -> Box:
    x0, y0, x1, y1 = (int(value) for value in box)
    if not (0 <= x0 < x1 <= frame.width and 0 <= y0 < y1 <= frame.height):
        raise ValueError(f"box {box} is not inside the {frame.width}x{frame.height} frame")
    return x0, y0, x1, y1


def _upsampled(plane: Plane, box: Box, coding: Coding) -> Float32:
    """Chroma at each luma pixel of the box: float32 (h, w), bilinear between the sites of the chroma samples."""
    x0, y0, x1, y1 = box
    if coding.layout.chroma_shift == (0, 0):
        return plane[y0:y1, x0:x1].astype(np.float32)
    return _warped_chroma(plane, box, coding).astype(np.float32, copy=False)


def _warped_chroma(plane: Plane, box: Box, coding: Coding) -> Plane:
    """The box of a chroma plane at luma resolution, float32."""
    x0, y0, x1, y1 = box
    across, down = (1 << shift for shift in coding.layout.chroma_shift)
    left, top = max(0, x0 // across - 1), max(0, y0 // down - 1)
    part = plane[top : y1 // down + 2, left : x1 // across + 2]
    chroma_from_box = np.array(
        [
            [1 / across, 0, (x0 - coding.siting[0]) / across - left],
            [0, 1 / down, (y0 - coding.siting[1]) / down - top],
        ]
    )
    # OpenCV 4 placed samples on a grid of 1/32 pixel, on which chroma sites fall; OpenCV 5 places them exactly.
    return cv2.warpAffine(
        part.astype(np.float32),
        chroma_from_box,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _subsampled(image: Float32, coding: Coding) -> Float32:
    """Values at the chroma sites of a box with even corners: float32, from (h, w).

    The mean over one sample spacing, centred on the site: for 4:2:0 left that is [1 2 1]/4 across and the mean of two rows.
    """
    across, down = (1 << shift for shift in coding.layout.chroma_shift)
    image = _decimated_rows(image, down, coding.siting[1])
    return np.ascontiguousarray(_decimated_rows(image.T, across, coding.siting[0]).T)


def _decimated_rows(image: Float32, step: int, site: float) -> Float32:
    if step == 1:
        return image
    count = -(-image.shape[0] // step)
    margin = step
    padded = np.pad(image, ((margin, margin + step), (0, 0)), mode="edge")
    result = np.zeros((count, image.shape[1]), np.float32)
    first, last = site - step / 2, site + step / 2
    for offset in range(int(np.floor(first)), int(np.ceil(last)) + 1):
        weight = min(offset + 0.5, last) - max(offset - 0.5, first)
        if weight > 0:
            start = margin + offset
            result += np.float32(weight / step) * padded[start : start + count * step : step][:count]
    return result


def blend_rgb(frame: Frame, box: Box, rgb: Float32, mask: Float32) -> Frame:
    """A frame in which the box is blended towards `rgb`; every sample whose mask is 0 stays bit for bit.

    rgb: float32 (h, w, 3), 0..1; mask: float32 (h, w), 0 keeps the frame, 1 takes `rgb`. The box must lie inside the
    frame with its corners between chroma samples: see `grow_box`. The blend is done in the frame's own coding: the new
    colours become YCbCr values, mixed with the stored ones and rounded to nearest. Alpha is left alone.
    """
    coding = coding_of(frame)
    x0, y0, x1, y1 = _inside(frame, box)
    if grow_box(frame, box) != (x0, y0, x1, y1):
        raise ValueError(f"box {box} cuts through chroma samples of {frame.pix_fmt}; grow it with grow_box first")
    if rgb.shape != (y1 - y0, x1 - x0, 3) or mask.shape != rgb.shape[:2]:
        raise ValueError(
            f"rgb must be ({y1 - y0}, {x1 - x0}, 3) and mask the same without channels, got {rgb.shape} and {mask.shape}"
        )
    mask = np.clip(np.asarray(mask, np.float32), 0, 1)
    planes = list(frame.planes)
    for index, (values, weight) in enumerate(_coded(np.asarray(rgb, np.float32), mask, coding)):
        is_chroma = index in (1, 2) and not coding.layout.is_rgb
        across, down = coding.layout.chroma_shift if is_chroma else (0, 0)
        rows, columns = slice(y0 >> down, (y0 >> down) + values.shape[0]), slice(x0 >> across, (x0 >> across) + values.shape[1])
        planes[index] = _mixed(planes[index], rows, columns, values, weight, 2**coding.layout.depth - 1)
    return replace(frame, planes=tuple(planes))


def _coded(rgb: Float32, mask: Float32, coding: Coding) -> list[tuple[Float32, Float32]]:
    """Per plane: the code values (float) that `rgb` has there, and the mask there."""
    if coding.layout.is_rgb:
        red, green, blue = cv2.split(rgb)
        return [(plane * np.float32(coding.luma_scale), mask) for plane in (green, blue, red)]
    ycc = typing.cast(Float32, cv2.transform(rgb, coding.ycc_from_rgb))
    luma = ycc[:, :, 0] * np.float32(coding.luma_scale) + np.float32(coding.luma_offset)
    if coding.layout.is_gray:
        return [(luma, mask)]
    chroma_mask = _subsampled(mask, coding)
    chroma = (
        _subsampled(ycc[:, :, k], coding) * np.float32(coding.chroma_scale) + np.float32(coding.chroma_offset) for k in (1, 2)
    )
    return [(luma, mask), *((values, chroma_mask) for values in chroma)]


def _mixed(plane: Plane, rows: slice, columns: slice, values: Float32, weight: Float32, top: int) -> Plane:
    """A copy of the plane with the region mixed where the weight is above 0."""
    mixed = plane.copy()
    region = mixed[rows, columns]
    old = region.astype(np.float32)
    new = np.clip(np.rint(old + weight * (values - old)), 0, top).astype(plane.dtype)
    np.copyto(region, new, where=weight > 0)
    return mixed
