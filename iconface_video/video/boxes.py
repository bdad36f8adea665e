"""ISO base media boxes (ISO/IEC 14496-12) and QuickTime atoms: the index (moov) at a file's end taken apart and written, and samples
taken out of a text track's tables: FFmpeg's muxer adds empty titles that take no time (ISO/IEC 14496-12, 14496-17).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"tref"})
_MAX_DEPTH, _MAX_BOXES, _MAX_MOOV = 8, 1_000_000, 1 << 30
_TABLE_HEAD = 8
"""Version, flags and count in front of a sample description's entries."""


@dataclass(eq=False)
class Box:
    """One box: content in front of its children, and these."""

    kind: bytes
    body: bytes = b""
    children: list[Box] = field(default_factory=list)

    @property
    def coded(self) -> bytes:
        content = self.body + b"".join(child.coded for child in self.children)
        return struct.pack(">I", 8 + len(content)) + self.kind + content

    def find(self, *path: bytes) -> Box | None:
        here: Box | None = self
        for kind in path:
            here = None if here is None else next((child for child in here.children if child.kind == kind), None)
        return here

    def all(self, kind: bytes) -> list[Box]:
        return [child for child in self.children if child.kind == kind]

    def put(self, box: Box) -> None:
        """In the place of the first of its kind, or at the end."""
        place = next((index for index, old in enumerate(self.children) if old.kind == box.kind), len(self.children))
        self.children[place : place + 1] = [box]


def parsed(data: bytes, depth: int = 0) -> Iterator[Box]:
    """Boxes one after the other; ends where the data end or make no sense. Trailing bytes that are no box are left out.

    depth: of these boxes in others; what is nested deeper than any honest file does it is not taken apart.
    """
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        head = 8
        if size == 1 and place + 16 <= len(data):
            size, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if size == 0:
            size = len(data) - place
        if size < head or place + size > len(data):
            return
        body = data[place + head : place + size]
        is_parent = kind in _PARENTS and depth < _MAX_DEPTH
        yield Box(kind, children=list(parsed(body, depth + 1))) if is_parent else Box(kind, body)
        place += size


def find_moov(path: Path) -> tuple[int, int] | None:
    """(place, size) of the index in the file; None where there is none that makes sense."""
    end = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        for _ in range(_MAX_BOXES):
            if place + 8 > end:
                break
            file.seek(place)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            elif size == 0:
                size = end - place
            if size < 8:
                return None
            if kind == b"moov":
                return (place, size) if size <= _MAX_MOOV else None
            place += size
    return None


def read_moov(path: Path) -> Box | None:
    """The file's index, None where it has none."""
    found = find_moov(path)
    if found is None:
        return None
    with path.open("rb") as file:
        file.seek(found[0])
        return next(parsed(file.read(found[1])), None)


def rewrite_moov(path: Path, moov: Box) -> None:
    """Put another index in the place of one that ends the file: no sample moves. ValueError where it is not at the end."""
    found = find_moov(path)
    if found is None or found[0] + found[1] != path.stat().st_size:
        raise ValueError(f"{path}: the index is not at its end")
    with path.open("r+b") as file:
        file.seek(found[0])
        file.write(moov.coded)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def track_id(track: Box) -> int:
    """From its header; 0 where that is missing."""
    head = track.find(b"tkhd")
    if head is None or not head.body:
        return 0
    place = 20 if head.body[0] == 1 else 12
    return int.from_bytes(head.body[place : place + 4], "big")


def sample_entries(track: Box) -> list[Box]:
    """The sample descriptions, each with all its content in `body`."""
    table = track.find(b"mdia", b"minf", b"stbl", b"stsd")
    return [] if table is None else [Box(box.kind, box.coded[8:]) for box in parsed(table.body[_TABLE_HEAD:])]


def put_sample_entries(track: Box, entries: list[Box]) -> None:
    table = track.find(b"mdia", b"minf", b"stbl", b"stsd")
    assert table is not None
    table.body = struct.pack(">II", 0, len(entries)) + b"".join(entry.coded for entry in entries)


_EMPTY_TITLE = 2
"""Bytes: the length of a text that is not there."""


@dataclass(frozen=True)
class _Sample:
    place: int
    size: int
    duration: int


def drop_empty_samples(track: Box, count: int) -> None:
    """Drop empty titles of no duration, the last first, until `count` samples are left. The media stays as it is."""
    table = track.find(b"mdia", b"minf", b"stbl")
    if table is None or any(table.find(kind) is not None for kind in (b"ctts", b"stss", b"stz2")):
        return
    samples = list(_samples(table))
    surplus = len(samples) - count
    kept = []
    for sample in reversed(samples):
        if surplus > 0 and sample.duration == 0 and sample.size == _EMPTY_TITLE:
            surplus -= 1
        else:
            kept.append(sample)
    if kept and len(kept) < len(samples):
        _put(table, kept[::-1])


def _numbers(table: Box, kind: bytes, start: int, width: int = 4) -> list[int]:
    box = table.find(kind)
    data = b"" if box is None else box.body[start:]
    return [int.from_bytes(data[k : k + width], "big") for k in range(0, len(data) - width + 1, width)]


def _samples(table: Box) -> Iterator[_Sample]:
    times = _numbers(table, b"stts", 8)
    durations = [delta for count, delta in zip(times[::2], times[1::2]) for _ in range(count)]
    heads = _numbers(table, b"stsz", 4)
    same, number = (heads + [0, 0])[:2]
    sizes = [same] * number if same else heads[2:]
    places = _numbers(table, b"stco", 8) or _numbers(table, b"co64", 8, 8)
    runs = _numbers(table, b"stsc", 8)
    firsts = [*runs[::3], len(places) + 1]
    index = 0
    for run, each in enumerate(runs[1::3]):
        for place in places[firsts[run] - 1 : firsts[run + 1] - 1]:
            for _ in range(each):
                if index >= min(len(sizes), len(durations)):
                    return
                yield _Sample(place, sizes[index], durations[index])
                place += sizes[index]
                index += 1


def _put(table: Box, samples: list[_Sample]) -> None:
    """Each sample in a chunk of its own."""
    runs: list[list[int]] = []
    for sample in samples:
        if runs and runs[-1][1] == sample.duration:
            runs[-1][0] += 1
        else:
            runs.append([1, sample.duration])
    number = len(samples)
    large = any(sample.place >= 1 << 32 for sample in samples)
    table.put(Box(b"stts", struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)))
    table.put(Box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)))
    table.put(Box(b"stsz", struct.pack(f">III{number}I", 0, 0, number, *(sample.size for sample in samples))))
    table.children = [box for box in table.children if box.kind not in (b"stco", b"co64")]
    form = "Q" if large else "I"
    places = struct.pack(f">II{number}{form}", 0, number, *(sample.place for sample in samples))
    table.children.append(Box(b"co64" if large else b"stco", places))
