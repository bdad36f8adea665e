from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator

import pytest

from iconface_video.video.decode import prefetch


def running() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_items_arrive_in_order_and_the_thread_ends():
    with prefetch(range(100), depth=3) as items:
        assert list(items) == list(range(100))
    assert running() == 0


def test_the_producer_stays_at_most_depth_ahead():
    made = 0

    def numbers() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    with prefetch(numbers(), depth=4) as items:
        next(items)
        time.sleep(0.3)
        assert made <= 1 + 4 + 1  # taken, queued, and the one that waits for a place
    assert running() == 0


def test_an_exception_of_the_worker_surfaces_with_its_traceback():
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("bad packet")

    with prefetch(broken(), depth=4) as items:
        assert next(items) == 1
        with pytest.raises(KeyError, match="bad packet") as caught:
            next(items)
    assert "broken" in [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert running() == 0


def test_leaving_early_stops_the_thread_and_closes_the_source():
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    def take_one_and_fail() -> None:
        with prefetch(endless(), depth=2) as items:
            next(items)
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        take_one_and_fail()
    assert closed.is_set()
    assert running() == 0


def test_depth_is_checked():
    with pytest.raises(ValueError, match="depth is 0, must be at least 1"), prefetch([], depth=0):
        pass
