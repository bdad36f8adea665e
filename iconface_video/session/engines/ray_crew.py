"""A crew of actors on a Ray cluster, whose machines need share nothing with this one."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from iconface_video.session.engines.inbox import Inbox
from iconface_video.session.engines.job import RestoreJob, WorkerSetup
from iconface_video.session.engines.messages import Died, Done, Message, Piece
from iconface_video.session.engines.ray_actor import SegmentActor
from iconface_video.session.fingerprint import hash_file

CHUNK_BYTES = 32 << 20
"""Of the input, on its way to a machine that does not see it."""
_LISTEN_SECONDS = 0.5
_LEAVE_SECONDS = 5.0


@dataclass(eq=False)
class _Worker:
    actor: Any
    number: int
    """Of this worker; its slot may have had others."""
    place: str = ""
    """Whose temporary files it shares (`SegmentActor.where`); empty: it has not started."""
    job: RestoreJob | None = None
    identity: str = ""
    """`hash_file` of the job's input."""
    inbox: Inbox | None = None


@dataclass(eq=False)
class _Copy:
    """The input on a machine that does not see it."""

    filler: int
    """Number of the worker that takes it in."""
    sent: int = 0
    path: Path | None = None
    """There, once it is whole."""
    waiting: list[int] = field(default_factory=list)
    """Numbers of the workers on that machine that need it, too."""


Answer = Callable[[str, Any], None]
"""(slot, result of a remote call)."""


class RayCrew:
    """All waiting is for one list of promises: each worker is always being listened to."""

    def __init__(
        self,
        setup: WorkerSetup,
        resources: Mapping[str, float],
        patience_seconds: float,
        kind: type[SegmentActor] = SegmentActor,
    ) -> None:
        """resources: "num_cpus" and "num_gpus" of each worker."""
        self.patience_seconds: float | None = patience_seconds
        self._setup = setup
        self._make = ray.remote(kind).options(**resources, max_concurrency=4, max_restarts=0, scheduling_strategy="SPREAD")
        self._run = uuid.uuid4().hex[:12]
        self._workers: dict[str, _Worker] = {}
        self._machines: dict[str, str] = {}
        """Slot -> where its worker is, or was."""
        self._count = 0
        self._promises: dict[Any, tuple[str, Answer]] = {}
        self._copies: dict[tuple[str, str], _Copy] = {}
        self._files: tuple[RestoreJob, Any] | None = None
        self._heard: list[tuple[str, Message]] = []

    # ---- Crew

    def start(self, slot: str) -> None:
        self._count += 1
        actor = self._make.remote(self._setup, self._run, f"{self._count}")
        self._workers[slot] = _Worker(actor, self._count)
        self._ask(slot, actor.where.remote(), self._located)

    def open(self, slot: str, job: RestoreJob) -> None:
        worker = self._workers[slot]
        worker.job, worker.identity = job, hash_file(job.input)
        self._forget_copies_but(worker.identity)
        self._ask(slot, worker.actor.sees.remote(job.input.absolute(), worker.identity), self._looked)

    def restore(self, slot: str, index: int) -> None:
        self._ask(slot, self._workers[slot].actor.restore.remote(index), _nothing)

    def hear(self, timeout: float) -> list[tuple[str, Message]]:
        if self._promises:
            kept, _ = ray.wait(list(self._promises), timeout=timeout)
            if kept:
                kept, _ = ray.wait(list(self._promises), num_returns=len(self._promises), timeout=0)
            for promise in kept:
                self._answer(promise)
        heard, self._heard = self._heard, []
        return heard

    def describe(self, slot: str) -> str:
        return f"{slot} on {self._machines[slot]}" if slot in self._machines else slot

    def dismiss(self, slot: str) -> None:
        worker = self._workers.pop(slot, None)
        if worker is None:
            return
        self._promises = {promise: asked for promise, asked in self._promises.items() if asked[0] != slot}
        if worker.inbox is not None:
            worker.inbox.discard()
        with contextlib.suppress(RayError):
            ray.kill(worker.actor)
        for key, copy in list(self._copies.items()):
            if copy.filler == worker.number and copy.path is None:
                del self._copies[key]  # the next one begins again
                for other in self._slots_of(copy.waiting):
                    self._looked(other, False)

    def close(self) -> None:
        leaving = [worker.actor.leave.remote() for worker in {w.place: w for w in self._workers.values() if w.place}.values()]
        if leaving:
            with contextlib.suppress(RayError):
                ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_SECONDS)
        for slot in list(self._workers):
            self.dismiss(slot)

    # ---- promises

    def _ask(self, slot: str, promise: Any, answer: Answer) -> None:
        self._promises[promise] = slot, answer

    def _answer(self, promise: Any) -> None:
        if promise not in self._promises:
            return  # of a worker that died a moment ago
        slot, answer = self._promises.pop(promise)
        try:
            result = ray.get(promise)
        except RayError as error:
            return self._died(slot, _reason(error))
        answer(slot, result)

    def _died(self, slot: str, reason: str) -> None:
        self._heard.append((slot, Died(reason)))
        self.dismiss(slot)

    def _located(self, slot: str, where: tuple[str, str]) -> None:
        self._machines[slot], self._workers[slot].place = where
        self._listen(slot)

    def _listen(self, slot: str) -> None:
        self._ask(slot, self._workers[slot].actor.hear.remote(_LISTEN_SECONDS), self._said)

    def _said(self, slot: str, messages: list[Message]) -> None:
        """Pieces of files stay here, all else is passed on."""
        worker = self._workers[slot]
        for message in messages:
            if isinstance(message, Piece):
                assert worker.inbox is not None
                worker.inbox.add(message)
                continue
            if isinstance(message, Done):
                assert worker.inbox is not None
                if not worker.inbox.finish(message):
                    return self._died(slot, "a restored segment was damaged on its way")
            self._heard.append((slot, message))
        self._listen(slot)

    # ---- the input's way to the worker

    def _looked(self, slot: str, sees: bool) -> None:
        worker = self._workers[slot]
        job = worker.job
        assert job is not None
        if sees:
            return self._send_open(slot, job.input.absolute())
        key = worker.place, worker.identity
        copy = self._copies.setdefault(key, _Copy(worker.number))
        if copy.path is not None:
            self._send_open(slot, copy.path)
        elif copy.filler != worker.number:
            copy.waiting.append(worker.number)
        else:
            size = job.input.stat().st_size
            self._ask(slot, worker.actor.room_for.remote(size), self._measured)

    def _slots_of(self, numbers: list[int]) -> list[str]:
        """Those workers that are still there."""
        return [slot for slot, worker in self._workers.items() if worker.number in numbers]

    def _measured(self, slot: str, has_room: bool) -> None:
        if not has_room:
            return self._died(slot, "its disk for temporary files is too full for a copy of the video")
        self._send_chunk(slot)

    def _send_chunk(self, slot: str, at: Path | None = None) -> None:
        """at: where the whole copy stands, once the last chunk was taken."""
        worker = self._workers[slot]
        job = worker.job
        assert job is not None
        copy = self._copies[worker.place, worker.identity]
        if at is not None:
            copy.path = at
            for other in (slot, *self._slots_of(copy.waiting)):
                self._send_open(other, at)
            return
        with open(job.input, "rb") as file:
            file.seek(copy.sent)
            data = file.read(CHUNK_BYTES)
        copy.sent += len(data)
        is_last = copy.sent >= job.input.stat().st_size or not data
        self._ask(slot, worker.actor.take.remote(job.input.name, data, is_last), self._send_chunk)

    def _forget_copies_but(self, identity: str) -> None:
        """Those of earlier clips would pile up."""
        for key, copy in list(self._copies.items()):
            if key[1] != identity:
                del self._copies[key]
                there = next((worker for worker in self._workers.values() if worker.place == key[0]), None)
                if copy.path is not None and there is not None:
                    there.actor.forget.remote(copy.path)

    def _send_open(self, slot: str, input: Path) -> None:
        worker = self._workers[slot]
        job = worker.job
        assert job is not None
        worker.inbox = Inbox(job.crops)
        self._ask(slot, worker.actor.open.remote(job, input, self._bundle(job)), _nothing)

    def _bundle(self, job: RestoreJob) -> Any:
        """Survey and anchors, once in the object store for all workers."""
        if self._files is None or self._files[0] != job:
            found = {
                f"{room}/{path.name}": path.read_bytes()
                for room, folder in (("survey", job.survey), ("anchors", job.anchors))
                for path in sorted(folder.iterdir())
                if path.is_file()
            }
            self._files = job, ray.put(found)
        return self._files[1]


def _nothing(slot: str, result: Any) -> None:
    """An acknowledgement."""


def _reason(error: RayError) -> str:
    """One line for people."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"
