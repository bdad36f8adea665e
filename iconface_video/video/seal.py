"""Writing into a finished Matroska file what FFmpeg's muxer cannot be told through PyAV: shape and HDR10 metadata.

The header in front of the first cluster is composed anew within its own room (the muxer leaves padding there), so that no
cluster moves. RFC 9559.

Completing a finished output with what FFmpeg's muxers cannot be told through PyAV, before it gets its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.stream import Stream

from iconface_video.types import VideoInfo
from iconface_video.video.holding import is_picture_beside
from iconface_video.video.inventory import SideFacts
from iconface_video.video.output_plan import OutputPlan
from iconface_video.video.seal_mp4 import Mp4Seal, described_tracks, seal_mp4
from iconface_video.video.stream_header import (
    COLOUR,
    SEGMENT,
    TRACK_ENTRY,
    TRACKS,
    VIDEO,
    VOID,
    Element,
    floating,
    head_of,
    master,
    parsed,
    remade,
    replaced,
    unsigned,
    void,
    without,
)

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
        elements = list(parsed(data))
        tracks = next((item for item in elements if item.id == TRACKS), None)
        entries = [] if tracks is None else [item for item in tracks.children if item.id == TRACK_ENTRY]
        if tracks is None or track >= len(entries) or (video := entries[track].find(VIDEO)) is None:
            raise ValueError(f"{path}: its header does not name the film")
        entry = replaced(entries[track], _video(video, size, aspect, side))
        changed = remade(tracks, [entry if item is entries[track] else item for item in _with(tracks, entries)])
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
        head = head_of(file.read(12))
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
    kept = [item for item in elements if item.id != VOID]
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
    return content + (void(left) if left else b"")


def _pointing(seek_head: Element, places: dict[int, int]) -> Element:
    """With the places of what lies in the header; what lies behind it (the cues) stays where it is."""
    children = []
    for child in seek_head.children:
        named = child.find(_SEEK_ID) if child.id == _SEEK else None
        if named is not None and named.number() in places:
            child = replaced(child, unsigned(_SEEK_POSITION, places[named.number()]))
        children.append(child)
    return remade(seek_head, children)


def _video(video: Element, size: tuple[int, int], aspect: Fraction, side: SideFacts) -> Element:
    width, height = size
    shape = without(video, _DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
    wide, high = width * aspect, height / aspect
    if wide.denominator == 1:
        shown = [unsigned(_DISPLAY_WIDTH, int(wide)), unsigned(_DISPLAY_HEIGHT, height)]
    elif high.denominator == 1:
        shown = [unsigned(_DISPLAY_WIDTH, width), unsigned(_DISPLAY_HEIGHT, int(high))]
    else:
        ratio = Fraction(width, height) * aspect
        shown = [unsigned(_DISPLAY_WIDTH, ratio.numerator), unsigned(_DISPLAY_HEIGHT, ratio.denominator)]
        shown.append(unsigned(_DISPLAY_UNIT, _RATIO))
    shape = remade(shape, [*shape.children, *shown])
    colour = shape.find(COLOUR) or Element(COLOUR, b"")
    for item in _colour(side):
        colour = replaced(colour, item)
    return replaced(shape, colour) if colour.body else shape


def _colour(side: SideFacts) -> Iterator[Element]:
    if side.light is not None:
        yield unsigned(_MAX_CLL, side.light[0])
        yield unsigned(_MAX_FALL, side.light[1])
    if side.mastering is not None:
        display = side.mastering
        numbers = [floating(id, float(value)) for id, value in zip(_CHROMATICITIES, display.primaries)]
        light = [floating(_MOST, float(display.most)), floating(_LEAST, float(display.least))]
        yield master(_MASTERING, [*numbers, *light])


_TEXT = "mov_text"


@dataclass(frozen=True)
class Sealed:
    """What was written, as the writer knows it."""

    video_stream: int
    """Index of the film's stream in the output."""
    film_track: int
    """Its place among the tracks: attachments are none."""
    source: Stream
    """The film's stream in the input."""
    pairs: tuple[tuple[Stream, Stream], ...]
    """Each copied stream with its stream in the output."""
    packets: Mapping[int, int]
    """Output stream -> packets that the muxer took."""
    is_whole: bool
    """The film was not trimmed."""


def seal(plan: OutputPlan, info: VideoInfo, written: Sealed) -> None:
    """Change the closed partial file in place. Raises ValueError where its header is not as expected; it is then as it was."""
    side = replace(
        plan.side,
        mastering=None if "mastering" in plan.lost else plan.side.mastering,
        light=None if "light" in plan.lost else plan.side.light,
    )
    if plan.container == "matroska":
        size = (info.width, info.height)
        seal_matroska(plan.partial_path, written.film_track, size, info.sample_aspect_ratio, side)
    elif plan.container in ("mp4", "mov"):
        seal_mp4(plan.partial_path, _mp4_seal(plan, info, side, written))


def _mp4_seal(plan: OutputPlan, info: VideoInfo, side: SideFacts, written: Sealed) -> Mp4Seal:
    """Tracks are numbered as the muxer writes them: those without a packet, and pictures beside the film, have none."""
    there = [
        written.video_stream,
        *(new.index for old, new in written.pairs if written.packets.get(new.index) and not is_picture_beside(old)),
    ]
    number = {index: place for place, index in enumerate(sorted(there))}
    inputs = described_tracks(info.path) if "mov" in info.container.split(",") else {}
    seal_of = Mp4Seal(number[written.video_stream], plan.color if plan.encoder.name == "ffv1" else None, side)
    tracks = [(written.source, written.video_stream), *((old, new.index) for old, new in written.pairs)]
    for old, index in tracks:
        if index not in number:
            continue
        place = number[index]
        seal_of.ids[old.id] = place
        if old.type == "data" and old.id in inputs:
            seal_of.described[place] = inputs[old.id]
        if old.codec_context is not None and old.codec_context.name == _TEXT:
            packets = written.packets[index]
            # FFmpeg's own files end with an empty title of no duration, which its demuxer does not give back.
            seal_of.titles[place] = packets + (written.is_whole and old.frames == packets + 1)
        if plan.container == "mov" and old.language is not None:
            seal_of.languages[place] = old.language
    return seal_of
