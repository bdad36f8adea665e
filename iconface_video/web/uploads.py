"""Files from the browser: stored under a harmless name inside their folder, and never more of them than is allowed."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import AsyncIterable
from pathlib import Path

from iconface_video.durable import aside
from iconface_video.errors import IconFaceError, OutputError, UsageError

_MOST_NAME_BYTES = 120
_SPARE_BYTES = 200 << 20
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices."""


class UploadTooLarge(UsageError):
    """More bytes than are allowed."""


def safe_name(name: str, default: str) -> str:
    """A file name without folders, control characters, leading dots or dashes, of at most 120 bytes; the suffix stays."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] not in "CZ" or c == " ")
    kept = re.sub(r'[<>:"|?*\x00-\x1f]', "_", kept).strip(" .-~")
    if not kept or _RESERVED.match(kept):
        return default
    stem, dot, suffix = kept.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, dot, suffix = kept, "", ""
    room = _MOST_NAME_BYTES - len((dot + suffix).encode())
    stem = stem.encode()[:room].decode(errors="ignore").strip(" .-~")
    return f"{stem}{dot}{suffix}" if stem else default


async def receive(stream: AsyncIterable[bytes], declared: int | None, path: Path, limit: int) -> int:
    """Write a request's body to `path`, aside first; returns the number of bytes.

    declared: Content-Length, if the browser gave it. Raises UploadTooLarge, UsageError for an empty body, OutputError where
    the disk is full; whatever it raises (also when the browser goes away), no file is left.
    """
    if declared is not None:
        _check_size(declared, path, limit)
        free = shutil.disk_usage(path.parent).free
        if declared + _SPARE_BYTES > free:
            raise OutputError(f"{path.name}: {_mb(declared)} do not fit on this computer's disk, which has {_mb(free)} left")
    unfinished = aside(path)
    size = 0
    try:
        with unfinished.open("wb") as file:
            async for block in stream:
                size += len(block)
                _check_size(size, path, limit)
                file.write(block)  # a block is small, and goes into the system's cache
        if size == 0:
            raise UsageError(f"{path.name}: the file is empty (0 bytes); copy or record it again")
        os.replace(unfinished, path)
    except OSError as error:
        if isinstance(error, IconFaceError):
            raise
        raise OutputError(f"{path.name}: cannot be stored on this computer ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return size


def sentence(error: BaseException, folder: Path) -> str:
    """An error for the page: the program's own sentence, without where this machine keeps its files."""
    if not isinstance(error, IconFaceError):
        return f"something unexpected went wrong ({type(error).__name__}: {error}); the program's window says more"
    step = re.escape(os.sep)
    return re.sub(rf"{re.escape(str(folder))}(?:{step}[\w-]+)*{step}", "", str(error))


def _check_size(size: int, path: Path, limit: int) -> None:
    if size > limit:
        raise UploadTooLarge(
            f"{path.name}: larger than the {_mb(limit)} that are allowed here; cut the clip, "
            "or start the program with a larger --max-upload"
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
