"""Reading one picture from a file (any common format, upright, 8-bit RGB, nothing that is far too large or cut short), and packing one
as JPEG, to be shown.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import InputError
from iconface_video.types import UInt8

MAX_PICTURE_PIXELS = 100_000_000
"""A camera's largest is about 100 megapixels; a file of a few kilobytes can claim thousands."""
MAX_PICTURE_BYTES = 1 << 29
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""As Pillow calls them."""
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
HEIC_SUFFIXES = frozenset({".heic", ".heif"})
HEIC_IS_NOT_READ = "a HEIC photo, which is not read here. Save it as JPEG first; most phones can export it so"
_READABLE = "JPEG, PNG, WebP, TIFF and the like can"


def read_picture(path: Path, what: str = "picture") -> UInt8:
    """(h, w, 3) RGB, 8 bit, turned upright as EXIF says; of an animation the first picture.

    Raises InputError, naming the file: missing, no picture, empty, cut short, or beyond `MAX_PICTURE_PIXELS`.
    """
    data = _bytes_of(path, what)
    if is_heic(data[:48]):
        raise InputError(f"{path}: {HEIC_IS_NOT_READ}")
    width, height, kind = _header(path, data, what)
    if width * height > MAX_PICTURE_PIXELS:
        raise InputError(
            f"{path}: this {what} claims {width}x{height} px; at most {MAX_PICTURE_PIXELS // 10**6} megapixels are read. "
            "Make it smaller first."
        )
    if is_cut_short(data, kind):
        raise InputError(f"{path}: this {what} is cut short: its end is missing. Copy it again from the source.")
    if kind == "AVIF":
        return _read_by_pillow(path, data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        raise InputError(f"{path}: not a photo that can be read, or damaged; {_READABLE}")
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)


def jpeg(rgb: UInt8, quality: int = 92) -> bytes:
    """(h, w, 3) RGB -> a JPEG file's content."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _read_by_pillow(path: Path, data: bytes) -> UInt8:
    """AVIF says how it is turned in boxes of its own (irot, imir), which OpenCV passes over and Pillow gives back as EXIF."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=["AVIF"]) as opened:
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"), np.uint8)
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise InputError(f"{path}: not a photo that can be read, or damaged; {_READABLE}") from error


def is_heic(head: bytes) -> bool:
    """Whether a file that begins so is a HEIC (HEIF) photo, as many phones take them."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and b"avif" not in head[:48]


def _bytes_of(path: Path, what: str) -> bytes:
    try:
        if not path.is_file():
            reason = "a folder" if path.is_dir() else "not a regular file" if path.exists() else ""
            raise InputError(f"{path}: {f'this is {reason}, not a {what}' if reason else f'there is no such {what}'}")
        size = os.path.getsize(path)
        if size > MAX_PICTURE_BYTES:
            raise InputError(f"{path}: far too large for a {what} ({size / 1e9:.1f} GB). Is it a video?")
        return path.read_bytes()
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: the {what} cannot be read ({error.strerror})") from error


def _header(path: Path, data: bytes, what: str) -> tuple[int, int, str]:
    """(width, height, format) from the header alone: nothing is decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, higher limit warns
            Image.init()
            known = [name for name in _FORMATS if name in Image.OPEN]  # AVIF is new
            with Image.open(io.BytesIO(data), formats=known) as opened:
                return opened.width, opened.height, str(opened.format)
    except Image.DecompressionBombError:
        raise InputError(
            f"{path}: this {what} claims more than {MAX_PICTURE_PIXELS // 10**6} megapixels. Make it smaller first."
        ) from None
    except Exception as error:  # damaged headers make Pillow raise nearly anything
        reason = _READABLE if data else "the file is empty"
        raise InputError(f"{path}: not a photo that can be read: {reason}") from error


def is_cut_short(data: bytes, kind: str) -> bool:
    """Whether the end mark of a JPEG or PNG is missing: decoders would fill the rest with grey and say nothing."""
    if kind in ("JPEG", "MPO"):
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")  # a thumbnail inside has an end mark of its own
    return kind == "PNG" and b"IEND" not in data
