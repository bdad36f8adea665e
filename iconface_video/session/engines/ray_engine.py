"""The engine of a Ray cluster: actors that keep the model, on the GPUs (or CPUs) of any number of machines, which need to share
no files with this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from iconface_video.errors import IconFaceError, OutputError, UsageError
from iconface_video.files import PART, checksum, sync_path
from iconface_video.restore.face_model import ModelFacts
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.engines.job import Check, RestoreJob, WorkerFailure, WorkerSetup
from iconface_video.session.engines.pool import MOST_DEATHS_IN_A_ROW, Pool, Worker
from iconface_video.session.engines.ray_actor import SegmentActor

PATIENCE_SECONDS = 300.0
"""For a first worker: a cluster that grows on demand needs minutes for a new machine."""
CHUNK_BYTES = 32 << 20
"""Of the input, on its way to a machine that does not see it."""
_FACES_SECONDS = 0.2
_LEAVE_SECONDS = 5.0
_CONNECT_SECONDS = 10.0


_Shared = tuple[RestoreJob, list[Any]]
"""With the reference of its pickle in the object store; in a list, or Ray would fetch it for each call."""

_Locks = defaultdict[str, threading.Lock]
"""By machine: its other workers wait while one of them takes a copy of the input."""


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
            setup, count, resources = placement(ray.nodes(), setup, workers)
            # Ray starts an actor that died anew, wherever there is room; `load` is retried, so it waits for that.
            again = {"max_restarts": MOST_DEATHS_IN_A_ROW - 1, "max_task_retries": -1}
            actor = ray.remote(kind).options(**resources, **again, max_concurrency=4, scheduling_strategy="SPREAD")
            make = partial(actor.remote, setup, uuid.uuid4().hex[:12])
            self._threads = ThreadPoolExecutor(count)
            locks: _Locks = defaultdict(threading.Lock)
            self._actors = [_Actor(f"worker {number}", make, self._threads, locks) for number in range(1, count + 1)]
            super().__init__(self._actors, setup.versions(), check, patience_seconds)
        except BaseException:
            self._disconnect()
            raise

    @contextlib.contextmanager
    def share(self, job: RestoreJob) -> Iterator[_Shared]:
        """Once in the object store for all workers."""
        yield job, [ray.put(pickle.dumps(job))]

    def end(self, workers: Sequence[Worker]) -> None:
        """The last one on a machine tidies up there, and nobody comes up behind it: those that still load are ended first."""
        loading = [actor for actor in self._actors if actor in workers and not actor.machine]
        super().end(loading)
        workers = [worker for worker in workers if worker not in loading]
        staying = {actor.machine for actor in self._actors if actor not in workers}
        leaving = {actor.machine: actor for actor in self._actors if actor.machine not in {"", *staying}}
        promises = [actor.leave() for actor in leaving.values()]
        if promises:
            with contextlib.suppress(RayError):
                ray.wait(promises, num_returns=len(promises), timeout=_LEAVE_SECONDS)
        super().end(workers)

    def close(self) -> None:
        super().close()
        self._threads.shutdown(wait=False)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected:
            ray.shutdown()


class _Actor(Worker):
    """A thread of this process calls the actor and waits."""

    def __init__(self, name: str, make: Callable[[], Any], threads: ThreadPoolExecutor, locks: _Locks) -> None:
        """make: an actor."""
        super().__init__(name)
        self._plain_name, self._make, self._threads, self._locks = name, make, threads, locks
        self._actor: Any = None
        self._faces = 0
        self._known: tuple[str, Path] | None = None
        """A job's name, and where this worker finds its input."""
        self.machine = ""
        """Names the temporary files that it shares; empty: it is not known to be alive."""

    def start(self) -> Future[ModelFacts]:
        if self._actor is None:
            self._actor = self._make()
        return self._threads.submit(self._load, self._actor)

    def restore(self, job: _Shared, index: int) -> Future[SegmentDone]:
        self._faces = 0
        return self._threads.submit(self._restore, self._actor, job, index)

    def faces(self) -> int:
        return self._faces

    def why(self, error: Exception) -> str:
        """Ray itself starts an actor anew that it calls unavailable; in place of any other, `start` makes one."""
        self.machine = ""
        if not isinstance(error, ActorUnavailableError):
            self.kill()
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}" if isinstance(error, RayError) else str(error)

    def leave(self) -> Any:
        return _call(self._actor.leave)

    def kill(self) -> None:
        actor, self._actor, self.machine = self._actor, None, ""
        if actor is not None:
            with contextlib.suppress(RayError):
                ray.kill(actor)

    def join(self) -> None:
        """Its thread ends at the next call, which fails."""
        if self.task is not None:
            wait([self.task], _LEAVE_SECONDS)

    # ---- in the thread

    def _load(self, actor: Any) -> ModelFacts:
        self._known = None
        facts, host, machine = _result(actor.load.remote())
        if actor is self._actor:  # it was not killed meanwhile
            self.name, self.machine = f"{self._plain_name} on {host}", machine
        return facts

    def _restore(self, actor: Any, shared: _Shared, index: int) -> SegmentDone:
        job, pickled = shared
        if self._known is None or self._known[0] != job.name:
            self._known = job.name, self._send(actor, job)
        promise = _call(actor.restore, job.name, pickled, self._known[1], index)
        while not ray.wait([promise], timeout=_FACES_SECONDS)[0]:
            self._faces = _ask(actor.faces)
        done, sums = _result(promise)
        _fetch(actor, job.crops, sums)
        return done

    def _send(self, actor: Any, job: RestoreJob) -> Path:
        """Where the actor finds the job's input; a machine that does not see it gets a copy."""
        with self._locks[self.machine], open(job.input, "rb") as file:
            path: Path | None = _ask(actor.find, job.input, job.identity)
            size = job.input.stat().st_size
            while path is None:
                start = file.tell()
                path = _ask(actor.take, job.input, job.identity, file.read(CHUNK_BYTES), start, size)
        return path


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
    """The promise of a result. Not retried by Ray: an actor that is started anew knows nothing, and others take the segment."""
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


def placement(nodes: list[dict[str, Any]], setup: WorkerSetup, workers: int | None) -> tuple[WorkerSetup, int, dict[str, int]]:
    """What a worker loads, how many there are, and what Ray has to have for each.

    nodes: as `ray.nodes()` gives them.  setup: on a CPU, 0 threads become as many as the local engine has here, on which the
    last bits depend.  Raises UsageError where the cluster lacks what the device asks for.
    """
    device = setup.restore.device
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in alive))
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is '{device}': on a Ray cluster it is auto, cpu or cuda; which GPU is Ray's choice")
    if device == "cuda" and not gpus:
        raise UsageError("device is 'cuda', but the Ray cluster has no GPU: its nodes are started with --num-gpus")
    if gpus and device != "cpu":
        return setup.on("cuda"), workers or gpus, {"num_cpus": 1, "num_gpus": 1}
    cpus = [int(node.get("CPU", 0)) for node in alive if node.get("CPU", 0) >= 1]
    if not cpus:
        raise UsageError("the Ray cluster has neither CPUs nor GPUs to work with: its nodes are started with --num-cpus")
    import torch

    threads = setup.threads or torch.get_num_threads()
    each = min(threads, *cpus)
    return replace(setup.on("cpu"), threads=threads), workers or sum(count // each for count in cpus), {"num_cpus": each}


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
