"""One clip through a roster of workers: whoever is free takes the next segment, what a dead worker leaves another one does."""

from __future__ import annotations

import time

from iconface_video.errors import WorkerError
from iconface_video.restore.timeline import OnSegment, TimelineCounts
from iconface_video.session.engines.engine import Check, Report, RestoreWork, shared_job
from iconface_video.session.engines.job import RestoreJob
from iconface_video.session.engines.messages import Broken, Died, Done, Faces, Message, Opened
from iconface_video.session.engines.roster import Roster, Slot, State
from iconface_video.session.engines.segment_queue import OutOfTries, SegmentQueue
from iconface_video.types import Progress


def dispatch(roster: Roster, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
    """As `Engine.restore`."""
    with shared_job(work) as job:
        run = _Dispatch(roster, work, job, on_segment, report)
        try:
            run.go(check)
        except BaseException:
            roster.abandon()
            raise
        roster.end_clip()
    run.counts.notes |= roster.notes
    return run.counts


class _Dispatch:
    def __init__(self, roster: Roster, work: RestoreWork, job: RestoreJob, on_segment: OnSegment, report: Report) -> None:
        self._roster = roster
        self._work = work
        self._job = job
        self._on_segment = on_segment
        self._report = report
        self._queue = SegmentQueue([segment.index for segment in work.segments])
        self._total = work.faces
        self._shown = -1
        self.counts = TimelineCounts()

    def go(self, check: Check) -> None:
        self._roster.start_stopped()
        self._tell()
        nobody_since = time.monotonic()
        while not self._queue.is_done:
            check()
            self._hand_out()
            for slot, message in self._roster.hear():
                self._note(slot, message)
            if any(slot.state is not State.STARTING for slot in self._roster.living()):
                nobody_since = time.monotonic()
            self._roster.check_alive(nobody_since)
        if self._shown < self._total:  # faces whose frames could not be decoded
            self._report(Progress("restore", self._total, self._total, unit="faces"))

    def _hand_out(self) -> None:
        living = self._roster.living()
        names = {slot.name for slot in living}
        for slot in living:
            if slot.state is State.READY and self._queue.has_waiting:
                slot.state = State.OPENING
                self._roster.crew.open(slot.name, self._job)
            elif slot.state is State.IDLE:
                index = self._queue.take(slot.name, names)
                if index is not None:
                    slot.state, slot.segment, slot.faces = State.AT_WORK, index, 0
                    self._roster.crew.restore(slot.name, index)

    def _note(self, slot: Slot, message: Message) -> None:
        """What a message means for the clip."""
        if isinstance(message, Opened):
            slot.rest(State.IDLE)
        elif isinstance(message, Faces):
            slot.faces = message.done
            self._tell()
        elif isinstance(message, Done):
            slot.rest(State.IDLE)
            slot.deaths = 0
            self._queue.finish(message.segment.index)
            self.counts.add(message.segment)
            self._on_segment(message.segment)
            self._tell()
        elif isinstance(message, (Broken, Died)) and slot.segment is not None:
            self._lose(slot, slot.segment, message.reason)

    def _lose(self, slot: Slot, index: int, reason: str) -> None:
        try:
            times = self._queue.lose(index, slot.name, f"{self._roster.crew.describe(slot.name)}: {reason}")
        except OutOfTries as error:
            raise WorkerError(
                f"{self._job.input}: {self._work.describe(index)} could not be restored: its worker died {len(error.losses)} "
                f"times ({'; '.join(loss.reason for loss in error.losses)}). If memory ran out, a smaller `batch` helps."
            ) from None
        where = self._roster.crew.describe(slot.name)
        note = f"{self._work.describe(index)}: its worker on {where} died ({reason}); restored again, retry {times}"
        self.counts.notes.add(note)
        self._tell(note)

    def _tell(self, message: str = "") -> None:
        """Progress of all workers together; a loss does not take it back."""
        at_work = sum(slot.faces for slot in self._roster.slots.values())
        now = min(max(self._shown, self.counts.restored + self.counts.repeated + at_work, 0), self._total)
        if now != self._shown or message:
            self._shown = now
            self._report(Progress("restore", now, self._total, unit="faces", message=message))
