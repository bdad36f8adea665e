"""A worker on some machine of a Ray cluster, which shares no files with the driver's: what it is given and gives back goes through
calls of its methods."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from iconface_video.errors import InputError
from iconface_video.files import PART, checksum, hash_file
from iconface_video.restore.crop_store import segment_paths
from iconface_video.restore.face_model import ModelFacts
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.engines.job import RestoreJob, SegmentWorker, WorkerFailure, WorkerSetup

PART_BYTES = 16 << 20
"""Of a finished segment, on its way back."""
_PREFIX = "iconface-video-ray-"
_COPY = "input-"
_FORGOTTEN_SECONDS = 24 * 3600.0
"""Folders of runs that nobody touched for so long were left by a driver that was killed."""


class SegmentActor:
    """A worker on some machine of the cluster, with a folder of its own there. Others call its methods, several at a time."""

    def __init__(self, setup: WorkerSetup, run: str) -> None:
        """run: name of the driver's run."""
        self._shared = Path(tempfile.gettempdir()) / f"{_PREFIX}{run}"
        self._crops = self._shared / uuid.uuid4().hex
        for folder in self._shared.parent.glob(_PREFIX + "*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _FORGOTTEN_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        self._worker, self._faces = SegmentWorker(setup), 0
        self._thread = ThreadPoolExecutor(1)  # torch counts its threads for each thread that uses it: let it be one

    def load(self) -> tuple[ModelFacts, str, str]:
        """Facts of the model, the machine's name, and what names its temporary files: workers that say the same share them.

        Nothing is put on the disk before the model is there: a worker that is killed while it loads cannot tidy up.
        """
        facts = self._thread.submit(self._worker.load).result()
        mark = self._shared / "here"
        mark.mkdir(parents=True, exist_ok=True)
        found = mark.stat()
        return facts, socket.gethostname(), f"{found.st_ino}-{found.st_mtime_ns}"

    def find(self, input: Path, identity: str) -> Path | None:
        """Where the input lies on this machine: at the same path as in the driver's, or a copy that was taken. identity: its
        `hash_file`."""
        copy = self._copy_of(input, identity)
        return copy if copy.exists() else input if self.sees(input, identity) else None

    def sees(self, input: Path, identity: str) -> bool:
        try:
            return hash_file(input) == identity
        except InputError:
            return False

    def take(self, input: Path, identity: str, data: bytes, start: int, size: int) -> Path | None:
        """A part of the input, from byte `start` on of `size`; gives the copy's path where this is the last one."""
        copy = self._copy_of(input, identity)
        part = copy.with_name(copy.name + PART)
        if start == 0:
            for earlier in self._shared.glob(f"{_COPY}*"):
                shutil.rmtree(earlier, ignore_errors=True)
            copy.parent.mkdir()
            if shutil.disk_usage(self._shared).free < size + PART_BYTES:
                raise WorkerFailure("its disk for temporary files is too full for a copy of the video")
        with open(part, "ab") as file:
            file.write(data)
        return part.rename(copy) if start + len(data) >= size else None

    def _copy_of(self, input: Path, identity: str) -> Path:
        return self._shared / f"{_COPY}{identity.rpartition(':')[2]}" / input.name

    def restore(self, name: str, job: Sequence[Any], input: Path, index: int) -> tuple[SegmentDone, dict[str, str]]:
        """A segment into this machine's folder; with its files' names and checksums, which are to be fetched by `read`.

        name, job: a job's, and its pickle in the object store.  input: where the job's input lies here.
        """

        def read() -> RestoreJob:
            found: RestoreJob = pickle.loads(ray.get(job[0]))
            return replace(found, input=input, crops=self._crops)

        shutil.rmtree(self._crops, ignore_errors=True)
        self._crops.mkdir(parents=True)
        self._shared.touch()
        self._count(0)
        done = self._thread.submit(self._worker.restore, name, read, index, self._count).result()
        return done, {path.name: checksum(path) for path in segment_paths(self._crops, index)}

    def _count(self, faces: int) -> None:
        self._faces = faces

    def faces(self) -> int:
        """Done in the segment at work."""
        return self._faces

    def read(self, name: str, start: int) -> bytes:
        """A part of a finished segment's file; empty at its end."""
        with open(self._crops / name, "rb") as file:
            file.seek(start)
            return file.read(PART_BYTES)

    def leave(self) -> None:
        """Remove all that this run has put on this machine."""
        shutil.rmtree(self._shared, ignore_errors=True)
