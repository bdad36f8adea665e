"""Files that are either whole or not there, also after a crash or a power cut.

What a file holds, and whether it stays the same while a run reads it, pass after pass. A file is known by its whole content
alone: moved, copied to another machine or with another date it is the same file. Reading through many gigabytes takes
minutes, so the hash of a large file is remembered in the user's cache folder, under what the file system says of the file
(`FileState`); that alone decides whether it is believed.

Reading numpy's .npz files that may be damaged, or made to take all memory: what they claim is checked before it is allocated.
The YAML files that people write: presets and training configs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import platformdirs
import yaml
from numpy.typing import NDArray

from iconface_video.errors import InputError, UsageError

PART = ".part"
"""What a file that is still being written ends with."""
PARTIAL = ".partial"
"""The same for an output, which grows for long."""
_LONGEST_NAME = 255
"""Bytes that file systems take."""
_TOKEN_BYTES = 4


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
    """`WholeFile` at once: `fill` gets the open file. Raises OSError."""
    with WholeFile(path) as file:
        fill(file)


class WholeFile:
    """Written aside, synced, renamed: a file under its own name is whole.

    As a context manager it gives the open file; an error (OSError of the disk, or any other) leaves nothing of it, and an older
    file of that name stands as before. Who writes for long calls `keep` or `discard`.
    unfinished: its name until then, for whoever is alone to write it.
    """

    def __init__(self, path: Path, unfinished: Path | None = None) -> None:
        self._path, self._unfinished = path, unfinished or aside(path)
        self.file: IO[bytes] = open(self._unfinished, "wb")  # noqa: SIM115 - closed by keep or discard

    def keep(self) -> None:
        """Give it its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self._unfinished, self._path)
        sync_path(self._path.parent)

    def discard(self) -> None:
        """Remove what was written so far; nothing happens after `keep`."""
        with suppress(OSError):  # a full disk refuses what is still to be written once more
            self.file.close()
        self._unfinished.unlink(missing_ok=True)

    def __enter__(self) -> IO[bytes]:
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.keep()
        finally:
            self.discard()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which is renamed to `folder` at the end of the block; an error leaves nothing of it. Raises OSError."""
    unfinished = aside(folder, PARTIAL)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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
    return _digested(path, hashlib.blake2b(digest_size=16))


_PART_BYTES = 4 << 20
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
    return _digested(path, hashlib.sha256())  # processors have instructions for it: three times as fast as BLAKE2 in Python


def _digested(path: Path, digest: Any) -> str:
    """digest: one of hashlib's."""
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_PART_BYTES):
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


_MOST_GROWTH = 200
"""Unpacked bytes for each packed one; our arrays take a few, and a file made to hurt a thousand."""
_ALWAYS_ALLOWED = 64 << 20


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file by name; nothing is unpickled.

    Raises FileNotFoundError, other OSErrors, and ValueError for whatever is wrong with the content.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            most = max(_ALWAYS_ALLOWED, _MOST_GROWTH * path.stat().st_size)
            if sum(member.file_size for member in members) > most:
                raise ValueError("it would unpack to far more than such a file holds")
            for member in members:
                _check_claim(archive, member)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile, zlib, numpy and the header's parser each raise their own on damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_claim(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Whether an array is as large as its header says: numpy would allocate first and notice later."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array {member.filename} is of an unknown version {version}")
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
        claimed = math.prod(shape) * dtype.itemsize + file.tell()
        if dtype.hasobject or min(shape, default=0) < 0 or claimed != member.file_size:
            raise ValueError(f"array {member.filename} claims {claimed} bytes and has {member.file_size}")


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `deinterlace: on` is the word "on", as a person means it."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML reads it from the class)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tTfF"))


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The settings in a file. what: "a preset", for messages. Raises InputError where it cannot be read, UsageError where it is none."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        raise InputError(f"{path}: cannot be read ({reason}); {what} is wanted") from error
    except RecursionError:
        raise UsageError(f"{path}: nested far too deep for {what}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: {what} holds settings by name, got {content!r}")
    return content
