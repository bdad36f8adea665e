"""How long it still takes in all: over the stages of a run, and over the files of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from iconface_video.types import Progress

USUAL_SECONDS = {"survey": 0.03, "restore": 0.12, "render": 0.01}
"""Of a frame, a face and a frame on a small machine: what a stage that has not begun is taken to cost beside the others. The
video is mostly written while faces are restored."""
_ORDER = ("survey", "restore", "render")
_SURE_SECONDS = 2.0
"""A stage is judged by its own pace from then on."""


class RunRemaining:
    """Told a run's progress events; knows about how long the rest takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[str, float] = {}
        self._latest: dict[str, Progress] = {}
        self._spent: dict[str, float] = {}

    def tell(self, event: Progress) -> None:
        """The next event of the run."""
        if event.stage not in _ORDER or (event.message and not event.done):
            return
        now = self._clock()
        self._spent[event.stage] = now - self._begun.setdefault(event.stage, now)
        self._latest[event.stage] = event

    @property
    def seconds(self) -> float | None:
        """Of all stages together; None while too little is known."""
        if not self._latest:
            return None
        slowness = self._slowness()
        parts = [self._of(stage, slowness) for stage in _ORDER]
        return None if slowness is None or None in parts else sum(part for part in parts if part is not None)

    def _slowness(self) -> float | None:
        """How much slower than usual this machine has been so far."""
        usual = sum(USUAL_SECONDS[stage] * event.done for stage, event in self._latest.items())
        return sum(self._spent.values()) / usual if usual > 0 else None

    def _of(self, stage: str, slowness: float | None) -> float | None:
        event = self._latest.get(stage)
        later = any(other in self._latest for other in _ORDER[_ORDER.index(stage) + 1 :])
        if event is None:
            frames = next((known.total for known in self._latest.values() if known.unit == "frames" and known.total), None)
            if later or slowness is None:
                return 0.0
            return None if frames is None else USUAL_SECONDS[stage] * frames * slowness
        if event.total is None:
            return None
        left = max(0, event.total - event.done)
        if event.done and self._spent[stage] >= _SURE_SECONDS:
            return self._spent[stage] / event.done * left
        return USUAL_SECONDS[stage] * left * (slowness or 1.0)


class BatchRemaining:
    """Judges the files that are left by the bytes of those that are done: a long film is a large file, mostly."""

    def __init__(self, sizes: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        """sizes: bytes of each file."""
        self._sizes, self._clock = list(sizes), clock
        self._begun = clock()
        self._worked_seconds = 0.0
        self._worked_bytes = 0
        self._current: tuple[int, float, RunRemaining] | None = None
        self._left = set(range(len(self._sizes)))

    def begin(self, index: int) -> None:
        """A file is begun."""
        self._current = (index, self._clock(), RunRemaining(self._clock))

    def tell(self, event: Progress) -> None:
        """Progress of the file at work."""
        if self._current is not None:
            self._current[2].tell(event)

    def end(self, index: int, worked: bool) -> None:
        """worked: it was restored; what is skipped or refused tells nothing about the others."""
        self._left.discard(index)
        if worked and self._current is not None:
            self._worked_seconds += self._clock() - self._current[1]
            self._worked_bytes += self._sizes[index]
        self._current = None

    @property
    def seconds(self) -> float | None:
        """Of all files that are left; None while too little is known."""
        pace, current = (self._worked_seconds, self._worked_bytes), None
        waiting = sum(self._sizes[index] for index in self._left)
        if self._current is not None:
            index, begun, run = self._current
            current = run.seconds
            if current is None:
                return None
            waiting -= self._sizes[index]
            pace = (pace[0] + self._clock() - begun + current, pace[1] + self._sizes[index])
        if not pace[1]:
            return None if waiting else current
        return (current or 0.0) + pace[0] / pace[1] * waiting
