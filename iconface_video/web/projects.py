"""All projects in one folder: the list, what is new, what is removed, and which of their jobs comes next."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs

from iconface_video.errors import InputError, OutputError, StoreError, UsageError
from iconface_video.files import FileState
from iconface_video.lock import LOCK, NameLock
from iconface_video.video.probe import probe
from iconface_video.video.suffixes import VIDEO_SUFFIXES
from iconface_video.web.engine import Engine
from iconface_video.web.jobs import JobQueue
from iconface_video.web.own_presets import OwnPresets
from iconface_video.web.project import Project
from iconface_video.web.record import ClipRecord, Record
from iconface_video.web.requests import sentence

_log = logging.getLogger(__name__)

_PRIVATE = 0o700
_ID = re.compile(r"[0-9a-f]{16}")
_INCOMING = "incoming"
_MOST_AT_ONCE = 200
"""Videos of one folder that is added by its path."""


def default_folder() -> Path:
    """In the user's own data folder."""
    return platformdirs.user_data_path("iconface-video", appauthor=False) / "projects"


class Projects:
    """A context manager. Leaving it stops all work and removes nothing; entering it again goes on with what was not done."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        """Raises OutputError where the folder cannot be used, or another server works in it."""
        self.folder = folder
        self.engine = engine
        self._lock = threading.Lock()
        self._open: dict[str, Project] = {}
        self._damaged: dict[str, str] = {}
        try:
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            folder.chmod(_PRIVATE)
            self._held = NameLock(
                folder / LOCK,
                str(folder).replace("{", "{{").replace("}", "}}")
                + ": another `iconface-video serve`{who} has these projects open. Use its page, or give --projects another folder.",
            )
            self._held.acquire()
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{folder}: projects cannot be kept there ({error.strerror}); give --projects another folder"
            ) from error
        shutil.rmtree(folder / _INCOMING, ignore_errors=True)  # uploads that a killed server was in
        self.presets = OwnPresets(folder)
        self.queue = JobQueue()
        self._read()

    def _read(self) -> None:
        for item in self.folder.iterdir():
            if not (_ID.fullmatch(item.name) and item.is_dir()):
                continue
            try:
                self._open[item.name] = Project(item, Record.read(item), self.queue, self.engine, self._next_number)
            except StoreError as error:
                self._damaged[item.name] = str(error)
        waiting = [project for project in self._open.values() if project.record.todo is not None]
        for project in sorted(waiting, key=lambda one: one.record.todo.number if one.record.todo else 0):
            try:
                project.go_on()
            except Exception as error:  # one that cannot go on must not keep the others from it
                _log.warning("project %s cannot go on: %s", project.id, error)
                project.record.todo, project.record.failed_kind = None, "survey"
                project.record.failed = sentence(error, project.folder)
                with suppress(StoreError):
                    project.save()

    def __enter__(self) -> Projects:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop all work; it counts as still to be done."""
        self.queue.close()
        for project in self._open.values():
            project.close(0.0)
        self._held.release()

    def get(self, number: str) -> Project | None:
        with self._lock:
            return self._open.get(number)

    def remove(self, number: str) -> None:
        """A project with all its files."""
        with self._lock:
            found = self._open.pop(number, None)
        if found is not None:
            found.remove()

    # New ones --------------------------------------------------------------------------------------------------------

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder for an upload; what is not made a project of in the block is removed."""
        folder = self.folder / _INCOMING / secrets.token_hex(8)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # others come in, too
                folder.parent.rmdir()

    def take_upload(self, path: Path) -> Project:
        """A video that has come in. Raises InputError for what is none."""
        probe(path)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(mode=_PRIVATE)
        (folder / "clip").mkdir()
        kept = folder / "clip" / path.name
        os.replace(path, kept)
        return self._begin(folder, kept, str(kept.relative_to(folder)))

    def take_path(self, path: Path) -> list[Project]:
        """A video of this machine, or all videos of a folder, used where they lie. Raises InputError, UsageError."""
        if not path.is_absolute():
            raise UsageError(f"{path}: give the whole path, from the root on")
        if not path.is_dir():
            probe(path)
            return [self._begin(self.folder / secrets.token_hex(8), path, str(path))]
        videos = sorted(item for item in path.iterdir() if item.suffix.lower() in VIDEO_SUFFIXES and item.is_file())
        if not videos:
            raise InputError(f"{path}: there is no video in this folder")
        if len(videos) > _MOST_AT_ONCE:
            raise UsageError(f"{path}: {len(videos)} videos are too many at once; at most {_MOST_AT_ONCE}")
        for video in videos:
            probe(video)
        return [self._begin(self.folder / secrets.token_hex(8), video, str(video)) for video in videos]

    def _begin(self, folder: Path, video: Path, told: str) -> Project:
        state = FileState.of(video)
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
        record = Record(video.stem, time.time(), ClipRecord(video.name, told, state.size, state.modified_ns), may_choose=True)
        project = Project(folder, record, self.queue, self.engine, self._next_number)
        project.save()
        with self._lock:
            self._open[project.id] = project
        project.open()
        project.look_again()
        return project

    # The line --------------------------------------------------------------------------------------------------------

    def _next_number(self) -> int:
        with self._lock:
            return 1 + max((one.record.todo.number for one in self._open.values() if one.record.todo), default=0)

    def reorder(self, numbers: Sequence[str]) -> None:
        """Waiting jobs of these projects in this order; it is kept for the next start."""
        wanted = [project for number in numbers if (project := self.get(number)) is not None and project.job is not None]
        self.queue.reorder([project.job for project in wanted if project.job is not None])
        todo = [project.record.todo for project in wanted if project.record.todo is not None]
        for item, place in zip(todo, sorted(item.number for item in todo)):
            item.number = place
        for project in wanted:
            project.save()

    def start_all(self, numbers: Sequence[str], own: str = "") -> list[str]:
        """Restore each, as far as it can be; sentences on the others.

        own: name of settings that the user has kept, which each gets; empty: each has its own. Raises UsageError where nothing
        has the name.
        """
        values = self.presets.values(own) if own else {}
        refused = []
        for number in numbers:
            project = self.get(number)
            if project is None or project.is_busy:
                continue
            try:
                project.open()
                project.run_with(values)
            except UsageError as error:
                refused.append(f"{project.record.name}: {error}")
        return refused

    def snapshot(self) -> dict[str, Any]:
        """The list, newest first, and the line."""
        with self._lock:
            everybody = list(self._open.values())
        line = [project.id for job in self.queue.line() for project in everybody if project.job is job]
        return {
            "projects": [project.summary() for project in sorted(everybody, key=lambda one: -one.record.created)],
            "damaged": [{"id": number, "error": error} for number, error in sorted(self._damaged.items())],
            "line": line,
            "paused": self.queue.is_paused,
            "folder": str(self.folder),
        }
