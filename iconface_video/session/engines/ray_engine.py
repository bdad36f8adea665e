"""The engine of a Ray cluster: actors that keep the model, on the GPUs (or CPUs) of any number of machines, which need to share
no files with this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from iconface_video.errors import IconFaceError, InputError, OutputError, UsageError
from iconface_video.files import PART, checksum, hash_file, sync_path
from iconface_video.restore.crop_store import segment_paths
from iconface_video.restore.model import ModelFacts
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.engines.job import Check, RestoreJob, SegmentWorker, WorkerFailure, WorkerSetup
from iconface_video.session.engines.pool import Pool, State, Worker

PATIENCE_SECONDS = 300.0
"""For a first worker: a cluster that grows on demand needs minutes for a new machine."""
CHUNK_BYTES = 32 << 20
"""Of the input, on its way to a machine that does not see it."""
PART_BYTES = 16 << 20
"""Of a finished segment, on its way back."""
_FACES_SECONDS = 0.2
_LEAVE_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_PREFIX = "iconface-video-ray-"
_FORGOTTEN_SECONDS = 24 * 3600.0
"""Folders of runs that nobody touched for so long were left by a driver that was killed."""


class SegmentActor:
    """A worker on some machine of the cluster, with a folder of its own there. Others call its methods, several at a time."""

    def __init__(self, setup: WorkerSetup, run: str) -> None:
        """run: name of the driver's run."""
        self._shared = Path(tempfile.gettempdir()) / f"{_PREFIX}{run}"
        self._input, self._crops = self._shared / "input", self._shared / uuid.uuid4().hex
        self._crops.mkdir(parents=True)
        for folder in self._shared.parent.glob(_PREFIX + "*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _FORGOTTEN_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        self._worker, self._faces = SegmentWorker(setup), 0
        self._thread = ThreadPoolExecutor(1)  # torch counts its threads for each thread that uses it: let it be one

    def load(self) -> tuple[ModelFacts, str, str]:
        """Facts of the model, the machine's name, and what names its temporary files: workers that say the same share them."""
        mark = self._shared / "here"
        mark.mkdir(exist_ok=True)
        found = mark.stat()
        return self._thread.submit(self._worker.load).result(), socket.gethostname(), f"{found.st_ino}-{found.st_mtime_ns}"

    def sees(self, path: Path, identity: str) -> bool:
        """Whether the input lies at the same path here. identity: `hash_file` of it."""
        try:
            return hash_file(path) == identity
        except InputError:
            return False

    def take(self, name: str, data: bytes, whole_bytes: int | None) -> Path:
        """The next part of the input, for all workers of this machine; returns where it stands. whole_bytes: given with the
        first part, how large it will be."""
        if whole_bytes is not None:
            shutil.rmtree(self._input, ignore_errors=True)  # an earlier clip's
            if shutil.disk_usage(self._shared).free < whole_bytes + PART_BYTES:
                raise WorkerFailure("its disk for temporary files is too full for a copy of the video")
            self._input.mkdir()
        with open(self._input / name, "ab") as file:
            file.write(data)
        return self._input / name

    def restore(self, name: str, job: Sequence[Any], input: Path, index: int) -> tuple[SegmentDone, dict[str, str]]:
        """A segment into this machine's folder; with its files' names and checksums, which are to be fetched by `read`.

        name, job: a job's, and its pickle in the object store.  input: where the job's input lies here.
        """

        def read() -> RestoreJob:
            found: RestoreJob = pickle.loads(ray.get(job[0]))
            return replace(found, input=input, crops=self._crops)

        self._shared.touch()
        shutil.rmtree(self._crops)
        self._crops.mkdir()
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


# ---- in the driver


class RayEngine(Pool):
    """Connects to a cluster that exists; never starts one."""

    name = "ray"

    def __init__(
        self,
        setup: WorkerSetup,
        address: str | None = None,
        workers: int | None = None,
        check: Check = lambda: None,
        patience_seconds: float = PATIENCE_SECONDS,
        kind: type[SegmentActor] = SegmentActor,
    ) -> None:
        """address: None: that of RAY_ADDRESS, or the cluster that runs on this machine.  workers: None: as many as there
        are GPUs, or as the CPUs carry.  Raises UsageError."""
        self._connected = connect(address)
        try:
            fit = placement(ray.nodes(), setup.restore.device, workers, setup.threads)
            setup = replace(setup.on(fit.device), threads=fit.threads)
            # Ray starts an actor that died anew where there is room, and calls wait for that: without retries they would fail.
            again = {"max_restarts": -1, "max_task_retries": -1}
            actor = ray.remote(kind).options(**fit.resources, **again, max_concurrency=4, scheduling_strategy="SPREAD")
            make = partial(actor.remote, setup, uuid.uuid4().hex[:12])
            self._threads, self._copies = ThreadPoolExecutor(fit.workers), _Copies()
            self._actors = [_Actor(f"worker {k + 1}", make, self._threads, self._copies) for k in range(fit.workers)]
            super().__init__(self._actors, setup.versions(), check, patience_seconds)
        except BaseException:
            self._disconnect()
            raise

    @contextlib.contextmanager
    def share(self, job: RestoreJob) -> Iterator[_SharedJob]:
        """Once in the object store for all workers."""
        yield _SharedJob(uuid.uuid4().hex, job, [ray.put(pickle.dumps(job))])

    def end(self, workers: Sequence[Worker], state: State = State.STOPPED) -> None:
        """The last ones on a machine tidy up there."""
        staying = {actor.machine for actor in self._actors if actor not in workers}
        leaving = {actor.machine: actor for actor in self._actors if actor.machine not in {"", *staying}}
        self._copies.forget(leaving)
        promises = [actor.leave() for actor in leaving.values()]
        if promises:
            with contextlib.suppress(RayError):
                ray.wait(promises, num_returns=len(promises), timeout=_LEAVE_SECONDS)
        super().end(workers, state)

    def close(self) -> None:
        super().close()
        self._threads.shutdown(wait=False)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected:
            ray.shutdown()


@dataclass(frozen=True, eq=False)
class _SharedJob:
    name: str
    job: RestoreJob
    pickled: list[Any]
    """Its reference in the object store; in a list, as Ray would fetch it for each call otherwise."""


class _Actor(Worker):
    """A thread of this process calls the actor and waits."""

    def __init__(self, name: str, make: Callable[[], Any], threads: ThreadPoolExecutor, copies: _Copies) -> None:
        """make: an actor."""
        super().__init__(name)
        self._plain_name, self._make, self._threads, self._copies = name, make, threads, copies
        self._actor: Any = None
        self._input: tuple[str, Path] | None = None
        """A job's name, and where this worker reads its input."""
        self._faces = 0
        self.machine = ""
        """Names the temporary files that it shares; empty: it is not known to be alive."""

    def start(self) -> Future[ModelFacts]:
        if self._actor is None:
            self._actor = self._make()
        return self._threads.submit(self._load, self._actor)

    def restore(self, job: _SharedJob, index: int) -> Future[SegmentDone]:
        self._faces = 0
        return self._threads.submit(self._restore, self._actor, job, index)

    def faces(self) -> int:
        return self._faces

    def why(self, error: Exception) -> str:
        """Ray itself replaces an actor that died; one that failed is put to an end, and `start` makes another."""
        self.machine, self._input = "", None
        if not isinstance(error, RayActorError):
            self.kill()
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}" if isinstance(error, RayError) else str(error)

    def leave(self) -> Any:
        return _call(self._actor.leave)

    def kill(self) -> None:
        actor, self._actor, self._input, self.machine = self._actor, None, None, ""
        if actor is not None:
            with contextlib.suppress(RayError):
                ray.kill(actor)

    def join(self) -> None:
        """Its thread ends at the next call, which fails."""
        if self.task is not None:
            wait([self.task], _LEAVE_SECONDS)

    # ---- in the thread

    def _load(self, actor: Any) -> ModelFacts:
        facts, host, machine = _ask(actor.load)
        if actor is self._actor:  # it was not killed meanwhile
            self.name, self.machine = f"{self._plain_name} on {host}", machine
        return facts

    def _restore(self, actor: Any, job: _SharedJob, index: int) -> SegmentDone:
        if self._input is None or self._input[0] != job.name:
            self._input = job.name, self._copies.input_of(job.job, actor, self.machine)
        promise = _call(actor.restore, job.name, job.pickled, self._input[1], index)
        while not ray.wait([promise], timeout=_FACES_SECONDS)[0]:
            self._faces = _ask(actor.faces)
        done, sums = _result(promise)
        _fetch(actor, job.job.crops, sums)
        return done


class _Copies:
    """Of the input: one on each machine that does not see it."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        """By machine: its other workers wait while one of them takes the copy in."""
        self._known: dict[str, tuple[str, Path]] = {}
        """Machine -> hash of the input, and where it stands there."""

    def input_of(self, job: RestoreJob, actor: Any, machine: str) -> Path:
        """Where the actor's machine has it."""
        if _ask(actor.sees, job.input, job.identity):
            return job.input
        with self._locks.setdefault(machine, threading.Lock()), open(job.input, "rb") as file:
            known, path = self._known.pop(machine, ("", Path()))
            whole_bytes = None if known == job.identity else job.input.stat().st_size
            while known != job.identity and (data := file.read(CHUNK_BYTES)):
                path, whole_bytes = _ask(actor.take, job.input.name, data, whole_bytes), None
            self._known[machine] = job.identity, path
        return path

    def forget(self, machines: Iterable[str]) -> None:
        """Their temporary files are to be removed."""
        for machine in machines:
            self._known.pop(machine, None)


def _fetch(actor: Any, crops: Path, sums: Mapping[str, str]) -> None:
    """A finished segment's files into the crop store: written aside, checked, and only then given their names, the index last.

    sums: file name -> checksum.  Raises OutputError, WorkerFailure.
    """
    parts = {name: crops / (name + PART) for name in sums}
    try:
        for name, part in parts.items():
            with open(part, "wb") as file:
                while data := _ask(actor.read, name, file.tell()):
                    file.write(data)
            sync_path(part)
        if any(checksum(part) != sums[name] for name, part in parts.items()):
            raise WorkerFailure("a restored segment was damaged on its way")
        for name, part in parts.items():
            os.replace(part, crops / name)
        sync_path(crops)
    except OSError as error:
        raise OutputError(f"{crops}: cannot write the crop store ({error.strerror})") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _ask(method: Any, *arguments: Any) -> Any:
    return _result(_call(method, *arguments))


def _call(method: Any, *arguments: Any) -> Any:
    """The promise of a result. Not retried by Ray, which would wait for the actor to be replaced: others take the segment."""
    return method.options(max_task_retries=0).remote(*arguments)


def _result(promise: Any) -> Any:
    """Raises what the actor's method raised (IconFaceError, WorkerFailure), RayError where the actor is no more."""
    try:
        return ray.get(promise)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (IconFaceError, WorkerFailure)):
            raise cause from None
        raise WorkerFailure(f"{type(cause).__name__}: {cause}") from None


# ---- the cluster


@dataclass(frozen=True)
class Placement:
    """How many workers a cluster gets, and what each needs."""

    device: str
    workers: int
    threads: int
    resources: Mapping[str, float]


def placement(nodes: list[dict[str, Any]], device: str, workers: int | None, threads: int) -> Placement:
    """nodes: as `ray.nodes()` gives them.  threads: of each worker's model on a CPU; 0: as many as the local engine has here,
    on which the last bits depend.  Raises UsageError where the cluster lacks what the device asks for."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in alive))
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is '{device}': on a Ray cluster it is auto, cpu or cuda; which GPU is Ray's choice")
    if device == "cuda" and not gpus:
        raise UsageError("device is 'cuda', but the Ray cluster has no GPU: its nodes are started with --num-gpus")
    if gpus and device != "cpu":
        return Placement("cuda", workers or gpus, threads, {"num_cpus": 1, "num_gpus": 1})
    cpus = [int(node.get("CPU", 0)) for node in alive if node.get("CPU", 0) >= 1]
    if not cpus:
        raise UsageError("the Ray cluster has neither CPUs nor GPUs to work with: its nodes are started with --num-cpus")
    threads = threads or _own_threads()
    each = min(threads, *cpus)
    return Placement("cpu", workers or sum(count // each for count in cpus), threads, {"num_cpus": each})


def _own_threads() -> int:
    import torch

    return torch.get_num_threads()


def connect(address: str | None) -> bool:
    """Whether a connection was made; False where this process has one already. Raises UsageError.

    address: "host:port" of the head node, "ray://host:port" of its client server, or "auto".
    """
    if ray.is_initialized():
        return False
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if wanted != "auto":
            _check_port(wanted)
        ray.init(address=wanted, log_to_driver=False, logging_level="error", configure_logging=False)
    except Exception as error:  # OSError, ConnectionError, RuntimeError (versions), ValueError, ImportError (ray://) ...
        where = "on this machine" if wanted == "auto" else f"at {wanted}"
        raise UsageError(
            f"no Ray cluster answers {where} ({' '.join(str(error).split())[:200]}). Start one with `ray start --head`, "
            "or give its address with --ray-address or in RAY_ADDRESS."
        ) from error
    return True


def _check_port(address: str) -> None:
    """Ray tries a dead address for minutes. Raises OSError, ValueError."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError("an address is host:port, as `ray start --head` shows it")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
