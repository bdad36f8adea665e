"""Long work, one job at a time in a thread of its own; the others wait in line. Each can be cancelled, the line be changed and paused."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from iconface_video.errors import Cancelled
from iconface_video.types import Progress

_log = logging.getLogger(__name__)

Kind = Literal["survey", "preview", "run", "sides", "versions", "save"]
Status = Literal["waiting", "running", "done", "failed", "cancelled"]
_ETA_AFTER_SECONDS = 1.0
"""Before that, the pace of a stage says little."""
_MB = 10**6
_LONG: frozenset[Kind] = frozenset({"run", "sides", "versions"})
"""Others are short and somebody waits for them: they come first, and a pause does not hold them."""


@dataclass(eq=False)
class Job:
    """One piece of work. `act` runs in the queue's thread; it reports to the job and asks it whether to stop."""

    kind: Kind
    act: Callable[[Job], None]
    explain: Callable[[BaseException], str] = str
    """An error -> the sentence shown."""
    on_end: Callable[[Job, Status], None] = lambda job, status: None
    """Called when it is done, has failed or was cancelled, before its status says so; not when the server stops: then it is still
    to be done."""
    expected: Mapping[str, float] = field(default_factory=dict)
    """Seconds that each stage is expected to take, in order; empty: nobody knows."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    status: Status = "waiting"
    error: str = ""
    notes: list[str] = field(default_factory=list)
    stage: str = ""
    done: int = 0
    total: int | None = None
    unit: str = "frames"

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._stage_begun = 0.0
        self._ending = threading.Lock()
        self._is_put_back = self._is_abandoned = self._has_ended = False

    @property
    def is_active(self) -> bool:
        return self.status in ("waiting", "running")

    @property
    def is_long(self) -> bool:
        return self.kind in _LONG

    def report(self, event: Progress) -> None:
        """A progress event of a recipe."""
        if event.message and event.message not in self.notes:
            self.notes.append(event.message)
        if event.message and not event.done and event.total is None:
            return  # a note alone says nothing of the stage
        self.step(event.stage, event.done, event.total, event.unit)

    def step(self, stage: str, done: int, total: int | None, unit: str = "frames") -> None:
        """The same in single values, for stages of the page's own."""
        if stage != self.stage:
            self.stage, self._stage_begun = stage, time.monotonic()
        self.done, self.total, self.unit = done, total, unit

    def step_in_bytes(self, done: int, total: int) -> None:
        """Of a copy. Raises Cancelled when the job was cancelled."""
        self.check()
        self.step("save", done // _MB, max(1, total // _MB), "MB")

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raises Cancelled when the job was cancelled."""
        if self._stop.is_set():
            raise Cancelled("stopped on request")

    def cancel(self) -> None:
        """Ask it to stop; a job that waits is dropped at once."""
        with self._ending:
            self._is_put_back = False
            self._stop.set()
            is_waiting = self.status == "waiting"
        if is_waiting:
            self._end("cancelled")

    def put_back(self) -> None:
        """Ask it to stop and to wait for another turn, which goes on from where this one came to."""
        self._is_put_back = True
        self._stop.set()

    def abandon(self) -> None:
        """The server stops: so does this, and counts as still to be done."""
        self._is_abandoned = True
        self.cancel()

    def seconds_left(self) -> float | None:
        """Of the stage it is in; None as long as nobody can tell."""
        elapsed = time.monotonic() - self._stage_begun
        if self.status != "running" or not self.done or self.total is None or elapsed < _ETA_AFTER_SECONDS:
            return None
        return max(0.0, (self.total - self.done) * elapsed / self.done)

    def seconds_left_of_all(self) -> float | None:
        """Of the whole job: this stage by its pace, those to come as they are expected. None: nobody can tell."""
        if self.stage not in self.expected:
            return None
        stages = list(self.expected)
        later = sum(self.expected[stage] for stage in stages[stages.index(self.stage) + 1 :])
        here = self.seconds_left()
        if here is None:
            here = self.expected[self.stage] * (1 - self._share_of_stage)
        return here + later

    @property
    def share(self) -> float | None:
        """Of the whole job, 0..1, by the time that its stages are expected to take."""
        if self.stage not in self.expected:
            return None
        stages, whole = list(self.expected), sum(self.expected.values())
        before = sum(self.expected[stage] for stage in stages[: stages.index(self.stage)])
        return min(1.0, (before + self.expected[self.stage] * self._share_of_stage) / max(whole, 1e-9))

    @property
    def _share_of_stage(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0

    def snapshot(self, ahead: int) -> dict[str, Any]:
        """For the page. ahead: jobs that come before it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "stopping": self.is_active and self._stop.is_set(),
            "error": self.error,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "seconds_left": self.seconds_left(),
            "seconds_left_of_all": self.seconds_left_of_all()
            if self.status == "running"
            else sum(self.expected.values()) or None,
            "share": self.share,
            "ahead": ahead,
        }

    def run(self) -> bool:
        """Do it, in the calling thread; whether it came to an end, and is not to have another turn. Never raises."""
        if self._stop.is_set() and not self._is_put_back:
            self._end("cancelled")
            return True
        self.status = "running"
        try:
            self.act(self)
            self._end("done")
        except Exception as error:
            if not (self._stop.is_set() or isinstance(error, Cancelled)):
                _log.debug("job failed", exc_info=True)
                self.error = self.explain(error)
                self._end("failed")
            elif self._waits_again():
                return False
            else:
                self._end("cancelled")
        return True

    def _waits_again(self) -> bool:
        with self._ending:
            if not self._is_put_back:
                return False
            self.status, self.stage, self._is_put_back = "waiting", "", False
            self._stop.clear()
        return True

    def _end(self, status: Status) -> None:
        with self._ending:
            if self._has_ended:
                return
            self._has_ended = True
        if not self._is_abandoned:
            self.on_end(self, status)
        self.status = status


class JobQueue:
    """One worker thread. Short jobs come before long ones, else first come, first served; the line can be changed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._closed = False
        self._paused = False
        self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._worker.start()

    @property
    def is_paused(self) -> bool:
        return self._paused

    def submit(self, job: Job) -> Job:
        """Put it at the end of the line."""
        with self._changed:
            place = len(self._waiting)
            if not job.is_long:
                place = next((index for index, other in enumerate(self._waiting) if other.is_long), place)
            self._waiting.insert(place, job)
            self._changed.notify_all()
        return job

    def pause(self, wanted: bool) -> None:
        """Hold the long jobs, also the one that runs: it has to go on from where it came to, and waits at the head of the line."""
        with self._changed:
            self._paused = wanted
            if wanted and self._running is not None and self._running.is_long:
                self._running.put_back()
            self._changed.notify_all()

    def line(self) -> list[Job]:
        """The running job and those that wait, in order."""
        with self._changed:
            return [*([self._running] if self._running else []), *(job for job in self._waiting if job.is_active)]

    def reorder(self, wanted: Sequence[Job]) -> None:
        """Waiting jobs in another order; those that are not named come after them."""
        with self._changed:
            first = [job for job in wanted if job in self._waiting]
            self._waiting = [*first, *(job for job in self._waiting if job not in first)]

    def ahead_of(self, job: Job) -> int:
        """How many jobs come before this one."""
        line = self.line()
        return line.index(job) if job in line else 0

    def wait(self, job: Job, seconds: float) -> bool:
        """Until the job has ended; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not job.is_active and self._running is not job, seconds)

    def close(self, seconds: float = 10.0) -> None:
        """Stop everything and wait for the worker to leave; what was not done counts as still to be done."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *([self._running] if self._running else [])):
                job.abandon()
            self._changed.notify_all()
        self._worker.join(seconds)

    def _next(self) -> Job | None:
        self._waiting = [job for job in self._waiting if job.is_active]
        return next((job for job in self._waiting if not (self._paused and job.is_long)), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next() or self._closed)
                job = self._next()
                if self._closed or job is None:
                    return
                self._waiting.remove(job)
                self._running = job
            has_ended = job.run()
            with self._changed:
                self._running = None
                if not has_ended:
                    self._waiting.insert(0, job)
                self._changed.notify_all()
