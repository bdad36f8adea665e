"""Picture formats: which planar format a decoded picture is kept in, and the way there and back without loss.

A frame is kept in one array per component. Formats that FFmpeg stores planar are copied as they are; packed and
semi-planar ones (nv12, p010, yuyv422, rgb24 ...) hold the same samples in another order and are laid out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from iconface_video.types import ColorTags

Plane = NDArray[Any]

FULL_RANGE = 2
"""AVCOL_RANGE_JPEG."""


@dataclass(frozen=True)
class PlaneLayout:
    """What a planar format consists of."""

    pix_fmt: str
    depth: int
    """Bits per sample, in the low bits."""
    chroma_shift: tuple[int, int]
    """log2 of the horizontal and vertical chroma subsampling."""
    is_rgb: bool
    """Planes are G, B, R (, A) instead of Y, Cb, Cr (, A)."""
    is_gray: bool
    has_alpha: bool

    @property
    def plane_count(self) -> int:
        return (1 if self.is_gray else 3) + self.has_alpha

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.depth <= 8 else np.uint16)

    def plane_shape(self, plane: int, width: int, height: int) -> tuple[int, int]:
        """(rows, columns) of one plane; odd sizes round up, as FFmpeg does."""
        if plane not in (1, 2) or self.is_rgb:
            return height, width
        across, down = self.chroma_shift
        return -(-height >> down), -(-width >> across)


@dataclass(eq=False)
class DecodedPicture:
    """FFmpeg's own picture behind a frame (in ``Frame.side_data``), with the planes that it holds.

    The writer hands it to the encoder as it is while the frame's planes are still these, and otherwise writes the changed
    planes into it: captions, HDR metadata and time codes travel along.
    """

    picture: av.VideoFrame
    planes: tuple[Plane, ...]


@cache
def layout_of(pix_fmt: str) -> PlaneLayout:
    """Layout of a planar format that frames are kept in. ValueError for any other format."""
    layout = _planar_layout(pix_fmt)
    if layout is None or layout.pix_fmt != pix_fmt:
        raise ValueError(f"frames are not kept in '{pix_fmt}'; it is laid out as '{planar_name(pix_fmt)}'")
    return layout


@cache
def _planar_layout(pix_fmt: str) -> PlaneLayout | None:
    """Layout under the canonical name (yuvj420p -> yuv420p, big endian -> native), None where a plane mixes components."""
    fmt = av.VideoFormat(pix_fmt, 64, 64)
    components = fmt.components
    bits = {component.bits for component in components}
    depth = max(bits)
    one_each = sorted(component.plane for component in components) == list(range(len(components)))
    odd = len(bits) > 1 or not 8 <= depth <= 16 or fmt.is_bayer or fmt.has_palette
    if odd or not one_each or "msb" in pix_fmt or "f16" in pix_fmt or pix_fmt.startswith(("xyz", "rgb", "bgr")):
        return None
    name = pix_fmt.replace("yuvj", "yuv")
    name = name[:-2] + "le" if name.endswith("be") and depth > 8 else name
    shift = ((64 // fmt.chroma_width(64)).bit_length() - 1, (64 // fmt.chroma_height(64)).bit_length() - 1)
    alpha = any(component.is_alpha for component in components)
    return PlaneLayout(name, depth, shift, fmt.is_rgb, len(components) - alpha == 1, alpha)


@dataclass(frozen=True)
class _Packed:
    """How a packed format maps to planes: `order[k]` is the position, inside one pixel, of the target's plane k."""

    target: str
    sample: str
    per_pixel: int
    order: tuple[int, ...]


@dataclass(frozen=True)
class _SemiPlanar:
    """Luma plane and one plane of interleaved chroma; samples sit `shift` bits up."""

    target: str
    sample: str
    shift: int
    swapped: bool = False


@dataclass(frozen=True)
class _Packed422:
    """Two pixels in four samples: positions of Y0, Cb, Y1, Cr; samples sit `shift` bits up."""

    target: str
    sample: str
    shift: int
    order: tuple[int, int, int, int]


_PACKED: dict[str, _Packed] = {
    "rgb24": _Packed("gbrp", "u1", 3, (1, 2, 0)),
    "bgr24": _Packed("gbrp", "u1", 3, (1, 0, 2)),
    "rgb0": _Packed("gbrp", "u1", 4, (1, 2, 0)),
    "bgr0": _Packed("gbrp", "u1", 4, (1, 0, 2)),
    "0rgb": _Packed("gbrp", "u1", 4, (2, 3, 1)),
    "0bgr": _Packed("gbrp", "u1", 4, (2, 1, 3)),
    "rgba": _Packed("gbrap", "u1", 4, (1, 2, 0, 3)),
    "bgra": _Packed("gbrap", "u1", 4, (1, 0, 2, 3)),
    "argb": _Packed("gbrap", "u1", 4, (2, 3, 1, 0)),
    "abgr": _Packed("gbrap", "u1", 4, (2, 1, 3, 0)),
    "vuya": _Packed("yuva444p", "u1", 4, (2, 1, 0, 3)),
    "vuyx": _Packed("yuv444p", "u1", 4, (2, 1, 0)),
    "ayuv": _Packed("yuva444p", "u1", 4, (1, 2, 3, 0)),
    "uyva": _Packed("yuva444p", "u1", 4, (1, 0, 2, 3)),
    "vyu444": _Packed("yuv444p", "u1", 3, (1, 2, 0)),
    "ayuv64le": _Packed("yuva444p16le", "<u2", 4, (1, 2, 3, 0)),
    "rgb48le": _Packed("gbrp16le", "<u2", 3, (1, 2, 0)),
    "rgb48be": _Packed("gbrp16le", ">u2", 3, (1, 2, 0)),
    "bgr48le": _Packed("gbrp16le", "<u2", 3, (1, 0, 2)),
    "bgr48be": _Packed("gbrp16le", ">u2", 3, (1, 0, 2)),
    "rgba64le": _Packed("gbrap16le", "<u2", 4, (1, 2, 0, 3)),
    "rgba64be": _Packed("gbrap16le", ">u2", 4, (1, 2, 0, 3)),
    "bgra64le": _Packed("gbrap16le", "<u2", 4, (1, 0, 2, 3)),
    "bgra64be": _Packed("gbrap16le", ">u2", 4, (1, 0, 2, 3)),
}

_SEMI_PLANAR: dict[str, _SemiPlanar] = {
    "nv12": _SemiPlanar("yuv420p", "u1", 0),
    "nv21": _SemiPlanar("yuv420p", "u1", 0, swapped=True),
    "nv16": _SemiPlanar("yuv422p", "u1", 0),
    "nv24": _SemiPlanar("yuv444p", "u1", 0),
    "nv42": _SemiPlanar("yuv444p", "u1", 0, swapped=True),
    "nv20le": _SemiPlanar("yuv422p10le", "<u2", 0),
    "nv20be": _SemiPlanar("yuv422p10le", ">u2", 0),
}
for _digit, _sampling in (("0", "420"), ("2", "422"), ("4", "444")):
    for _bits, _depth_name in ((10, "10"), (12, "12"), (16, "16")):
        for _end, _sample in (("le", "<u2"), ("be", ">u2")):
            _SEMI_PLANAR[f"p{_digit}{_depth_name}{_end}"] = _SemiPlanar(f"yuv{_sampling}p{_depth_name}le", _sample, 16 - _bits)

_PACKED_422: dict[str, _Packed422] = {
    "yuyv422": _Packed422("yuv422p", "u1", 0, (0, 1, 2, 3)),
    "yvyu422": _Packed422("yuv422p", "u1", 0, (0, 3, 2, 1)),
    "uyvy422": _Packed422("yuv422p", "u1", 0, (1, 0, 3, 2)),
    "y210le": _Packed422("yuv422p10le", "<u2", 6, (0, 1, 2, 3)),
    "y212le": _Packed422("yuv422p12le", "<u2", 4, (0, 1, 2, 3)),
    "y216le": _Packed422("yuv422p16le", "<u2", 0, (0, 1, 2, 3)),
}


@cache
def planar_name(pix_fmt: str) -> str:
    """Name of the planar format in which pictures of `pix_fmt` are kept."""
    layout = _planar_layout(pix_fmt)
    if layout is not None:
        return layout.pix_fmt
    relaid = _PACKED.get(pix_fmt) or _SEMI_PLANAR.get(pix_fmt) or _PACKED_422.get(pix_fmt)
    if relaid is not None:
        return relaid.target
    return _nearest_planar(pix_fmt)


def _nearest_planar(pix_fmt: str) -> str:
    """For the rare rest (palettes, bitmaps, floats, Bayer): a format that swscale can fill without losing depth up to 16 bits."""
    fmt = av.VideoFormat(pix_fmt, 64, 64)
    depth = max(component.bits for component in fmt.components)
    if depth == 1:
        return "gray"
    if fmt.has_palette or fmt.is_rgb or fmt.is_bayer or pix_fmt.startswith("ya"):
        alpha = fmt.has_palette or any(component.is_alpha for component in fmt.components)
        return f"gbr{'a' if alpha else ''}p{'16le' if depth > 8 else ''}"
    return "gray16le" if len(fmt.components) == 1 else "yuv444p16le" if depth > 8 else "yuv444p"


def planes_of(picture: av.VideoFrame, pix_fmt: str) -> tuple[Plane, ...]:
    """The picture's samples as contiguous planes of `pix_fmt`, copied without padding.

    `pix_fmt` is normally ``planar_name(picture.format.name)``; a picture of another format is converted by swscale.
    """
    if picture.planes[0].line_size < 0:
        picture = _unflipped(picture)
    name = picture.format.name
    if planar_name(name) != pix_fmt:
        picture, name = picture.reformat(format=pix_fmt), pix_fmt
    elif name in _PACKED:
        return _from_packed(picture, _PACKED[name])
    elif name in _SEMI_PLANAR:
        return _from_semi_planar(picture, _SEMI_PLANAR[name])
    elif name in _PACKED_422:
        return _from_packed_422(picture, _PACKED_422[name])
    elif _planar_layout(name) is None:
        picture, name = picture.reformat(format=pix_fmt), pix_fmt
    layout = layout_of(pix_fmt)
    sample = layout.dtype.newbyteorder(">" if name.endswith("be") else "<")
    return tuple(
        _native(_rows(picture, index, sample, *layout.plane_shape(index, picture.width, picture.height)), layout.dtype)
        for index in range(layout.plane_count)
    )


def _rows(picture: av.VideoFrame, index: int, sample: Any, rows: int, columns: int) -> Plane:
    """View (rows, columns) of one plane's samples, without the padding at the line ends."""
    plane = picture.planes[index]
    data = np.frombuffer(memoryview(plane), np.uint8, count=plane.line_size * rows)
    item = np.dtype(sample).itemsize
    return data.reshape(rows, plane.line_size)[:, : columns * item].view(sample)


def _native(view: Plane, dtype: np.dtype[Any]) -> Plane:
    return np.array(view, dtype=dtype, order="C", copy=True)


def _unflipped(picture: av.VideoFrame) -> av.VideoFrame:
    """A copy with rows top to bottom in memory: bitmaps in AVI come upside down, with negative line sizes."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base or Fraction(1)
    )
    graph.link_nodes(source, graph.add("copy"), graph.add("buffersink")).configure()
    graph.vpush(picture)
    return graph.vpull()


def _from_packed(picture: av.VideoFrame, packed: _Packed) -> tuple[Plane, ...]:
    rows, columns = picture.height, picture.width
    pixels = _rows(picture, 0, packed.sample, rows, columns * packed.per_pixel).reshape(rows, columns, packed.per_pixel)
    dtype = layout_of(packed.target).dtype
    return tuple(_native(pixels[:, :, position], dtype) for position in packed.order)


def _from_semi_planar(picture: av.VideoFrame, semi: _SemiPlanar) -> tuple[Plane, ...]:
    layout = layout_of(semi.target)
    rows, columns = layout.plane_shape(1, picture.width, picture.height)
    luma = _rows(picture, 0, semi.sample, picture.height, picture.width)
    pairs = _rows(picture, 1, semi.sample, rows, columns * 2)
    chroma = [pairs[:, 0::2], pairs[:, 1::2]]
    if semi.swapped:
        chroma.reverse()
    return tuple(_native(plane >> semi.shift if semi.shift else plane, layout.dtype) for plane in (luma, *chroma))


def _from_packed_422(picture: av.VideoFrame, packed: _Packed422) -> tuple[Plane, ...]:
    layout = layout_of(packed.target)
    rows, pairs = layout.plane_shape(1, picture.width, picture.height)
    samples = _rows(picture, 0, packed.sample, rows, pairs * 4).reshape(rows, pairs, 4)
    y0, cb, y1, cr = packed.order
    luma = samples[:, :, [y0, y1]].reshape(rows, pairs * 2)[:, : picture.width]
    planes = (luma, samples[:, :, cb], samples[:, :, cr])
    return tuple(_native(plane >> packed.shift if packed.shift else plane, layout.dtype) for plane in planes)


def picture_of(planes: tuple[Plane, ...], pix_fmt: str, width: int, height: int, color: ColorTags) -> av.VideoFrame:
    """An FFmpeg picture with copies of these planes."""
    picture = av.VideoFrame(width, height, pix_fmt)
    fill_picture(picture, planes)
    tag_picture(picture, color)
    return picture


def packed_picture_of(planes: tuple[Plane, ...], pix_fmt: str, width: int, height: int, color: ColorTags) -> av.VideoFrame:
    """An FFmpeg picture in a packed format (rgb24, bgr0 ...) that holds exactly these planes."""
    packed = _PACKED[pix_fmt]
    picture = av.VideoFrame(width, height, pix_fmt)
    pixels = _rows(picture, 0, packed.sample, height, width * packed.per_pixel).reshape(height, width, packed.per_pixel)
    if len(packed.order) < packed.per_pixel:
        pixels[...] = 255
    for position, plane in zip(packed.order, planes):
        pixels[:, :, position] = plane
    tag_picture(picture, color)
    return picture


def packed_form(planar: str, candidates: tuple[str, ...]) -> str | None:
    """The first of `candidates` that holds the samples of a planar format in another order."""
    return next((name for name in candidates if name in _PACKED and _PACKED[name].target == planar), None)


def fill_picture(picture: av.VideoFrame, planes: tuple[Plane, ...], wanted: Sequence[bool] | None = None) -> None:
    """Write the planes (all, or the wanted ones) into a picture of the same layout."""
    for index, plane in enumerate(planes):
        if wanted is None or wanted[index]:
            _rows(picture, index, plane.dtype, *plane.shape)[...] = plane


def tag_picture(picture: av.VideoFrame, color: ColorTags) -> None:
    """Set the colour tags that a picture can carry."""
    picture.color_range = color.range
    picture.colorspace = color.space
    picture.color_primaries = color.primaries
    picture.color_trc = color.transfer
