"""A worker on a Ray cluster. It knows nothing of Ray but that others call its methods, several at a time."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from iconface_video.errors import InputError
from iconface_video.files import checksum
from iconface_video.restore.crop_store import segment_paths
from iconface_video.session.engines.job import RestoreJob, WorkerSetup
from iconface_video.session.engines.messages import Command, Done, Message, Open, Piece, Restore
from iconface_video.session.engines.worker import serve
from iconface_video.session.fingerprint import hash_file

PIECE_BYTES = 16 << 20
_WAITING_MESSAGES = 32
_PREFIX = "iconface-video-ray-"
_FORGOTTEN_SECONDS = 24 * 3600.0
"""Folders of runs that nobody touched for so long were left by a driver that was killed."""


class SegmentActor:
    """Restores in a thread of its own, into a folder of its own; finished segments go out in pieces through `hear`."""

    def __init__(self, setup: WorkerSetup, run: str, slot: str) -> None:
        """run: name of the driver's run, slot: of this worker within it."""
        _sweep()
        self._shared = Path(tempfile.gettempdir()) / f"{_PREFIX}{run}"
        self._folder = self._shared / f"{slot}-{time.monotonic_ns()}"
        self._folder.mkdir(parents=True)
        self._job: RestoreJob | None = None
        self._commands: queue.Queue[Command] = queue.Queue()
        self._said: queue.Queue[Message] = queue.Queue(_WAITING_MESSAGES)
        threading.Thread(target=serve, args=(setup, self._commands.get, self._said.put, self._deliver), daemon=True).start()

    def where(self) -> tuple[str, str]:
        """The machine's name, and what names its temporary files: workers that say the same share them."""
        mark = self._shared / "here"
        mark.mkdir(exist_ok=True)
        facts = mark.stat()
        return socket.gethostname(), f"{facts.st_ino}-{facts.st_mtime_ns}"

    def hear(self, seconds: float) -> list[Message]:
        """What there is to say: waits at most so long for a first message; at most one piece of a file at a time."""
        said: list[Message] = []
        with contextlib.suppress(queue.Empty):
            said.append(self._said.get(timeout=seconds))
            while not isinstance(said[-1], Piece):
                said.append(self._said.get_nowait())
        return said

    # ---- the clip

    def sees(self, path: Path, identity: str) -> bool:
        """Whether the input lies at the same path here. identity: `hash_file` of it."""
        try:
            return hash_file(path) == identity
        except InputError:
            return False

    def room_for(self, size: int) -> bool:
        """Whether a copy of the input fits on this machine's disk for temporary files."""
        return shutil.disk_usage(self._shared).free > size + PIECE_BYTES

    def take(self, name: str, data: bytes, is_last: bool) -> Path | None:
        """The next part of the input; gives back the whole copy's path. All workers of this machine can use it."""
        part = self._folder / (name + ".part")
        with open(part, "ab") as file:
            file.write(data)
        return part.rename(self._folder / name) if is_last else None

    def forget(self, path: Path) -> None:
        """A copy of an input that is not needed any more."""
        path.unlink(missing_ok=True)

    def open(self, job: RestoreJob, input: Path, files: Mapping[str, bytes]) -> None:
        """input: where it lies here.  files: "survey/..." and "anchors/..." with their content."""
        folder = self._folder / "work"
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self._job = replace(job, input=input, survey=folder / "survey", anchors=folder / "anchors", crops=folder / "crops")
        self._commands.put(Open(self._job))

    def restore(self, index: int) -> None:
        self._shared.touch()
        self._commands.put(Restore(index))

    def _deliver(self, done: Done) -> Done:
        """Called in the working thread: the segment's files go out, then they are removed."""
        assert self._job is not None
        sums = {}
        for path in segment_paths(self._job.crops, done.segment.index):
            sums[path.name] = checksum(path)
            for data in _pieces(path):
                self._said.put(Piece(path.name, data))
            path.unlink()
        return replace(done, checksums=sums)

    def leave(self) -> None:
        """Remove all that this run has put on this machine."""
        shutil.rmtree(self._shared, ignore_errors=True)


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while data := file.read(PIECE_BYTES):
            yield data


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _FORGOTTEN_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
