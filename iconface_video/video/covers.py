"""Cover art: a picture that goes with the file. Each container keeps it in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from av.stream import Stream

from iconface_video.video.container import demuxed, open_input

_KINDS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png"), "bmp": ("cover.bmp", "image/bmp")}
"""File name and media type in Matroska, by codec; the names are those that its specification wants of covers."""


@dataclass(frozen=True)
class Cover:
    """As Matroska attaches it; its muxer would make a film of one picture of a copied stream."""

    name: str
    media_type: str
    data: bytes


def is_attachable(stream: Stream) -> bool:
    """Whether it is a picture of a kind that Matroska's players know."""
    return stream.codec_context is not None and stream.codec_context.name in _KINDS


def read_cover(path: Path, stream: Stream) -> Cover | None:
    """The picture of a stream of the file; None where it has none."""
    assert stream.codec_context is not None
    name, media_type = _KINDS[stream.codec_context.name]
    with open_input(path) as container:
        for packet in demuxed(container, container.streams[stream.index]):
            if packet.size:
                return Cover(stream.metadata.get("filename", name), media_type, bytes(packet))
    return None
