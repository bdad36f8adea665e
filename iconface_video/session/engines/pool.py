"""Workers that share a clip's segments: whoever is free takes the next one, what a dead worker leaves another one does.

Knows nothing of processes or machines: those are behind `Worker`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import Any

from iconface_video.errors import IconFaceError, WorkerError
from iconface_video.restore.face_model import ModelFacts
from iconface_video.restore.timeline import OnSegment, SegmentDone, TimelineCounts
from iconface_video.session.engines.job import Check, Report, RestoreJob, RestoreWork
from iconface_video.types import Progress

POLL_SECONDS = 0.05
"""So long at most until a wish to stop is noticed; so often progress is told."""
MOST_DEATHS_IN_A_ROW = 3
"""A worker that dies so often, with no segment finished in between, is not replaced any more."""
MOST_RETRIES = 2
"""Of one segment: what kills three workers would kill all of them."""


class State(Enum):
    """Of a worker."""

    STOPPED = auto()
    STARTING = auto()
    """It loads the model."""
    READY = auto()
    AT_WORK = auto()
    GIVEN_UP = auto()


class Worker(ABC):
    """A worker and, after its death, the one in its place. Has one thing to do at a time."""

    def __init__(self, name: str) -> None:
        """name: for people: "cuda:1", "worker 3 on node-7"."""
        self.name = name
        self.state = State.STOPPED
        self.task: Future[Any] | None = None
        """What it is doing: `start` or `restore`."""
        self.segment: int | None = None
        """At work."""
        self.deaths = 0
        """Since the last finished segment."""
        self.last_reason = ""
        """Why it died last, or why it was given up."""

    @abstractmethod
    def start(self) -> Future[ModelFacts]:
        """Load the model; also in place of one that died or failed."""

    @abstractmethod
    def restore(self, job: Any, index: int) -> Future[SegmentDone]:
        """A segment into the crop store. job: as `Pool.share` gives it.  Raises BrokenExecutor where it is dead already."""

    @abstractmethod
    def faces(self) -> int:
        """Done in the segment at work."""

    @abstractmethod
    def why(self, error: Exception) -> str:
        """For people: what the error of a task, no refusal, says of the worker's death."""

    @abstractmethod
    def kill(self) -> None:
        """Have it end, whatever it does; returns at once."""

    @abstractmethod
    def join(self) -> None:
        """Wait until it has ended."""

    def rest(self, state: State) -> None:
        """Nothing is to be done any more."""
        self.state, self.task, self.segment = state, None, None


class Pool(ABC):
    """An engine of several workers, which keep the model over several clips."""

    name: str

    def __init__(
        self,
        workers: Sequence[Worker],
        versions: Mapping[str, str],
        check: Check = lambda: None,
        patience_seconds: float | None = None,
    ) -> None:
        """versions: that a worker has to have (`WorkerSetup.versions`).  check: asked while waiting for the first worker.
        patience_seconds: how long to wait while no worker at all is ready; None: for ever, its death would be noticed."""
        self.workers = tuple(workers)
        self.notes: set[str] = set()
        """What happened to workers, for the report."""
        self._versions = versions
        self._check = check
        self._patience_seconds = patience_seconds
        self._facts: ModelFacts | None = None
        self.start_stopped()

    @abstractmethod
    def share(self, job: RestoreJob) -> AbstractContextManager[Any]:
        """What workers get for the job, as it is too large to be sent for each segment. Raises OutputError."""

    @property
    def model(self) -> ModelFacts:
        """Waits for a first worker."""
        begun = time.monotonic()
        self.start_stopped()
        while self._facts is None:
            self._check()
            for _ in self.poll():
                pass
            self.check_alive(begun)
        return self._facts

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        with self.share(RestoreJob.of(work)) as job:
            try:
                counts = _ClipRun(self, work, job, on_segment, report).go(check)
            except BaseException:
                self.end([worker for worker in self.workers if worker.state is State.AT_WORK])
                raise
        counts.notes |= self.notes
        return counts

    def close(self) -> None:
        self.end(self.workers)

    def start_stopped(self) -> None:
        for worker in self.workers:
            if worker.state is State.STOPPED:
                worker.state, worker.task = State.STARTING, worker.start()

    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.state is not State.GIVEN_UP]

    def end(self, workers: Sequence[Worker]) -> None:
        """All at once, then each is waited for. The next clip starts them again."""
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
            if worker.state is not State.GIVEN_UP:
                worker.rest(State.STOPPED)

    def poll(self) -> Iterator[tuple[Worker, int, SegmentDone | str]]:
        """What came of segments at work, (worker, segment, result or why its worker died); waits a moment for the first.

        Workers that died are replaced. Raises what a worker refuses (IconFaceError).
        """
        tasks = {worker.task: worker for worker in self.workers if worker.task is not None}
        for task in wait(tasks, POLL_SECONDS, FIRST_COMPLETED).done:
            worker = tasks[task]
            index, was_starting = worker.segment, worker.state is State.STARTING
            worker.rest(State.READY)
            try:
                result = task.result()
            except IconFaceError:
                if was_starting:
                    self.end([worker])
                raise
            except Exception as error:
                result = worker.why(error)
                self.replace(worker, result)
            if isinstance(result, ModelFacts):
                self._compare(worker, result)
            elif index is not None:
                yield worker, index, result

    def check_alive(self, waiting_since: float) -> None:
        """Raises WorkerError when there is nobody left, or nobody came since that moment (monotonic seconds)."""
        living = self.living()
        reasons = "; ".join(sorted({worker.last_reason for worker in self.workers if worker.last_reason}))
        if not living:
            raise WorkerError(f"there is no worker left to restore with: {reasons}")
        patience = self._patience_seconds
        if patience is None or time.monotonic() - waiting_since < patience:
            return
        if all(worker.state is State.STARTING for worker in living):
            because = f" Last failures: {reasons}." if reasons else ""
            raise WorkerError(
                f"no worker was ready within {patience:g} s: the machines asked for are not there, or busy.{because}"
            )

    def replace(self, worker: Worker, reason: str) -> None:
        """It is no more: another one starts in its place, unless they die like flies there."""
        worker.deaths += 1
        worker.last_reason = reason
        if worker.deaths >= MOST_DEATHS_IN_A_ROW:
            self._give_up(worker, f"its workers died {worker.deaths} times in a row: {reason}")
        else:
            worker.state, worker.task = State.STARTING, worker.start()

    def _give_up(self, worker: Worker, reason: str) -> None:
        worker.last_reason = f"{worker.name}: {reason}"
        self.notes.add(f"{worker.name} is not used: {reason}")
        self.end([worker])
        worker.state = State.GIVEN_UP

    def _compare(self, worker: Worker, facts: ModelFacts) -> None:
        """All workers have to give the same bits: one that would not is not used."""
        first = self._facts or facts
        processors = first.identity.get("processor"), facts.identity.get("processor")
        wanted = {**self._versions, **{name: value for name, value in first.identity.items() if name != "processor"}}
        found = {**facts.identity, **facts.versions}
        unlike = [f"{name} {found.get(name)} instead of {value}" for name, value in wanted.items() if found.get(name) != value]
        if unlike:
            return self._give_up(worker, f"it has {', '.join(unlike)}, its faces would differ")
        self._facts = first
        if processors[0] != processors[1]:
            self.notes.add(
                f"the workers' processors differ ({', '.join(map(str, processors))}): so may the last bits of their faces"
            )


class _ClipRun:
    """One clip through the pool."""

    def __init__(self, pool: Pool, work: RestoreWork, job: Any, on_segment: OnSegment, report: Report) -> None:
        """job: as `Pool.share` gives it."""
        self._pool, self._work, self._job = pool, work, job
        self._on_segment, self._report = on_segment, report
        self._left = len(work.segments)
        self._waiting = deque(segment.index for segment in work.segments)
        self._losses: dict[int, list[tuple[Worker, str]]] = defaultdict(list)
        """Segment -> whose workers died over it, and why."""
        self._total, self._shown = work.faces, -1
        self._counts = TimelineCounts()

    def go(self, check: Check) -> TimelineCounts:
        self._pool.start_stopped()
        nobody_since = time.monotonic()
        while self._left:
            check()
            self._tell()
            self._hand_out()
            for worker, index, result in self._pool.poll():
                if isinstance(result, str):
                    self._lose(worker, index, result)
                else:
                    self._finish(worker, result)
            if any(worker.state is not State.STARTING for worker in self._pool.living()):
                nobody_since = time.monotonic()
            self._pool.check_alive(nobody_since)
        if self._shown < self._total:  # faces whose frames could not be decoded, too
            self._report(Progress("restore", self._total, self._total, unit="faces"))
        return self._counts

    def _hand_out(self) -> None:
        """A segment for each worker that is free. One that was lost goes first, to another worker as long as any is alive."""
        living = self._pool.living()
        for worker in living:
            for index in tuple(self._waiting) if worker.state is State.READY else ():
                lost_on = {loser for loser, _ in self._losses[index]}
                if worker not in lost_on or lost_on.issuperset(living):
                    self._begin(worker, index)
                    break

    def _begin(self, worker: Worker, index: int) -> None:
        try:
            worker.task = worker.restore(self._job, index)
            worker.state, worker.segment = State.AT_WORK, index
            self._waiting.remove(index)
        except BrokenExecutor as error:  # it died idle, over none of the segments
            self._pool.replace(worker, worker.why(error))

    def _finish(self, worker: Worker, done: SegmentDone) -> None:
        worker.deaths = 0
        self._left -= 1
        self._counts.add(done)
        self._on_segment(done)
        self._tell()

    def _lose(self, worker: Worker, index: int, reason: str) -> None:
        self._waiting.appendleft(index)
        self._losses[index].append((worker, f"{worker.name}: {reason}"))
        what, reasons = self._work.describe(index), [reason for _, reason in self._losses[index]]
        if len(reasons) > MOST_RETRIES:
            raise WorkerError(
                f"{self._work.clip.info.path}: {what} could not be restored: its worker died {len(reasons)} times "
                f"({'; '.join(reasons)}). If memory ran out, a smaller `batch` helps."
            )
        note = f"{what}: its worker on {worker.name} died ({reason}); restored again, retry {len(reasons)}"
        self._counts.notes.add(note)
        self._tell(note)

    def _tell(self, message: str = "") -> None:
        """Progress of all workers together; a loss does not take it back."""
        at_work = sum(worker.faces() for worker in self._pool.workers if worker.state is State.AT_WORK)
        now = min(max(self._shown, self._counts.restored + self._counts.repeated + at_work, 0), self._total)
        if now != self._shown or message:
            self._shown = now
            self._report(Progress("restore", now, self._total, unit="faces", message=message))
