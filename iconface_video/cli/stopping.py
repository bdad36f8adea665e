"""Ctrl-C as one sentence that says what was kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from iconface_video.errors import Cancelled, notes_of

STOPPED = "stopped; nothing was written under the output's name"


@contextmanager
def stoppable() -> Iterator[None]:
    """Turns an interrupt into `Cancelled`: typer would drop the notes that it collected on its way."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Cancelled(". ".join([STOPPED, *notes_of(interrupt)])) from None
