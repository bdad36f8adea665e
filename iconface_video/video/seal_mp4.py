"""Writing into a finished MP4 or MOV what FFmpeg's muxer cannot be told through PyAV: HDR10 metadata, range, and descriptions
of tracks that it only half knows.

The index (moov) lies at the end of what the muxer writes, so that it may grow without moving a sample.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from iconface_video.types import ColorTags
from iconface_video.video.boxes import (
    Box,
    drop_empty_samples,
    find_moov,
    parsed,
    put_sample_entries,
    read_moov,
    rewrite_moov,
    sample_entries,
    track_id,
)
from iconface_video.video.inventory import MasteringDisplay, SideFacts
from iconface_video.video.planes import FULL_RANGE

_VISUAL_HEAD = 78
"""Bytes of a VisualSampleEntry in front of its boxes."""
_COLOR_KINDS = (b"nclc", b"nclx")


@dataclass(frozen=True)
class Described:
    """A track of the input with the boxes that say what its samples are."""

    handler: Box
    header: Box
    """Of its media: nmhd, gmhd ..."""
    entry: Box
    references: Box | None
    """tref: of which tracks it speaks; by track ids of the input."""


@dataclass(frozen=True)
class Mp4Seal:
    """What is put into the index. Tracks are counted as they lie in the file, from 0."""

    video_stream: int
    color: ColorTags | None
    """None: the film's own stream says what its samples mean."""
    side: SideFacts
    described: dict[int, Described] = field(default_factory=dict)
    """For tracks whose descriptions the muxer does not write."""
    ids: dict[int, int] = field(default_factory=dict)
    """Track id in the input -> track counted in the output."""
    titles: dict[int, int] = field(default_factory=dict)
    """Tracks of timed text -> number of samples that they were given. The muxer puts empty ones between and behind."""
    languages: dict[int, str] = field(default_factory=dict)
    """ISO 639-2/T codes; MOV's muxer knows a few only."""


def described_tracks(path: Path) -> dict[int, Described]:
    """By track id, those of a file that have exactly one sample description."""
    moov = read_moov(path)
    found: dict[int, Described] = {}
    for track in [] if moov is None else moov.all(b"trak"):
        media, entries = track.find(b"mdia", b"minf"), sample_entries(track)
        handler = track.find(b"mdia", b"hdlr")
        header = None if media is None else next((box for box in media.children if box.kind.endswith(b"mhd")), None)
        if handler is not None and header is not None and len(entries) == 1:
            found[track_id(track)] = Described(handler, header, entries[0], track.find(b"tref"))
    return found


def seal_mp4(path: Path, seal: Mp4Seal) -> None:
    """Change the index of a whole file. Raises ValueError where it is not as the muxer writes it; the file is then as it was."""
    place, moov = find_moov(path), read_moov(path)
    tracks = [] if moov is None else moov.all(b"trak")
    if place is None or moov is None or seal.video_stream >= len(tracks):
        raise ValueError(f"{path}: its index does not name the film")
    entries = sample_entries(tracks[seal.video_stream])
    if len(entries) != 1:
        raise ValueError(f"{path}: the film has {len(entries)} descriptions")
    put_sample_entries(tracks[seal.video_stream], [_film_entry(entries[0], seal)])
    for number, described in seal.described.items():
        if not sample_entries(tracks[number]):
            _describe(tracks, number, described, seal.ids)
    for number, count in seal.titles.items():
        drop_empty_samples(tracks[number], count)
    for number, language in seal.languages.items():
        _put_language(tracks[number], language)
    rewrite_moov(path, moov)


def _film_entry(entry: Box, seal: Mp4Seal) -> Box:
    content = Box(b"", children=list(parsed(entry.body[_VISUAL_HEAD:])))
    color = _color(content.find(b"colr"), seal.color)
    if color is not None:
        content.put(color)
    if seal.side.mastering is not None:
        content.put(Box(b"mdcv", _mastering(seal.side.mastering)))
    if seal.side.light is not None:
        content.put(Box(b"clli", struct.pack(">HH", *seal.side.light)))
    return Box(entry.kind, entry.body[:_VISUAL_HEAD] + b"".join(box.coded for box in content.children))


def _color(written: Box | None, color: ColorTags | None) -> Box | None:
    """With the range flag, which QuickTime's own form (nclc) lacks and which is not written for colors without tags."""
    if color is None or color.range == 0 or (written is not None and written.body[:4] not in _COLOR_KINDS):
        return None
    codes = written.body[4:10] if written is not None else struct.pack(">HHH", color.primaries, color.transfer, color.space)
    return Box(b"colr", b"nclx" + codes + (b"\x80" if color.range == FULL_RANGE else b"\0"))


def _mastering(display: MasteringDisplay) -> bytes:
    """Green, blue, red, white in units of 0.00002; most and least light in 0.0001 cd/m2 (ISO/IEC 23001-8)."""
    red, green, blue, white = (display.primaries[k : k + 2] for k in (0, 2, 4, 6))
    points = [round(value * 50000) for point in (green, blue, red, white) for value in point]
    return struct.pack(">8HII", *points, *(round(value * 10000) for value in (display.most, display.least)))


def _describe(tracks: list[Box], number: int, described: Described, ids: dict[int, int]) -> None:
    """Give a track the input's own description of its samples."""
    track = tracks[number]
    media, information = track.find(b"mdia"), track.find(b"mdia", b"minf")
    assert media is not None
    assert information is not None
    media.put(described.handler)
    information.children = [box for box in information.children if not box.kind.endswith(b"mhd")]
    information.children.insert(0, described.header)
    put_sample_entries(track, [described.entry])
    references = _references(described.references, {old: track_id(tracks[new]) for old, new in ids.items()})
    track.children = [box for box in track.children if box.kind != b"tref"]
    if references is not None:
        track.children.insert(1, references)


def _put_language(track: Box, language: str) -> None:
    """Three letters of five bits each (ISO/IEC 14496-12, mdhd), which QuickTime reads, too."""
    head = track.find(b"mdia", b"mdhd")
    if head is None or len(language) != 3 or not (language.isascii() and language.islower()):
        return
    packed = 0
    for letter in language:
        packed = packed << 5 | ord(letter) - 0x60
    place = len(head.body) - 4
    head.body = head.body[:place] + struct.pack(">H", packed) + head.body[place + 2 :]


def _references(box: Box | None, ids: dict[int, int]) -> Box | None:
    """tref with the output's track ids; a reference to a track that is not there is left out."""
    kept = []
    for reference in () if box is None else box.children:
        old = [int.from_bytes(reference.body[k : k + 4], "big") for k in range(0, len(reference.body), 4)]
        new = [ids[item] for item in old if item in ids]
        if new:
            kept.append(Box(reference.kind, struct.pack(f">{len(new)}I", *new)))
    return Box(b"tref", children=kept) if kept else None
