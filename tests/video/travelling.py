"""Small inputs that carry much beside their picture. What the ffmpeg program cannot write is put in byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz.tree import Node, parse_boxes, write_boxes
from tests.video.conftest import Ffmpeg

MASTER = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
HDR = f"log-level=error:master-display={MASTER}:max-cll=1000,400:hdr10=1"
MEBX_SAMPLES = [b"\0\0\0\x0c\0\0\0\x01\0\0\0" + bytes([value]) for value in (7, 8, 9)]
_WIDE = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-color_range", "tv")


def hdr10(ffmpeg: Ffmpeg, dolby_vision: int | None = None) -> Path:
    """HEVC in MP4, PQ and BT.2020, mastering display and content light; with a Dolby Vision record of the given profile."""
    path = ffmpeg.picture(
        "hdr.mp4", "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1", "-x265-params", HDR,
        "-chroma_sample_location", "topleft", *_WIDE, size="128x96", seconds=0.24,
    )  # fmt: skip
    if dolby_vision is not None:
        # version 1.0, profile, level 1, RPU present, no enhancement layer, base layer present, compatible with HDR10 (or nothing)
        compatible = 0 if dolby_vision == 5 else 1
        bits = dolby_vision << 9 | 1 << 3 | 0b101
        record = bytes([1, 0]) + struct.pack(">H", bits) + bytes([compatible << 4]) + bytes(19)
        edit_moov(
            path, lambda moov: _add_to_sample_entry(moov, b"vide", 78, Node(b"dvvC" if dolby_vision > 7 else b"dvcC", record))
        )
    return path


def interlaced_sd(ffmpeg: Ffmpeg, bottom_first: bool = False) -> Path:
    """H.264 in MOV: 720x576 (here smaller) fields shown 16:9, chroma at the top left, time code with a reel name, captions."""
    order = "bff=1" if bottom_first else "tff=1"
    scan = "bff" if bottom_first else "tff"
    raw = ffmpeg.picture(
        "fields.264", "-vf", f"interlace=scan={scan},setsar=64/45", "-c:v", "libx264", "-flags", "+ilme+ildct", "-bf", "0", "-g", "6",
        "-x264-params", f"{order}:aud=1:log=error", "-pix_fmt", "yuv420p", "-chroma_sample_location", "topleft",
        "-colorspace", "bt470bg", "-color_primaries", "bt470bg", "-color_trc", "bt709", "-color_range", "tv",
        size="128x96", seconds=0.48, rate="50",
    )  # fmt: skip
    captioned = raw.with_name("captioned.264")
    captioned.write_bytes(with_captions(raw.read_bytes()))
    return ffmpeg(
        "sd.mov",
        "-f",
        "h264",
        "-r",
        "25",
        "-i",
        captioned,
        "-c",
        "copy",
        "-timecode",
        "01:00:00:00",
        "-metadata:s:v:0",
        "reel_name=TAPE07",
    )


def with_captions(stream: bytes) -> bytes:
    """An Annex B H.264 stream with access unit delimiters, with CEA-608 captions (ATSC A/53) in front of each picture."""
    delimiter = b"\0\0\0\1\x09"
    units = stream.split(delimiter)
    words = [b"\x94\x20", b"\x94\x70", b"HI", b"\x94\x2f"]
    parts = [units[0]]
    for number, unit in enumerate(units[1:]):
        pair = bytes(_odd_parity(byte) for byte in words[number % len(words)])
        triplets = b"\xfc" + pair + b"\xfd\x80\x80"
        payload = b"\xb5\x00\x31GA94\x03" + bytes([0xC0 | 2, 0xFF]) + triplets + b"\xff"
        sei = b"\0\0\0\1\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
        parts.append(delimiter + unit[:1] + sei + unit[1:])
    return b"".join(parts)


def _odd_parity(byte: int) -> int:
    return byte & 0x7F | (0 if (byte & 0x7F).bit_count() % 2 else 0x80)


def phone(ffmpeg: Ffmpeg, suffix: str = ".mov") -> Path:
    """A phone's film: turned by 90 degrees, two chapters, a location, and two tracks of data: mebx, and gpmd with two samples."""
    meta = ffmpeg.folder / "phone.txt"
    meta.write_text(
        ";FFMETADATA1\ntitle=Harbour\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=800\ntitle=Two\n"
    )
    tags = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    upright = ffmpeg.with_sound(
        "upright.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", *tags, "-c:a", "aac", size="128x96", seconds=0.8
    )
    path = ffmpeg(
        f"phone{suffix}", "-i", upright, "-i", meta, "-map", "0", "-map_metadata", "1", "-c", "copy", "-metadata:s:v:0", "rotate=90",
        "-metadata:s:a:0", "language=deu",
    )  # fmt: skip
    add_track(path, b"meta", mebx_entry(), MEBX_SAMPLES, 10, [5, 2, 1], speaks_of=1)
    add_track(
        path, b"meta", box(b"gpmd", bytes(6) + struct.pack(">HI", 1, 0)), [b"DEVC\0\1\0\4abcd", b"DEVC\0\1\0\4efgh"], 10, [4, 4]
    )
    return path


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def mebx_entry() -> bytes:
    """As QuickTime's file format has it: one key, 'com.apple.quicktime.video-orientation', of a 32-bit integer."""
    key = box(b"keyd", b"mdta", b"com.apple.quicktime.video-orientation")
    kind = box(b"dtyp", struct.pack(">II", 0, 67))
    keys = box(b"keys", struct.pack(">I", 8 + len(key) + len(kind)) + struct.pack(">I", 1) + key + kind)
    return box(b"mebx", bytes(6), struct.pack(">H", 1), keys)


def edit_moov(path: Path, edit: Callable[[Node], None], media: bytes = b"") -> int:
    """Change the index of a file that ends with it. `media`: bytes put before it; returns where they lie in the file."""
    data = path.read_bytes()
    root = parse_boxes(data)
    moov = root.children[-1]
    assert moov.kind == b"moov"
    place = data.rindex(b"moov", 0, len(data) - sum(len(write_boxes(child)) for child in moov.children)) - 4
    edit(moov)
    if media:
        path.write_bytes(data[:place] + box(b"mdat", media) + write_boxes(moov))
    else:
        path.write_bytes(data[:place] + write_boxes(moov))
    return place + 8


def tracks(moov: Node, handler: bytes) -> Iterator[Node]:
    for track in moov.children:
        if track.kind == b"trak" and next(node for node in track.walk() if node.kind == b"hdlr").body[8:12] == handler:
            yield track


def _add_to_sample_entry(moov: Node, handler: bytes, head: int, child: Node) -> None:
    table = next(node for node in next(tracks(moov, handler)).walk() if node.kind == b"stsd")
    size = int.from_bytes(table.body[8:12], "big")
    entry = table.body[8 : 8 + size] + write_boxes(child)
    table.body = table.body[:8] + struct.pack(">I", len(entry)) + entry[4:] + table.body[8 + size :]


def add_track(
    path: Path, handler: bytes, entry: bytes, samples: list[bytes], scale: int, durations: list[int], speaks_of: int = 0
) -> None:
    """One more track of the given kind; each sample in a chunk of its own.  speaks_of: id of the track that it describes."""

    def add(moov: Node) -> None:
        number = 1 + sum(child.kind == b"trak" for child in moov.children)
        reference = box(b"tref", box(b"cdsc", struct.pack(">I", speaks_of))) if speaks_of else b""
        moov.children.append(Node(b"trak", _trak(number, handler, entry, samples, scale, durations, media) + reference))
        head = next(node for node in moov.walk() if node.kind == b"mvhd")
        head.body = head.body[:-4] + struct.pack(">I", number + 1)

    media = path.read_bytes().rindex(b"moov") - 4
    assert edit_moov(path, lambda moov: None) == media + 8, "moov is not the last box"
    media += 8
    edit_moov(path, add, b"".join(samples))


def _trak(
    number: int, handler: bytes, entry: bytes, samples: list[bytes], scale: int, durations: list[int], place: int
) -> bytes:
    whole = sum(durations)
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    # 1000: the movie's own clock, as ffmpeg writes it
    tkhd = box(b"tkhd", struct.pack(">IIIIII", 3, 0, 0, number, 0, whole * 1000 // scale) + bytes(16) + matrix + bytes(8))
    mdhd = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, scale, whole, 0x55C4, 0))
    hdlr = box(b"hdlr", bytes(4), b"mhlr" if handler == b"meta" else bytes(4), handler, bytes(12), b"\x04Data")
    places, at = [], place
    for sample in samples:
        places.append(at)
        at += len(sample)
    stbl = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">II", 0, len(durations)), *(struct.pack(">II", 1, duration) for duration in durations)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        box(b"stsz", struct.pack(">III", 0, 0, len(samples)), *(struct.pack(">I", len(sample)) for sample in samples)),
        box(b"stco", struct.pack(">II", 0, len(samples)), *(struct.pack(">I", value) for value in places)),
    )
    header = box(b"smhd", bytes(8)) if handler == b"soun" else box(b"nmhd", bytes(4))
    dinf = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), box(b"url ", struct.pack(">I", 1))))
    return tkhd + box(b"mdia", mdhd, hdlr, box(b"minf", header, dinf, stbl))
