"""All open pages' work, apart from each other: each is known by a secret that only its own page holds."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from iconface_video.errors import UsageError
from iconface_video.web.engine import Engine
from iconface_video.web.jobs import JobQueue
from iconface_video.web.serving import ServeSettings
from iconface_video.web.workspace import Workspace

_log = logging.getLogger(__name__)

_PREFIX = "iconface-web-"
_LOCK = ".in-use"
_SWEEP_EVERY_SECONDS = 20.0


class Workspaces:
    """A context manager: its folder comes with it and goes with it, whatever is in it."""

    def __init__(self, settings: ServeSettings, engine: Engine) -> None:
        self.settings = settings
        self.queue = JobQueue()
        self._engine = engine
        self._lock = threading.Lock()
        self._open: dict[str, Workspace] = {}
        self._stop = threading.Event()
        remove_left_over()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._held = _hold(self.folder)
        self._sweeper = threading.Thread(target=self._sweep, name="sweeper", daemon=True)
        self._sweeper.start()

    def __enter__(self) -> Workspaces:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop all work and remove all files."""
        self._stop.set()
        self.queue.close()
        for token in list(self._open):
            self.remove(
                token, 0.0
            )  # a job that has not stopped by now is in the middle of loading a library, and writes nothing
        if self._held is not None:
            self._held.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self) -> Workspace:
        """For a page that was opened just now. Raises UsageError where too many are at work."""
        self.remove_idle()
        with self._lock:
            if len(self._open) >= self.settings.max_workspaces:
                raise UsageError(
                    f"{len(self._open)} pages are at work already; close one and wait a while, or start over there"
                )
            token = secrets.token_urlsafe(24)
            self._open[token] = Workspace(token, self.folder / secrets.token_hex(8), self.queue, self._engine)
            return self._open[token]

    def get(self, token: str) -> Workspace | None:
        """By the page's secret; None where there is none (any more)."""
        with self._lock:
            found = self._open.get(token)
        if found is not None:
            found.touch()
        return found

    def remove(self, token: str, patience_seconds: float = 10.0) -> None:
        """Forget a page and its files."""
        with self._lock:
            found = self._open.pop(token, None)
        if found is not None:
            found.close(patience_seconds)

    def remove_idle(self) -> None:
        """Those whose page has not been heard of for long, and that have nothing to do."""
        now = time.monotonic()
        with self._lock:
            idle = []
            for token, item in self._open.items():
                if item.is_in_use:
                    item.touch()
                elif now - item.touched > self.settings.keep_seconds:
                    idle.append(token)
        for token in idle:
            self.remove(token)

    def _sweep(self) -> None:
        while not self._stop.wait(min(_SWEEP_EVERY_SECONDS, self.settings.keep_seconds)):
            self.remove_idle()


def remove_left_over() -> None:
    """Folders of servers that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        if not lock.is_file() or not os.access(lock, os.W_OK):
            continue
        held = _hold(folder)
        if held is not None:
            held.close()
            shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: Path) -> IO[bytes] | None:
    """An open file that shows others that the folder is in use; None where somebody else holds it (or locks are unknown)."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = (folder / _LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
