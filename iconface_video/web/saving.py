"""A finished video into a folder of the user's own: whole or not at all, and beside whatever lies there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from iconface_video.errors import OutputError, UsageError
from iconface_video.files import PARTIAL, aside, sync_path
from iconface_video.web.jobs import Job

_BLOCK_BYTES = 4 << 20
_TOKEN_LENGTH = 8
_MOST_PATH = 4096

OnBytes = Callable[[int, int], None]
"""Gets (done, all) now and then, in bytes; may raise to stop."""


@dataclass(frozen=True)
class Saved:
    """What became of it."""

    path: str = ""
    """Of the video in the user's folder; empty: it was not saved there."""
    error: str = ""
    """Why not, as a sentence."""


def checked_folder(typed: str, projects: Path) -> str:
    """The folder as it is kept; empty for none. projects: the folder of all of them. Raises UsageError where nothing can be saved there."""
    if not typed.strip():
        return ""
    try:
        folder = Path(typed.strip()[:_MOST_PATH]).expanduser()
    except RuntimeError as error:  # a home that nobody knows
        raise UsageError(f"{typed.strip()[:80]}: {error}") from None
    if not folder.is_absolute():
        raise UsageError(f"{folder}: give the whole path, from the root on")
    try:
        found, own = folder.resolve(), projects.resolve()
        if not folder.exists():
            raise UsageError(f"{folder}: there is no such folder; make it first, or look for a slip")
        if not folder.is_dir():
            raise UsageError(f"{folder}: this is a file; name the folder that the video goes into")
        if found == own or own in found.parents:
            raise UsageError(
                f"{folder}: lies among the projects, where it would be deleted with one of them; name another folder"
            )
        with TemporaryFile(dir=folder):
            pass
    except UsageError:
        raise
    except (OSError, ValueError) as error:  # the second one: characters that no path has
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{folder}: nothing can be written there ({reason}); name another folder") from error
    return str(folder)


def saved_by(job: Job, folder: str, video: Path, owner: str) -> Saved:
    """`save_into` as a step of a job, whose work is not lost where it cannot be done. Raises Cancelled."""
    if not folder:
        return Saved()
    try:
        return Saved(str(save_into(Path(folder), video, owner, job.step_in_bytes)))
    except OutputError as error:
        return Saved(error=str(error))


def save_into(folder: Path, video: Path, owner: str, on_bytes: OnBytes) -> Path:
    """A copy of the video in the folder, under its own name, or with a number where that is taken; nothing that lies there is touched.

    owner: of the copy, 8 hexadecimal digits at least: what its killed writer has left is written over. Raises OutputError where it
    cannot be written, and what `on_bytes` raises; then nothing of it is left.
    """
    size = video.stat().st_size
    part = aside(folder / video.name, PARTIAL, owner[:_TOKEN_LENGTH])
    try:
        if not folder.is_dir():
            raise OutputError(f"{folder}: this folder is not there any more; put it back, or name another one")
        part.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
        if free < size:
            raise OutputError(
                f"{folder}: has room for {free:,} bytes, and the video takes {size:,}; free some, or name another folder"
            )
        _copy(video, part, size, on_bytes)
        return _named(part, folder / video.name)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{folder}: the video cannot be written there ({error.strerror or error}); name another folder"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(video: Path, part: Path, size: int, on_bytes: OnBytes) -> None:
    done = 0
    with open(video, "rb") as source, open(part, "xb") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
            done += len(block)
            on_bytes(done, size)
        target.flush()
        os.fsync(target.fileno())


def _named(part: Path, wanted: Path) -> Path:
    """The first name that is free. A link refuses one that is taken, also where that happens in this very moment."""
    for path in _names(wanted):
        try:
            os.link(part, path)
        except FileExistsError:
            continue
        except OSError:  # file systems of sticks and cards know no links
            if os.path.lexists(path):
                continue
            os.rename(part, path)
        sync_path(path.parent)
        return path
    raise AssertionError("numbers have no end")


def _names(wanted: Path) -> Iterator[Path]:
    yield wanted
    for number in count(2):
        yield wanted.with_name(f"{wanted.stem}.{number}{wanted.suffix}")
