"""Writing into a finished Matroska file what FFmpeg's muxer cannot be told through PyAV: shape and HDR10 metadata.

The header in front of the first cluster is composed anew within its own room (the muxer leaves padding there), so that no
cluster moves. RFC 9559.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from iconface_video.video import ebml
from iconface_video.video.ebml import Element, floating, unsigned
from iconface_video.video.inventory import SideFacts
from iconface_video.video.stream_header import COLOUR, SEGMENT, TRACK_ENTRY, TRACKS, VIDEO

PADDING = 1024
"""Bytes that the muxer is asked to leave free in front of the first cluster."""
_CLUSTER, _SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x1F43B675, 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_RATIO = 3
"""DisplayUnit: the two numbers are a ratio, not pixels."""
_MAX_CLL, _MAX_FALL, _MASTERING = 0x55BC, 0x55BD, 0x55D0
_CHROMATICITIES = (0x55D1, 0x55D2, 0x55D3, 0x55D4, 0x55D5, 0x55D6, 0x55D7, 0x55D8)
_MOST, _LEAST = 0x55D9, 0x55DA
_MAX_HEAD = 1 << 30


def seal_matroska(path: Path, track: int, size: tuple[int, int], aspect: Fraction, side: SideFacts) -> None:
    """Change the header of a whole file. track: 0-based among its tracks.  size: px as stored.  aspect: of one pixel.

    Raises ValueError where the header is not as the muxer writes it, or has no room left; the file is then as it was.
    """
    with path.open("r+b") as file:
        start, end = _room(path, file)
        file.seek(start)
        data = file.read(end - start)
        elements = list(ebml.parsed(data))
        tracks = next((item for item in elements if item.id == TRACKS), None)
        entries = [] if tracks is None else [item for item in tracks.children if item.id == TRACK_ENTRY]
        if tracks is None or track >= len(entries) or (video := entries[track].find(VIDEO)) is None:
            raise ValueError(f"{path}: its header does not name the film")
        entry = ebml.replaced(entries[track], _video(video, size, aspect, side))
        changed = ebml.remade(tracks, [entry if item is entries[track] else item for item in _with(tracks, entries)])
        composed = _composed(path, [changed if item is tracks else item for item in elements], len(data))
        file.seek(start)
        file.write(composed)
        file.flush()
        os.fsync(file.fileno())


def _with(tracks: Element, entries: list[Element]) -> list[Element]:
    """The children, the entries being these very objects."""
    remaining = iter(entries)
    return [next(remaining) if item.id == TRACK_ENTRY else item for item in tracks.children]


def _room(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Where the segment's content begins and where its first cluster does."""
    place = 0
    start: int | None = None
    while True:
        file.seek(place)
        head = ebml.head_of(file.read(12))
        if head is None or place > _MAX_HEAD:
            raise ValueError(f"{path}: no cluster was found where one is expected")
        id, width, size = head
        if id == SEGMENT and start is None:
            place = start = place + width
            continue
        if id == _CLUSTER and start is not None:
            return start, place
        if size is None:
            raise ValueError(f"{path}: its header has a part of unknown length")
        place += width + size


def _composed(path: Path, elements: list[Element], room: int) -> bytes:
    """The elements, without those that hold nothing, padded to `room` bytes; SeekHead says where each is."""
    kept = [item for item in elements if item.id != ebml.VOID]
    for _ in range(4):  # longer positions make the SeekHead longer, which moves what follows
        places: dict[int, int] = {}
        place = 0
        for item in kept:
            places.setdefault(item.id, place)
            place += len(item.coded)
        again = [_pointing(item, places) if item.id == _SEEK_HEAD else item for item in kept]
        settled = [len(item.coded) for item in again] == [len(item.coded) for item in kept]
        kept = again
        if settled:
            break
    content = b"".join(item.coded for item in kept)
    left = room - len(content)
    if left < 0 or left == 1:
        raise ValueError(f"{path}: there is no room for what its header lacks")
    return content + (ebml.void(left) if left else b"")


def _pointing(seek_head: Element, places: dict[int, int]) -> Element:
    """With the places of what lies in the header; what lies behind it (the cues) stays where it is."""
    children = []
    for child in seek_head.children:
        named = child.find(_SEEK_ID) if child.id == _SEEK else None
        if named is not None and named.number() in places:
            child = ebml.replaced(child, unsigned(_SEEK_POSITION, places[named.number()]))
        children.append(child)
    return ebml.remade(seek_head, children)


def _video(video: Element, size: tuple[int, int], aspect: Fraction, side: SideFacts) -> Element:
    width, height = size
    shape = ebml.without(video, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
    wide, high = width * aspect, height / aspect
    if wide.denominator == 1:
        shown = [unsigned(_DISPLAY_WIDTH, int(wide)), unsigned(_DISPLAY_HEIGHT, height)]
    elif high.denominator == 1:
        shown = [unsigned(_DISPLAY_WIDTH, width), unsigned(_DISPLAY_HEIGHT, int(high))]
    else:
        ratio = Fraction(width, height) * aspect
        shown = [unsigned(_DISPLAY_WIDTH, ratio.numerator), unsigned(_DISPLAY_HEIGHT, ratio.denominator)]
        shown.append(unsigned(_DISPLAY_UNIT, _RATIO))
    shape = ebml.remade(shape, [*shape.children, *shown])
    colour = shape.find(COLOUR) or Element(COLOUR, b"")
    for item in _colour(side):
        colour = ebml.replaced(colour, item)
    return ebml.replaced(shape, colour) if colour.body else shape


def _colour(side: SideFacts) -> Iterator[Element]:
    if side.light is not None:
        yield unsigned(_MAX_CLL, side.light[0])
        yield unsigned(_MAX_FALL, side.light[1])
    if side.mastering is not None:
        display = side.mastering
        numbers = [floating(id, float(value)) for id, value in zip(_CHROMATICITIES, display.primaries)]
        light = [floating(_MOST, float(display.most)), floating(_LEAST, float(display.least))]
        yield ebml.master(_MASTERING, [*numbers, *light])
