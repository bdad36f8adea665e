"""EBML, the coding of Matroska (RFC 8794): elements taken apart and written, no more than a header needs.

What PyAV has no accessor for: a stream's parameters as Matroska's muxer writes them, and a picture's side data.

PyAV copies all parameters from stream to stream, and Matroska's header has a place for most of them; so one is written into
memory and read.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.video.stream import VideoStream

CRC_32, VOID = 0xBF, 0xEC
_LONGEST_ID, _LONGEST_SIZE = 4, 8


@dataclass(frozen=True)
class Element:
    """One element with its content as it stands in the file."""

    id: int
    """With its length marker, as the specification writes it: 0x1A45DFA3."""
    body: bytes

    @property
    def children(self) -> tuple[Element, ...]:
        """Of a master element."""
        return tuple(parsed(self.body))

    def find(self, *path: int) -> Element | None:
        """The first descendant along these ids."""
        here: Element | None = self
        for step in path:
            here = None if here is None else next((child for child in here.children if child.id == step), None)
        return here

    def number(self) -> int:
        """Of an unsigned integer element."""
        return int.from_bytes(self.body, "big")

    @property
    def coded(self) -> bytes:
        return coded_id(self.id) + coded_size(len(self.body)) + self.body


def parsed(data: bytes) -> Iterator[Element]:
    """Elements one after the other; ends where the data end or make no sense."""
    place = 0
    while place < len(data):
        head = head_of(data[place : place + _LONGEST_ID + _LONGEST_SIZE])
        if head is None or head[2] is None or place + head[1] + head[2] > len(data):
            return
        id, width, size = head[0], head[1], head[2]
        yield Element(id, data[place + width : place + width + size])
        place += width + size


def head_of(data: bytes) -> tuple[int, int, int | None] | None:
    """(id, bytes of the head, size of the content or None for unknown) at the beginning of the data; None: not an element."""
    if not data or not data[0] or (id_width := 9 - data[0].bit_length()) > _LONGEST_ID or len(data) <= id_width:
        return None
    id = int.from_bytes(data[:id_width], "big")
    if not data[id_width]:
        return None
    size_width = 9 - data[id_width].bit_length()
    if len(data) < id_width + size_width:
        return None
    size = int.from_bytes(data[id_width : id_width + size_width], "big") - (1 << 7 * size_width)
    return id, id_width + size_width, None if size == (1 << 7 * size_width) - 1 else size


def coded_id(id: int) -> bytes:
    return id.to_bytes((id.bit_length() + 7) // 8, "big")


def coded_size(size: int, width: int | None = None) -> bytes:
    """As short as it can be, or `width` bytes long."""
    if width is None:
        width = next(width for width in range(1, _LONGEST_SIZE + 1) if size < (1 << 7 * width) - 1)
    return (size | 1 << 7 * width).to_bytes(width, "big")


def unsigned(id: int, value: int) -> Element:
    return Element(id, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def floating(id: int, value: float) -> Element:
    return Element(id, struct.pack(">d", value))


def master(id: int, children: Sequence[Element], *, checked: bool = False) -> Element:
    """`checked`: with a CRC-32 element in front, as the specification wants it (IEEE, little endian, over what follows)."""
    body = b"".join(child.coded for child in children if child.id != CRC_32 or not checked)
    if checked:
        body = Element(CRC_32, struct.pack("<I", zlib.crc32(body))).coded + body
    return Element(id, body)


def remade(element: Element, children: Sequence[Element]) -> Element:
    """A master element with other children; checked where it was before."""
    return master(element.id, children, checked=element.find(CRC_32) is not None)


def replaced(parent: Element, child: Element) -> Element:
    """With this child in the place of the first of its id, or at the end."""
    children = list(parent.children)
    place = next((index for index, old in enumerate(children) if old.id == child.id), len(children))
    children[place : place + 1] = [child]
    return remade(parent, children)


def without(parent: Element, *ids: int) -> Element:
    return remade(parent, [child for child in parent.children if child.id not in ids])


def void(size: int) -> bytes:
    """An element without meaning that takes up exactly so many bytes; at least 2."""
    if size < 2:
        raise ValueError(f"a Void element takes at least 2 bytes, not {size}")
    width = 1 if size - 2 < 127 else _LONGEST_SIZE
    return coded_id(VOID) + coded_size(size - 1 - width, width) + bytes(size - 1 - width)


SEGMENT, TRACKS, TRACK_ENTRY, VIDEO, COLOUR = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0
_SITING_ACROSS, _SITING_DOWN = 0x55B7, 0x55B8
_ADDITION_MAPPING, _ADDITION_TYPE, _ADDITION_EXTRA = 0x41E4, 0x41E7, 0x41ED
_DOLBY_VISION = {int.from_bytes(name, "big") for name in (b"dvcC", b"dvvC")}
_TOP_LEFT = 3


@dataclass(frozen=True)
class DolbyVision:
    """What matters of the configuration record (Dolby Vision Streams Within the ISO Base Media File Format)."""

    profile: int | None
    """None: there is metadata in the pictures, and no record."""
    compatible: int | None
    """What the base layer is without it: 0 nothing that can be watched, 1 HDR10, 2 SDR, 4 HLG; None: not said."""


def stream_header(stream: VideoStream) -> Element | None:
    """The stream's TrackEntry; None where Matroska cannot hold its codec."""
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            written = header.getvalue()
    except (FFmpegError, ValueError):
        return None
    segment = written.find(coded_id(SEGMENT))
    head = head_of(written[segment : segment + 12]) if segment >= 0 else None
    if head is None:
        return None
    tracks = next((item for item in parsed(written[segment + head[1] :]) if item.id == TRACKS), None)
    return None if tracks is None else tracks.find(TRACK_ENTRY)


def chroma_location(stream: VideoStream, header: Element | None) -> int:
    """AVCHROMA_LOC of the stream, 0 where unspecified."""
    if stream.codec_context.codec.canonical_name == "dvvideo":
        return _TOP_LEFT  # of every DV film (IEC 61834), and Matroska holds no DV
    colour = None if header is None else header.find(VIDEO, COLOUR)
    if colour is None:
        return 0
    # Per direction: 0 unspecified, 1 at the left or top, 2 half a sample off.
    found = (colour.find(_SITING_ACROSS), colour.find(_SITING_DOWN))
    across, down = (0 if item is None else item.number() for item in found)
    return {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}.get((across, down), 0)


def dolby_vision(header: Element | None) -> DolbyVision | None:
    """The stream's configuration record, None where it has none."""
    for mapping in () if header is None else header.children:
        if mapping.id != _ADDITION_MAPPING:
            continue
        kind, extra = mapping.find(_ADDITION_TYPE), mapping.find(_ADDITION_EXTRA)
        if kind is not None and kind.number() in _DOLBY_VISION and extra is not None and len(extra.body) >= 5:
            return DolbyVision(extra.body[2] >> 1, extra.body[4] >> 4)
    return None


def side_data_of(picture: av.VideoFrame) -> dict[str, bytes]:
    """A picture's side data by FFmpeg's name for their kind ("A53_CC"). Kinds that PyAV does not know yet are "UNKNOWN"."""
    try:
        # Iterating gives the items, although the container calls itself a mapping.
        items: list[Any] = list(picture.side_data)
        return {_name_of(item): bytes(item) for item in items}
    except ValueError:  # one kind that PyAV does not know (EXIF, for instance) hides all of the picture's
        return {"UNKNOWN": b""}


def _name_of(item: Any) -> str:
    kind = getattr(item, "type", None)
    return kind.name if isinstance(kind, SideDataType) else "UNKNOWN"
