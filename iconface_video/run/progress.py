"""Glue between the stages and whoever watches: progress events, the wish to stop, time per stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from iconface_video.errors import Cancelled
from iconface_video.types import Progress

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]
Stage = Literal["survey", "anchors", "restore", "render"]

_LEAST_INTERVAL_SECONDS = 0.1
"""Events of one stage come no more often than this, except its first and last."""


class Watch:
    """Hands progress to the caller's callback, asks it whether to stop, and takes the time of each stage."""

    def __init__(self, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> None:
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._last = -1e9
        self.seconds: dict[str, float] = {}

    def check(self) -> None:
        """Raises Cancelled when the caller wants to stop."""
        if self._should_stop is not None and self._should_stop():
            raise Cancelled("stopped on request; nothing was written under the output's name")

    @property
    def should_stop(self) -> ShouldStop:
        """For stages that ask by themselves."""
        return self._should_stop or (lambda: False)

    def report(self, event: Progress) -> None:
        """Pass an event on, unless the last one was just now and this is neither a stage's first nor last nor has a message."""
        now = time.monotonic()
        if self._on_progress is None:
            return
        if event.message or event.done in (0, event.total) or now - self._last >= _LEAST_INTERVAL_SECONDS:
            self._last = now
            self._on_progress(event)

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Times a stage; asks before and after it whether to stop."""
        self.check()
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        self.check()
