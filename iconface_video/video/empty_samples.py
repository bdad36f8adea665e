"""Taking samples out of a text track's tables: FFmpeg's muxer adds empty titles that take no time (ISO/IEC 14496-12, 14496-17)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from iconface_video.video.boxes import Box

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
