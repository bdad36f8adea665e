"""EBML, the coding of Matroska (RFC 8794): elements taken apart and written, no more than a header needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CRC_32, VOID = 0xBF, 0xEC
_LONGEST_ID, _LONGEST_SIZE = 4, 8


@dataclass(frozen=True)
class Element:
    """One element with its content as it stands in the file."""

    id: int
    """With its length marker, as the specification writes it: 0x1A45DFA3."""
    body: bytes

    @property
    def children(self) -> tuple[Element, ...]:
        """Of a master element."""
        return tuple(parsed(self.body))

    def find(self, *path: int) -> Element | None:
        """The first descendant along these ids."""
        here: Element | None = self
        for step in path:
            here = None if here is None else next((child for child in here.children if child.id == step), None)
        return here

    def number(self) -> int:
        """Of an unsigned integer element."""
        return int.from_bytes(self.body, "big")

    @property
    def coded(self) -> bytes:
        return coded_id(self.id) + coded_size(len(self.body)) + self.body


def parsed(data: bytes) -> Iterator[Element]:
    """Elements one after the other; ends where the data end or make no sense."""
    place = 0
    while place < len(data):
        head = head_of(data[place : place + _LONGEST_ID + _LONGEST_SIZE])
        if head is None or head[2] is None or place + head[1] + head[2] > len(data):
            return
        id, width, size = head[0], head[1], head[2]
        yield Element(id, data[place + width : place + width + size])
        place += width + size


def head_of(data: bytes) -> tuple[int, int, int | None] | None:
    """(id, bytes of the head, size of the content or None for unknown) at the beginning of the data; None: not an element."""
    if not data or not data[0] or (id_width := 9 - data[0].bit_length()) > _LONGEST_ID or len(data) <= id_width:
        return None
    id = int.from_bytes(data[:id_width], "big")
    if not data[id_width]:
        return None
    size_width = 9 - data[id_width].bit_length()
    if len(data) < id_width + size_width:
        return None
    size = int.from_bytes(data[id_width : id_width + size_width], "big") - (1 << 7 * size_width)
    return id, id_width + size_width, None if size == (1 << 7 * size_width) - 1 else size


def coded_id(id: int) -> bytes:
    return id.to_bytes((id.bit_length() + 7) // 8, "big")


def coded_size(size: int, width: int | None = None) -> bytes:
    """As short as it can be, or `width` bytes long."""
    if width is None:
        width = next(width for width in range(1, _LONGEST_SIZE + 1) if size < (1 << 7 * width) - 1)
    return (size | 1 << 7 * width).to_bytes(width, "big")


def unsigned(id: int, value: int) -> Element:
    return Element(id, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def floating(id: int, value: float) -> Element:
    return Element(id, struct.pack(">d", value))


def master(id: int, children: Sequence[Element], *, checked: bool = False) -> Element:
    """`checked`: with a CRC-32 element in front, as the specification wants it (IEEE, little endian, over what follows)."""
    body = b"".join(child.coded for child in children if child.id != CRC_32 or not checked)
    if checked:
        body = Element(CRC_32, struct.pack("<I", zlib.crc32(body))).coded + body
    return Element(id, body)


def remade(element: Element, children: Sequence[Element]) -> Element:
    """A master element with other children; checked where it was before."""
    return master(element.id, children, checked=element.find(CRC_32) is not None)


def replaced(parent: Element, child: Element) -> Element:
    """With this child in the place of the first of its id, or at the end."""
    children = list(parent.children)
    place = next((index for index, old in enumerate(children) if old.id == child.id), len(children))
    children[place : place + 1] = [child]
    return remade(parent, children)


def without(parent: Element, *ids: int) -> Element:
    return remade(parent, [child for child in parent.children if child.id not in ids])


def void(size: int) -> bytes:
    """An element without meaning that takes up exactly so many bytes; at least 2."""
    if size < 2:
        raise ValueError(f"a Void element takes at least 2 bytes, not {size}")
    width = 1 if size - 2 < 127 else _LONGEST_SIZE
    return coded_id(VOID) + coded_size(size - 1 - width, width) + bytes(size - 1 - width)
