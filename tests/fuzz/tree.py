"""Containers as trees of chunks (MP4 boxes, EBML elements, RIFF chunks): taken apart, bent, and put together again.

A node's size field can lie; everything else of the file is written as a muxer would, so that damage reaches the code behind
the first plausibility check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

Rng = np.random.Generator


@dataclass(eq=False)
class Node:
    """One chunk."""

    kind: bytes
    """Box type, element id, chunk name."""
    body: bytes = b""
    """Content before the children; all content of a leaf."""
    children: list[Node] = field(default_factory=list)
    size: int | None = None
    """Said in the header instead of the true one."""

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Format:
    """How a kind of container is taken apart and written."""

    parse: Callable[[bytes], Node]
    write: Callable[[Node], bytes]


# ---- MP4 and MOV

_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"mvex", b"moof", b"traf", b"mfra"}


def parse_boxes(data: bytes) -> Node:
    return Node(b"", children=list(_boxes(data)))


def _boxes(data: bytes) -> Iterator[Node]:
    place = 0
    while place + 8 <= len(data):
        size, kind, header = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        end = min(len(data), place + size) if size >= header else len(data)
        body = data[place + header : end]
        yield Node(kind, children=list(_boxes(body))) if kind in _BOXES else Node(kind, body)
        place = end


def write_boxes(node: Node) -> bytes:
    content = node.body + b"".join(map(write_boxes, node.children))
    if not node.kind:
        return content
    size = len(content) + 8 if node.size is None else node.size
    return (size % 2**32).to_bytes(4, "big") + node.kind + content


# ---- Matroska

_MASTER_IDS = "18538067 1654AE6B AE E0 E1 1F43B675 1C53BB6B BB B7 1549A966 114D9B74 4DBB 1941A469 61A7 1043A770 45B9 B6 80 A0"
_MASTERS = {bytes.fromhex(name) for name in _MASTER_IDS.split()}


def parse_elements(data: bytes) -> Node:
    return Node(b"", children=list(_elements(data)))


def _elements(data: bytes) -> Iterator[Node]:
    place = 0
    while place < len(data):
        width = 9 - data[place].bit_length()
        kind = data[place : place + width]
        place += width
        if width > 4 or place >= len(data) or not data[place]:
            return
        width = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + width], "big") - (1 << 7 * width)
        place += width
        end = len(data) if size == (1 << 7 * width) - 1 else min(len(data), place + size)
        body = data[place:end]
        yield Node(kind, children=list(_elements(body))) if kind in _MASTERS else Node(kind, body)
        place = end


def write_elements(node: Node) -> bytes:
    content = node.body + b"".join(map(write_elements, node.children))
    if not node.kind:
        return content
    size = len(content) if node.size is None else node.size
    return node.kind + (size % 2**56 | 1 << 56).to_bytes(8, "big") + content


# ---- AVI


def parse_chunks(data: bytes) -> Node:
    return Node(b"", children=list(_chunks(data)))


def _chunks(data: bytes) -> Iterator[Node]:
    place = 0
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        body = data[place + 8 : place + 8 + size]
        if kind in (b"RIFF", b"LIST"):
            yield Node(kind, body[:4], list(_chunks(body[4:])))
        else:
            yield Node(kind, body)
        place += 8 + size + size % 2


def write_chunks(node: Node) -> bytes:
    content = node.body + b"".join(map(write_chunks, node.children))
    if not node.kind:
        return content
    size = len(content) if node.size is None else node.size
    return node.kind + (size % 2**32).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


MP4 = Format(parse_boxes, write_boxes)
MKV = Format(parse_elements, write_elements)
AVI = Format(parse_chunks, write_chunks)


# ---- damage that every tree can take


def _parent(root: Node, rng: Rng) -> Node:
    parents = [node for node in root.walk() if node.children]
    return parents[int(rng.integers(len(parents)))]


def _index(parent: Node, rng: Rng) -> int:
    return int(rng.integers(len(parent.children)))


def lie_about_size(root: Node, rng: Rng) -> str:
    nodes = [node for node in root.walk() if node.kind]
    node = nodes[int(rng.integers(len(nodes)))]
    node.size = int(rng.choice([0, 1, 7, 8, 9, 2**16, 2**31 - 1, 2**31, 2**32 - 1, len(node.body) - 1, len(node.body) + 3]))
    return f"{node.kind!r} says it has {node.size} bytes"


def swap(root: Node, rng: Rng) -> str:
    one, other = _parent(root, rng), _parent(root, rng)
    i, k = _index(one, rng), _index(other, rng)
    a, b = one.children[i], other.children[k]
    if b in a.walk() or a in b.walk():  # no circles
        i, k, other = 0, len(one.children) - 1, one
        a, b = one.children[i], one.children[k]
    one.children[i], other.children[k] = b, a
    return f"{a.kind!r} and {b.kind!r} swapped"


def drop(root: Node, rng: Rng) -> str:
    parent = _parent(root, rng)
    node = parent.children.pop(_index(parent, rng))
    return f"{node.kind!r} left out"


def repeat(root: Node, rng: Rng) -> str:
    parent = _parent(root, rng)
    node = parent.children[_index(parent, rng)]
    count = int(rng.choice([1, 2, 300]))
    parent.children += [node] * count
    return f"{node.kind!r} {count} times more"


def nest(root: Node, rng: Rng) -> str:
    parent = _parent(root, rng)
    index, depth = _index(parent, rng), int(rng.choice([1, 20, 2000]))
    inner, kind = parent.children[index], parent.kind or parent.children[index].kind
    for _ in range(min(depth, 200)):  # our own writer recurses; deeper nests are written below
        inner = Node(kind, children=[inner])
    parent.children[index] = inner
    return f"{kind!r} nested {min(depth, 200)} deep"


def rename(root: Node, rng: Rng) -> str:
    nodes = [node for node in root.walk() if node.kind]
    one, other = (nodes[int(rng.integers(len(nodes)))] for _ in range(2))
    before, one.kind = one.kind, other.kind
    return f"{before!r} called {other.kind!r}"


def resize(root: Node, rng: Rng) -> str:
    leaves = [node for node in root.walk() if node.body]
    node = leaves[int(rng.integers(len(leaves)))]
    keep = int(rng.integers(len(node.body) + 1))
    node.body = node.body[:keep] + rng.bytes(int(rng.choice([0, 1, 64])))
    return f"{node.kind!r} cut to {keep} bytes"


def scramble(root: Node, rng: Rng) -> str:
    leaves = [node for node in root.walk() if 0 < len(node.body) < 4000] or [node for node in root.walk() if node.body]
    node = leaves[int(rng.integers(len(leaves)))]
    body = bytearray(node.body)
    for _ in range(int(rng.integers(1, 9))):
        body[int(rng.integers(len(body)))] = int(rng.integers(256))
    node.body = bytes(body)
    return f"{node.kind!r} scrambled"


SHAPES = (lie_about_size, swap, drop, repeat, nest, rename, resize, scramble)
