"""Lets a reader of the crop store wait for segments that are still being restored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from iconface_video.errors import Cancelled

_LOOK_EVERY_SECONDS = 0.1


class SegmentGate:
    """Which segments stand in the store. Segments are opened in one thread, waited for in another."""

    def __init__(self, there: Collection[int], should_stop: Callable[[], bool]) -> None:
        """there: indices of segments that stand already.  should_stop: ends all waiting."""
        self._there = set(there)
        self._should_stop = should_stop
        self._changed = threading.Condition()

    def open(self, index: int) -> None:
        """The segment stands."""
        with self._changed:
            self._there.add(index)
            self._changed.notify_all()

    def wait(self, index: int) -> None:
        """Return when the segment stands. Raises Cancelled when told to stop before that."""
        with self._changed:
            while index not in self._there:
                if self._should_stop():
                    raise Cancelled("stopped while waiting for a segment to be restored")
                self._changed.wait(_LOOK_EVERY_SECONDS)
