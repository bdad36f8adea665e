"""A bounded queue between a producer (decoding) and its consumer, with the producer in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: BaseException | None


@contextmanager
def prefetch(iterable: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Iterate in a worker thread, at most `depth` items ahead.

    An exception of the iterable is raised in the caller, with its own traceback, after the items before it. On leaving
    the block the thread is stopped and joined and the iterable (if it is a generator) closed, however the block ends.

        with prefetch(reader.frames(), depth=4) as frames:
            for frame in frames: ...
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, must be at least 1")
    items: queue.Queue[_Item[T] | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    worker = threading.Thread(target=_produce, args=(iterable, items, stop), name="prefetch", daemon=True)
    worker.start()
    try:
        yield _consume(items, stop)
    finally:
        stop.set()
        worker.join()


def _produce(iterable: Iterable[T], items: queue.Queue[_Item[T] | _End], stop: threading.Event) -> None:
    source = iter(iterable)
    error: BaseException | None = None
    try:
        for value in source:
            if not _put(items, _Item(value), stop):
                return
    except BaseException as raised:
        error = raised
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
    _put(items, _End(error), stop)


def _put(items: queue.Queue[_Item[T] | _End], item: _Item[T] | _End, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            items.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False


def _consume(items: queue.Queue[_Item[T] | _End], stop: threading.Event) -> Iterator[T]:
    while not stop.is_set():
        try:
            item = items.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item.value
