"""What a file holds, and whether it stays the same while a run reads it, pass after pass.

A file is known by its whole content alone: moved, copied to another machine or with another date it is the same file. Reading
through many gigabytes takes minutes, so the hash of a large file is remembered in the user's cache folder, under what the file
system says of the file (`FileState`); that alone decides whether it is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import platformdirs

from iconface_video.durable import write_whole
from iconface_video.errors import InputError

_CHUNK_BYTES = 4 << 20
_REMEMBERED_BYTES = 32 << 20
"""Smaller files are read again in no time."""
_MOST_REMEMBERED = 4096
_SETTLED_NS = 2 * 10**9
"""A file that was written to just now may be so again without its time showing it (FAT counts in two seconds)."""
_PREFIX = "sha256:"


@dataclass(frozen=True)
class FileState:
    """What a file system says of a file without reading it."""

    size: int
    modified_ns: int
    device: int
    inode: int
    changed_ns: int
    """Of anything about the file, also where its modification time was set back. Names and rights count, too."""

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Raises OSError."""
        facts = os.stat(path)
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_dev, facts.st_ino, facts.st_ctime_ns)

    def is_same_writing(self, other: FileState) -> bool:
        """Nobody has written to it or put another file in its place."""
        return astuple(self)[:4] == astuple(other)[:4]


class SteadyFile:
    """A file that has to stay as it was when this was made."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path = path
        self._state = FileState.of(path)
        self._hash: str | None = None

    def identity(self) -> str:
        """`hash_file` of it. Raises InputError when it cannot be read, or has changed."""
        if self._hash is None:
            state, found = _hashed(self.path)
            if not state.is_same_writing(self._state):
                raise _changed(self.path, self._state, state)
            self._state, self._hash = state, found
        return self._hash

    def check(self) -> None:
        """Raises InputError when the file has changed or is gone. One that was only touched, or put back, has not changed."""
        try:
            now = FileState.of(self.path)
        except OSError as error:
            raise InputError(
                f"{self.path}: was moved or deleted while it was being read ({error.strerror}). Put it back and try again."
            ) from error
        if now.is_same_writing(self._state):
            return
        if self._hash is None or now.size != self._state.size or hash_file(self.path) != self._hash:
            raise _changed(self.path, self._state, now)
        self._state = now


def hash_file(path: Path) -> str:
    """Hash of a file's whole content (SHA-256). Raises InputError when it cannot be read, or is written to meanwhile."""
    return _hashed(path)[1]


def _hashed(path: Path) -> tuple[FileState, str]:
    """With the state in which the file was read."""
    try:
        state = FileState.of(path)
        is_large = state.size >= _REMEMBERED_BYTES
        found = _remembered().get(_key(path, state)) if is_large else None
        if found is None:
            found = _PREFIX + _read_through(path)
            after = FileState.of(path)
            if not after.is_same_writing(state):
                raise _changed(path, state, after)
            if is_large and time.time_ns() - max(state.modified_ns, state.changed_ns) > _SETTLED_NS:
                _remember(_key(path, state), found)
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return state, found


def _read_through(path: Path) -> str:
    digest = hashlib.sha256()  # processors have instructions for it: three times as fast as BLAKE2 in Python
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _changed(path: Path, before: FileState, now: FileState) -> InputError:
    how = (
        "another file was put in its place" if (before.device, before.inode) != (now.device, now.inode) else "it was written to"
    )
    if now.size != before.size:
        how += f"; its size went from {before.size:,} to {now.size:,} bytes"
    return InputError(
        f"{path}: changed while it was being read ({how}), so nothing was made of it. "
        "Wait until nothing writes to it any more (a recording, a copy, a download), then try again."
    )


# ---- remembered hashes of large files


def _key(path: Path, state: FileState) -> str:
    text = "|".join([*map(str, astuple(state)), os.fsdecode(os.path.realpath(path))])
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _memory() -> Path:
    return platformdirs.user_cache_path("iconface-video", appauthor=False) / "hashes.json"


def _remembered() -> dict[str, str]:
    try:
        content = json.loads(_memory().read_bytes())
        return {str(key): str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError, RecursionError, RuntimeError):  # RuntimeError: no home folder
        return {}


def _remember(key: str, found: str) -> None:
    """Where the cache folder cannot be written to, nothing is remembered."""
    known = {**_remembered(), key: found}
    kept = dict(list(known.items())[-_MOST_REMEMBERED:])
    try:
        _memory().parent.mkdir(parents=True, exist_ok=True)
        write_whole(_memory(), lambda file: file.write(json.dumps(kept).encode()))
    except (OSError, RuntimeError):
        return
