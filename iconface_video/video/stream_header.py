"""What PyAV has no accessor for: a stream's parameters as Matroska's muxer writes them, and a picture's side data.

PyAV copies all parameters from stream to stream, and Matroska's header has a place for most of them; so one is written into
memory and read.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import av
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.video.stream import VideoStream

from iconface_video.video import ebml

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


def stream_header(stream: VideoStream) -> ebml.Element | None:
    """The stream's TrackEntry; None where Matroska cannot hold its codec."""
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            written = header.getvalue()
    except (FFmpegError, ValueError):
        return None
    segment = written.find(ebml.coded_id(SEGMENT))
    head = ebml.head_of(written[segment : segment + 12]) if segment >= 0 else None
    if head is None:
        return None
    tracks = next((item for item in ebml.parsed(written[segment + head[1] :]) if item.id == TRACKS), None)
    return None if tracks is None else tracks.find(TRACK_ENTRY)


def chroma_location(stream: VideoStream, header: ebml.Element | None) -> int:
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


def dolby_vision(header: ebml.Element | None) -> DolbyVision | None:
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
