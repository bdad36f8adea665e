"""Files that are either whole or not there, also after a crash or a power cut."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

PART = ".part"
"""What a file that is still being written ends with."""
PARTIAL = ".partial"
"""The same for an output, which grows for long."""
_LONGEST_NAME = 255
"""Bytes that file systems take."""
_TOKEN_BYTES = 4
_CHUNK_BYTES = 1 << 20


def new_token() -> str:
    """What sets one writer's temporary names apart from all others'."""
    return secrets.token_hex(_TOKEN_BYTES)


def aside(path: Path, end: str = PART, token: str | None = None) -> Path:
    """A hidden name beside `path` that nobody else has: two writers of one file never share what is not whole yet."""
    return path.with_name(f"{_before_token(path, end)}{token or new_token()}{end}")


def left_aside(path: Path, end: str = PART) -> list[Path]:
    """What killed writers of `path` left under names of `aside`. Only for whoever is alone to write it."""
    begin = _before_token(path, end)
    if begin != f".{path.name}.":
        return []  # cut short: it may be another file's
    ours = re.compile(re.escape(begin) + rf"[0-9a-f]{{{2 * _TOKEN_BYTES}}}" + re.escape(end))
    return [item for item in path.parent.iterdir() if ours.fullmatch(item.name)]


def _before_token(path: Path, end: str) -> str:
    """Cut so that the whole name is not too long for the file system."""
    name, room = path.name, _LONGEST_NAME - len(f"..{end}") - 2 * _TOKEN_BYTES
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return f".{name}."


def write_whole(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write aside, sync, rename: a file under its own name is whole. `fill` gets the open file.

    Raises OSError; then nothing of it is left, and an older file of that name stands as before.
    """
    unfinished = aside(path)
    try:
        with open(unfinished, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
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
