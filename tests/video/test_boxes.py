from __future__ import annotations

import struct
from pathlib import Path

import pytest

from iconface_video.video import boxes
from iconface_video.video import stream_header as ebml


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def test_boxes_come_back_as_they_were():
    data = _box(b"moov", _box(b"trak", _box(b"mdia", _box(b"hdlr", bytes(8) + b"vide"))) + _box(b"udta", b"anything at all"))
    (moov,) = boxes.parsed(data)
    assert moov.coded == data
    assert moov.all(b"trak")[0].find(b"mdia", b"hdlr").body[8:12] == b"vide"


@pytest.mark.parametrize("damage", [b"", b"\0\0\0\1moov", b"\0\0\0\3moov", b"\xff\xff\xff\xffmoov", b"\0\0\0\x10moov"])
def test_what_makes_no_sense_is_no_box(damage, tmp_path: Path):
    path = tmp_path / "x.mp4"
    path.write_bytes(_box(b"ftyp", b"isom") + damage)
    assert list(boxes.parsed(damage)) == []
    assert boxes.read_moov(path) is None


def test_boxes_nested_without_end_are_read():
    data = b""
    for _ in range(3000):
        data = _box(b"trak", data)
    assert next(boxes.parsed(data)).kind == b"trak"


def test_an_index_that_is_not_at_the_end_is_left_alone(tmp_path: Path):
    path = tmp_path / "x.mp4"
    path.write_bytes(_box(b"moov", _box(b"mvhd", bytes(100))) + _box(b"mdat", b"samples"))
    before = path.read_bytes()
    moov = boxes.read_moov(path)
    assert moov is not None
    with pytest.raises(ValueError, match="not at its end"):
        boxes.rewrite_moov(path, moov)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [2, 3, 127, 128, 129, 130, 20000])
def test_void_takes_up_exactly_so_many_bytes(size):
    data = ebml.void(size)
    assert len(data) == size
    (element,) = ebml.parsed(data)
    assert element.id == ebml.VOID


def test_elements_come_back_as_they_were():
    inner = ebml.master(0x1549A966, [ebml.unsigned(0x2AD7B1, 1000000), ebml.floating(0x4489, 2.5)], checked=True)
    (again,) = ebml.parsed(inner.coded)
    assert again == inner
    assert again.find(0x2AD7B1).number() == 1000000
    assert ebml.remade(again, again.children) == again


@pytest.mark.parametrize("damage", [b"", b"\0", b"\x1a", b"\x1a\x45\xdf\xa3", b"\xae\xff", b"\xae\x85abc", b"\xae\0\0"])
def test_what_makes_no_sense_is_no_element(damage):
    assert list(ebml.parsed(damage)) == []
