"""What a person (or a program) sees while a job runs: a bar, plain lines, JSON lines, or nothing."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from iconface_video.cli.remaining import RunRemaining
from iconface_video.cli.spelling import spelled
from iconface_video.types import Progress

NAMES = {
    "survey": "finding faces",
    "anchors": "learning who is who",
    "learn": "learning the person",
    "restore": "restoring",
    "render": "writing the video",
}
LINE_EVERY_SECONDS = 5.0


class Display(Protocol):
    """Takes progress events."""

    def __call__(self, event: Progress) -> None: ...


def make_display(*, quiet: bool, as_json: bool) -> AbstractContextManager[Display]:
    """The display that fits: JSON lines on stderr, nothing, a bar on a terminal, else plain lines on stderr."""
    if as_json:
        return nullcontext(JsonLines()) if not quiet else nullcontext(_nothing)
    if quiet:
        return nullcontext(_nothing)
    return Bars() if sys.stderr.isatty() else nullcontext(Lines(sys.stderr))


def _nothing(event: Progress) -> None:
    pass


class JsonLines:
    """One object a line on stderr, with the seconds that are left of the whole run."""

    def __init__(self) -> None:
        self._remaining = RunRemaining()

    def __call__(self, event: Progress) -> None:
        self._remaining.tell(event)
        facts = {"event": "progress", **asdict(event), "left_seconds": rounded(self._remaining.seconds)}
        print(json.dumps(facts), file=sys.stderr, flush=True)


def rounded(seconds: float | None) -> float | None:
    """To a tenth, for programs."""
    return None if seconds is None else round(seconds, 1)


class _Speed(ProgressColumn):
    """ "12.3 frames/s"."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {task.fields['unit']}/s", style="progress.data.speed")


class Bars:
    """One bar a stage, on a terminal."""

    def __init__(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[whole]}"),
        )
        self._remaining = RunRemaining()
        self._bars = RichProgress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, TaskID] = {}
        self._said: set[str] = set()

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, event: Progress) -> None:
        if event.message and event.message not in self._said:
            self._said.add(event.message)
            self._bars.console.print(f"[yellow]note:[/] {escape(spelled(event.message))}", highlight=False)
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._bars.add_task(
                NAMES.get(event.stage, event.stage), total=event.total, unit=event.unit, whole=""
            )
        self._remaining.tell(event)
        whole = left_in_all(self._remaining.seconds)
        self._bars.update(self._tasks[event.stage], completed=event.done, total=event.total, whole=whole)


class Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, out: TextIO, before: str = "") -> None:
        """before: begins each line."""
        self._out, self._before = out, before
        self._remaining = RunRemaining()
        self._begun: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._said: set[str] = set()

    def __call__(self, event: Progress) -> None:
        if event.message and event.message not in self._said:
            self._said.add(event.message)
            print(f"{self._before}note: {spelled(event.message)}", file=self._out, flush=True)
        self._remaining.tell(event)
        now = time.monotonic()
        begun = self._begun.setdefault(event.stage, now)
        last = self._last.setdefault(event.stage, now)
        if event.done and (event.done == event.total or now - last >= LINE_EVERY_SECONDS):
            self._last[event.stage] = now
            whole = left_in_all(self._remaining.seconds)
            text = self._line(event, now - begun) + (f", {whole}" if whole else "")
            print(self._before + text, file=self._out, flush=True)

    @staticmethod
    def _line(event: Progress, elapsed: float) -> str:
        speed = event.done / elapsed if elapsed > 0 else 0.0
        text = f"{NAMES.get(event.stage, event.stage)}: {event.done}" + (f"/{event.total}" if event.total else "")
        text += f" {event.unit}"
        text += f", {speed:.1f} {event.unit}/s" if speed >= 0.05 else ""
        if event.total and speed and event.done < event.total:
            text += f", {duration((event.total - event.done) / speed)} left"
        return text


def left_in_all(seconds: float | None) -> str:
    """ "about 3 min 05 s left in all", or nothing where that is not known, or next to nothing."""
    return "" if seconds is None or seconds < 1 else f"about {duration(seconds)} left in all"


def duration(seconds: float) -> str:
    """For people: "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: int, one: str, many: str | None = None) -> str:
    """ "1 face", "2 faces"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def print_rows(rows: list[tuple[str, str]], title: str = "") -> None:
    """Two aligned columns on stdout."""
    if title:
        print(title)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"  {name:<{width}}  {spelled(text)}")


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(values, indent=2, default=str, ensure_ascii=False))
