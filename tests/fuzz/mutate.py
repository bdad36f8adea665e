"""Mutants: a seed file and a number give one damaged file, always the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.fuzz.fields import AVI_FIELDS, MKV_FIELDS, MP4_FIELDS, WILD, pick
from tests.fuzz.seeds import Seed
from tests.fuzz.tree import AVI, MKV, MP4, SHAPES, Format, Rng

_TREES: dict[str, tuple[Format, tuple]] = {
    "mp4": (MP4, MP4_FIELDS),
    "mov": (MP4, MP4_FIELDS),
    "mkv": (MKV, MKV_FIELDS),
    "avi": (AVI, AVI_FIELDS),
}


@dataclass(frozen=True)
class Mutant:
    """One damaged file."""

    number: int
    seed: Seed
    data: bytes
    what: str
    """For people: what was done to it."""


def mutant(seeds: Sequence[Seed], number: int) -> Mutant:
    """The mutant of this number: the seeds take turns, the damage is drawn from the number."""
    seed = seeds[number % len(seeds)]
    rng = np.random.default_rng([number, 20])
    data = seed.path.read_bytes()
    kind = seed.path.suffix[1:]
    structured = rng.random() < 0.7
    if structured and kind in _TREES:
        data, what = _bend_tree(data, *_TREES[kind], rng)
    elif structured and kind == "ts":
        data, what = _bend_packets(data, seed, rng)
    else:
        data, what = _bend_bytes(data, seed, rng)
    return Mutant(number, seed, data, f"{seed.path.name}: {what}")


def _bend_tree(data: bytes, container: Format, fields: tuple, rng: Rng) -> tuple[bytes, str]:
    root = container.parse(data)
    said = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        changes = SHAPES if rng.random() < 0.4 else fields
        said.append(changes[int(rng.integers(len(changes)))](root, rng))
    return container.write(root), ", ".join(said)


# ---- any bytes


def _bend_bytes(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    damage = (_flip, _flip, _noise, _zeros, _cut, _hole, _double, _exchange, _numbers, _join)
    return damage[int(rng.integers(len(damage)))](data, seed, rng)


def _flip(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    bent = bytearray(data)
    count = int(rng.choice([1, 4, 16, 64, 500]))
    for place in rng.integers(len(bent), size=count):
        bent[place] ^= 1 << int(rng.integers(8))
    return bytes(bent), f"{count} bits flipped"


def _range(data: bytes, rng: Rng) -> tuple[int, int]:
    first = int(rng.integers(len(data)))
    return first, min(len(data), first + int(2 ** rng.uniform(2, 13)))


def _noise(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    first, end = _range(data, rng)
    return data[:first] + rng.bytes(end - first) + data[end:], f"noise over {first}..{end}"


def _zeros(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    first, end = _range(data, rng)
    return data[:first] + bytes(end - first) + data[end:], f"zeros over {first}..{end}"


def _cut(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    keep = int(rng.integers(len(data)))
    return data[:keep], f"cut to {keep} bytes"


def _hole(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    first, end = _range(data, rng)
    return data[:first] + data[end:], f"{first}..{end} missing"


def _double(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    first, end = _range(data, rng)
    return data[:end] + data[first:], f"{first}..{end} twice"


def _exchange(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    one, two, three = sorted(int(place) for place in rng.integers(len(data), size=3))
    return data[:one] + data[two:three] + data[one:two] + data[three:], f"{one}..{two} and {two}..{three} swapped"


def _numbers(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    bent = bytearray(data)
    for place in rng.integers(max(1, len(bent) - 4), size=int(rng.integers(1, 9))):
        bent[place : place + 4] = pick(rng, WILD).to_bytes(4, "big" if rng.random() < 0.5 else "little")
    return bytes(bent), "wild numbers anywhere"


def _join(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    """Goes on as a film of another size, pixel format or codec."""
    return data + seed.twin.read_bytes(), f"goes on as {seed.twin.name}"


# ---- transport streams

_PACKET = 188


def _bend_packets(data: bytes, seed: Seed, rng: Rng) -> tuple[bytes, str]:
    packets = [data[place : place + _PACKET] for place in range(0, len(data), _PACKET)]
    damage = int(rng.integers(7))
    if damage == 0:
        return data + seed.twin.read_bytes(), f"goes on as {seed.twin.name}"
    if damage == 1:  # both films' packets under the same ids
        other = seed.twin.read_bytes()
        middle = len(packets) // 2 * _PACKET
        return data[:middle] + other + data[middle:], f"{seed.twin.name} in the middle"
    if damage == 2:
        kept = [packet for packet in packets if rng.random() > 0.1]
        return b"".join(kept), "one packet in ten lost"
    if damage == 3:
        rng.shuffle(packets)
        return b"".join(packets), "packets in any order"
    for index in range(len(packets)):
        if rng.random() > 0.15:
            continue
        packet = bytearray(packets[index])
        if damage == 4:
            _bend_times(packet, rng)
        elif damage == 5:
            packet[1:3] = int(rng.choice([0, 16, 17, 256, 257, 258, 8191])).to_bytes(2, "big")
        else:
            packet[int(rng.integers(4, 20))] = int(rng.integers(256))
        packets[index] = bytes(packet)
    return b"".join(packets), ("times", "ids", "headers")[damage - 4] + " of packets changed"


def _bend_times(packet: bytearray, rng: Rng) -> None:
    """PTS and DTS of a packet that begins a picture or a piece of sound."""
    start = packet.find(b"\0\0\1", 4)
    if 0 < start < _PACKET - 20 and packet[start + 7] & 0x80:
        packet[start + 9 : start + 14] = rng.bytes(5)
        if packet[start + 7] & 0x40:
            packet[start + 14 : start + 19] = rng.bytes(5)
