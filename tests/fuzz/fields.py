"""Headers that lie: numbers written over with values that no honest muxer writes, field by field."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.fuzz.tree import Node, Rng

WILD = (0, 1, 2, 3, 255, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 0x7FC00000, 1000, 90000)
"""0x7FC00000 is a float's NaN; the rest stands at the edges of integers."""
SIZES = (
    (0, 0),
    (0, 48),
    (1, 1),
    (3, 5),
    (16384, 16384),
    (32767, 32767),
    (32768, 32768),
    (65535, 65535),
    (2, 60000),
    (8192, 8200),
)
"""Claimed picture sizes."""


def put(body: bytes, place: int, value: int, width: int = 4, order: str = "big") -> bytes:
    """`body` with a number written over what stood there; as it was where it is too short."""
    if place + width > len(body):
        return body
    return body[:place] + (value % 256**width).to_bytes(width, order) + body[place + width :]  # type: ignore[arg-type]


def pick(rng: Rng, values: tuple) -> int:
    """One of the values, or (one time in four) anything of 32 bits."""
    return int(rng.integers(2**32)) if rng.random() < 0.25 else int(values[int(rng.integers(len(values)))])


def _one(root: Node, rng: Rng, *kinds: bytes) -> Node | None:
    found = [node for node in root.walk() if node.kind in kinds]
    return found[int(rng.integers(len(found)))] if found else None


# ---- MP4

_TABLES = (b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"co64", b"stss", b"elst", b"trun", b"tfdt", b"tfhd", b"trex", b"sidx")
_HEADS = (b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"stsd", b"dref", b"smhd", b"vmhd", b"mehd", b"mfhd")


def mp4_table(root: Node, rng: Rng) -> str:
    """Counts, deltas, offsets and sizes of samples; edit lists."""
    node = _one(root, rng, *_TABLES)
    if node is None:
        return "no table"
    places = range(4, max(5, len(node.body) - 3), 4)
    for _ in range(int(rng.integers(1, 4))):
        node.body = put(node.body, places[int(rng.integers(len(places)))], pick(rng, WILD))
    return f"{node.kind!r} with wild numbers"


def mp4_head(root: Node, rng: Rng) -> str:
    node = _one(root, rng, *_HEADS)
    if node is None:
        return "no header"
    place = int(rng.integers(4, max(5, len(node.body) - 3)))
    node.body = put(node.body, place, pick(rng, WILD))
    return f"{node.kind!r} with a wild number at {place}"


def mp4_size(root: Node, rng: Rng) -> str:
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    for node in root.walk():
        if node.kind == b"stsd":
            node.body = put(put(node.body, 40, width, 2), 42, height, 2)
        if node.kind == b"tkhd":
            node.body = put(put(node.body, 76, width << 16), 80, height << 16)
    return f"claims {width}x{height}"


def mp4_clock(root: Node, rng: Rng) -> str:
    node = _one(root, rng, b"mdhd", b"mvhd")
    if node is None:
        return "no clock"
    scale = pick(rng, WILD)
    node.body = put(node.body, 12, scale)
    return f"{node.kind!r} counts {scale} ticks a second"


def mp4_matrix(root: Node, rng: Rng) -> str:
    """All zero (no angle can be told from it), or numbers that make no rotation."""
    node = _one(root, rng, b"tkhd")
    if node is None:
        return "no track header"
    matrix = b"\0" * 36 if rng.random() < 0.5 else rng.bytes(36)
    node.body = node.body[:40] + matrix + node.body[76:]
    return "a matrix that is no rotation"


def mp4_version(root: Node, rng: Rng) -> str:
    """Version 1 fields read from version 0 bodies."""
    node = _one(root, rng, *_HEADS, *_TABLES)
    if node is None:
        return "no header"
    node.body = put(node.body, 0, int(rng.integers(1, 256)), 1)
    return f"{node.kind!r} of another version"


def mp4_no_keyframes(root: Node, rng: Rng) -> str:
    node = _one(root, rng, b"stss")
    if node is not None:
        node.body = node.body[:4] + struct.pack(">I", 0)
    mdat = _one(root, rng, b"mdat")
    if mdat is not None:
        mdat.body = b"\0" * min(1500, len(mdat.body)) + mdat.body[1500:]
    return "the first key frame is gone"


# ---- Matroska

_UINTS = (
    "B0 BA 54B0 54BA D7 83 B9 88 9C 23E383 2AD7B1 E7 B3 F1 F7 9F 6264 9A 9D 536E 55B0 73C5 63C0 55EE 56AA 56BB 6DE7 9B FB 4254"
)
_FLOATS = "4489 B5 78B5 23314F 7673 7674 7675 55D1 55D9"
_WILD_FLOATS = (float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e-300, 1e300, 2.0**63, -(2.0**40))


def mkv_number(root: Node, rng: Rng) -> str:
    node = _one(root, rng, *(bytes.fromhex(name) for name in _UINTS.split()))
    if node is None:
        return "no number"
    node.body = int(rng.integers(2**63)).to_bytes(8, "big") if rng.random() < 0.3 else pick(rng, WILD).to_bytes(4, "big")
    return f"element {node.kind.hex()} is {int.from_bytes(node.body, 'big')}"


def mkv_float(root: Node, rng: Rng) -> str:
    value = _WILD_FLOATS[int(rng.integers(len(_WILD_FLOATS)))]
    node = _one(root, rng, *(bytes.fromhex(name) for name in _FLOATS.split()))
    if node is None:
        return "no float"
    node.body = struct.pack(">d", value)
    return f"element {node.kind.hex()} is {value}"


def mkv_rotation(root: Node, rng: Rng) -> str:
    """A projection whose roll is no number, as players read a rotation from it."""
    value = _WILD_FLOATS[int(rng.integers(len(_WILD_FLOATS)))]
    video = _one(root, rng, b"\xe0")
    if video is None:
        return "no video settings"
    roll = [Node(b"\x76\x71", b"\0")] + [
        Node(kind, struct.pack(">d", value)) for kind in (b"\x76\x73", b"\x76\x74", b"\x76\x75")
    ]
    video.children.append(Node(b"\x76\x70", children=roll))
    return f"turned by {value} degrees"


def mkv_size(root: Node, rng: Rng) -> str:
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    for node in root.walk():
        if node.kind in (b"\xb0", b"\xba"):
            node.body = (width if node.kind == b"\xb0" else height).to_bytes(4, "big")
    return f"claims {width}x{height}"


def mkv_block(root: Node, rng: Rng) -> str:
    """A block with another track, time, flag (lacing), or no content."""
    damage = int(rng.integers(5))
    for _ in range(int(rng.integers(1, 6))):
        node = _one(root, rng, b"\xa3", b"\xa1")
        if node is None:
            return "no block"
        body = node.body
        if damage == 0:
            node.body = put(body, 0, int(rng.integers(256)), 1)
        elif damage == 1:
            node.body = put(body, 1, int(rng.integers(2**16)), 2)
        elif damage == 2:
            node.body = put(body, 3, int(rng.integers(256)), 1)
        elif damage == 3:
            node.body = body[:4]
        else:
            node.body = body[:4] + rng.bytes(len(body) - 4)
    return ("another track", "another time", "other flags", "no content", "noise")[damage] + " in blocks"


def mkv_jump(root: Node, rng: Rng) -> str:
    clusters = [node for node in root.walk() if node.kind == b"\xe7"]
    if not clusters:
        return "no cluster"
    node = clusters[int(rng.integers(len(clusters)))]
    node.body = pick(rng, (0, 10**6, 2**31, 2**32 - 1)).to_bytes(8, "big")
    return f"a cluster at {int.from_bytes(node.body, 'big')}"


def mkv_no_keyframe(root: Node, rng: Rng) -> str:
    for node in root.walk():
        blocks = [child for child in node.children if child.kind in (b"\xa3", b"\xa0")]
        if blocks:
            node.children.remove(blocks[0])
            return "the first block is gone"
    return "no block"


# ---- AVI


def avi_field(root: Node, rng: Rng) -> str:
    node = _one(root, rng, b"avih", b"strh", b"strf", b"idx1", b"indx")
    if node is None:
        return "no header"
    places = range(0, max(1, len(node.body) - 3), 4)
    for _ in range(int(rng.integers(1, 4))):
        node.body = put(node.body, places[int(rng.integers(len(places)))], pick(rng, WILD), order="little")
    return f"{node.kind!r} with wild numbers"


def avi_size(root: Node, rng: Rng) -> str:
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    if rng.random() < 0.3:
        height = -height
    for node in root.walk():
        if node.kind == b"avih":
            node.body = put(put(node.body, 32, width, order="little"), 36, height, order="little")
        if node.kind == b"strf" and len(node.body) >= 40:
            node.body = put(put(node.body, 4, width, order="little"), 8, height, order="little")
    return f"claims {width}x{height}"


def avi_clock(root: Node, rng: Rng) -> str:
    node = _one(root, rng, b"strh")
    if node is None:
        return "no stream header"
    scale, rate = pick(rng, WILD), pick(rng, WILD)
    node.body = put(put(node.body, 20, scale, order="little"), 24, rate, order="little")
    return f"{rate}/{scale} a second"


def avi_empty(root: Node, rng: Rng) -> str:
    """Zero-length packets: repeats of the picture before, and silent sound."""
    kind = (b"00dc", b"01wb")[int(rng.integers(2))]
    nodes = [node for node in root.walk() if node.kind == kind]
    for node in nodes:
        if rng.random() < 0.4:
            node.body = b""
    return f"empty {kind!r} chunks"


MP4_FIELDS = (mp4_table, mp4_table, mp4_head, mp4_size, mp4_clock, mp4_matrix, mp4_version, mp4_no_keyframes)
MKV_FIELDS = (mkv_number, mkv_number, mkv_float, mkv_rotation, mkv_size, mkv_block, mkv_block, mkv_jump, mkv_no_keyframe)
AVI_FIELDS = (avi_field, avi_field, avi_size, avi_clock, avi_empty)
Change = Callable[[Node, Rng], str]
