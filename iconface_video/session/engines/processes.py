"""The engine of several processes on this machine, one for each device (or several for the CPU)."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from iconface_video.errors import OutputError
from iconface_video.restore.face_model import ModelFacts
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.engines.job import Check, RestoreJob, SegmentWorker, WorkerSetup
from iconface_video.session.engines.pool import Pool, Worker

_TOLD_WITHIN_SECONDS = 5.0


class WorkersEngine(Pool):
    """Processes that keep the model, over several clips if need be."""

    name = "workers"

    def __init__(self, setup: WorkerSetup, devices: Sequence[str], check: Check = lambda: None) -> None:
        """devices: one for each worker (`worker_devices`).  check: asked while waiting for the first worker."""
        setup = setup.hashed()
        workers = [_Process(name, setup.on(device)) for name, device in zip(worker_names(devices), devices)]
        super().__init__(workers, setup.versions(), check)

    @contextmanager
    def share(self, job: RestoreJob) -> Iterator[Path]:
        """The path of a temporary file."""
        try:
            folder = tempfile.TemporaryDirectory(prefix="iconface-video-job-")
            path = Path(folder.name, "job")
            path.write_bytes(pickle.dumps(job))
        except OSError as error:
            raise OutputError(f"{tempfile.gettempdir()}: no room for the workers' job there ({error.strerror})") from error
        with folder:
            yield path


def worker_names(devices: Sequence[str]) -> list[str]:
    """A name for each worker: its device, numbered where several share one."""
    numbers = [devices[: index + 1].count(device) for index, device in enumerate(devices)]
    return [f"{name} ({number})" if devices.count(name) > 1 else name for name, number in zip(devices, numbers)]


class _Process(Worker):
    """An executor of one process: each worker has a device of its own, and where one dies it is known over which segment."""

    def __init__(self, name: str, setup: WorkerSetup) -> None:
        super().__init__(name)
        self._setup = setup
        # Spawned, not forked: CUDA does not survive a fork, nor would the work folder's lock be let go.
        self._spawn = multiprocessing.get_context("spawn")
        self._faces = self._spawn.RawValue("q", 0)
        self._executor: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None

    def start(self) -> Future[ModelFacts]:
        self.kill()
        self.join()
        self._executor = ProcessPoolExecutor(1, self._spawn, _begin, (self._setup, self._faces))
        loading = self._executor.submit(_load)
        # Executors have `kill_workers` from Python 3.14 on; before, this is the only way to a call that must not go on.
        (self._process,) = (self._executor._processes or {}).values()
        return loading

    def restore(self, job: Path, index: int) -> Future[SegmentDone]:
        assert self._executor is not None, "a worker is started before it restores"
        self._faces.value = 0
        return self._executor.submit(_restore, job, index)

    def faces(self) -> int:
        return int(self._faces.value)

    def why(self, error: Exception) -> str:
        if not isinstance(error, BrokenProcessPool) or self._process is None:
            return str(error)
        code = _exit_code(self._process)
        if code is None:
            return "ended"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def join(self) -> None:
        if self._process is not None and self._executor is not None:
            self._process.join()
            self._executor.shutdown()
        self._process = self._executor = None


def _exit_code(process: BaseProcess) -> int | None:
    """Of a process that has ended. Where the executor's own thread took the code from the system, `join` returns without it, and it stands
    there a moment later."""
    process.join()
    end = time.monotonic() + _TOLD_WITHIN_SECONDS
    while process.exitcode is None and time.monotonic() < end:
        time.sleep(0.01)
    return process.exitcode


# ---- in the new process

_worker: tuple[SegmentWorker, Any] | None = None
"""With the shared count of faces. An executor's calls have no other place for what they keep from one to the next."""


def _begin(setup: WorkerSetup, faces: Any) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: to stop them is their parent's business
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to the other workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = SegmentWorker(setup), faces


def _load() -> ModelFacts:
    assert _worker is not None
    return _worker[0].load()


def _restore(job: Path, index: int) -> SegmentDone:
    assert _worker is not None
    worker, faces = _worker

    def on_faces(count: int) -> None:
        faces.value = count

    return worker.restore(str(job), lambda: pickle.loads(job.read_bytes()), index, on_faces)


def _end_with_parent() -> None:
    """An executor's process would wait for ever for the next call of a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
