"""Long work, one job at a time in a thread of its own; the others wait in line. Each can be cancelled."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from iconface_video.errors import Cancelled
from iconface_video.types import Progress

_log = logging.getLogger(__name__)

Kind = Literal["survey", "preview", "run"]
Status = Literal["waiting", "running", "done", "failed", "cancelled"]
_ETA_AFTER_SECONDS = 1.0
"""Before that, the pace of a stage says little."""


@dataclass(eq=False)
class Job:
    """One piece of work. `act` runs in the queue's thread; it reports to the job and asks it whether to stop."""

    kind: Kind
    act: Callable[[Job], None]
    explain: Callable[[BaseException], str] = str
    """An error -> the sentence shown."""
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

    @property
    def is_active(self) -> bool:
        return self.status in ("waiting", "running")

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

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raises Cancelled when the job was cancelled."""
        if self._stop.is_set():
            raise Cancelled("stopped on request")

    def cancel(self) -> None:
        """Ask it to stop; a job that waits is dropped at once."""
        self._stop.set()
        if self.status == "waiting":
            self.status = "cancelled"

    def seconds_left(self) -> float | None:
        """Of the stage it is in; None as long as nobody can tell."""
        elapsed = time.monotonic() - self._stage_begun
        if self.status != "running" or not self.done or self.total is None or elapsed < _ETA_AFTER_SECONDS:
            return None
        return max(0.0, (self.total - self.done) * elapsed / self.done)

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
            "ahead": ahead,
        }

    def run(self) -> None:
        """Do it, in the calling thread. Never raises."""
        if self._stop.is_set():
            self.status = "cancelled"
            return
        self.status = "running"
        try:
            self.act(self)
            self.status = "done"
        except Cancelled:
            self.status = "cancelled"
        except Exception as error:
            if self._stop.is_set():
                self.status = "cancelled"
                return
            _log.debug("job failed", exc_info=True)
            self.error = self.explain(error)
            self.status = "failed"


class JobQueue:
    """One worker thread; first come, first served."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._worker.start()

    def submit(self, job: Job) -> Job:
        """Put it at the end of the line."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def ahead_of(self, job: Job) -> int:
        """How many jobs come before this one."""
        with self._changed:
            line = [other for other in self._waiting if other.is_active]
            if job not in line:
                return 0
            return line.index(job) + (self._running is not None)

    def wait(self, job: Job, seconds: float) -> bool:
        """Until the job has ended; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not job.is_active and self._running is not job, seconds)

    def close(self, seconds: float = 10.0) -> None:
        """Cancel everything and wait for the worker to leave."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *([self._running] if self._running else [])):
                job.cancel()
            self._changed.notify_all()
        self._worker.join(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                self._running = self._waiting.popleft()
                job = self._running
            job.run()
            with self._changed:
                self._running = None
                self._changed.notify_all()
