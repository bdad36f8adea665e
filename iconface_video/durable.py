"""Files that are either whole or not there, also after a crash or a power cut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

PART = ".part"
"""What a file that is still being written ends with."""
_CHUNK_BYTES = 1 << 20


def write_whole(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write aside, sync, rename: a file under its own name is whole. `fill` gets the open file.

    Raises OSError; then nothing of it is left, and an older file of that name stands as before.
    """
    aside = path.with_name(path.name + PART)
    try:
        with open(aside, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Have the disk hold a file, or a folder's list of names. Some file systems cannot sync a folder: no error then."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not is_folder:
            raise
    finally:
        os.close(descriptor)


def checksum(path: Path) -> str:
    """Of a file's whole content (BLAKE2b, 128 bits): for finding damage. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
