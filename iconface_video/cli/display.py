"""What a person (or a program) sees while a job runs: a bar, plain lines, JSON lines, or nothing; with how long it still takes in
all, over the stages of a run and the files of a batch.

Messages name options as a person types them: the library says `max_memory`, the command line --max-memory. Ctrl-C ends in one
sentence that says what was kept.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import cache
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

from iconface_video.configs import section_types
from iconface_video.errors import Cancelled, notes_of
from iconface_video.types import Progress

USUAL_SECONDS = {"survey": 0.03, "learn": 0.8, "restore": 0.12, "render": 0.01}
"""Of a frame, a step, a face and a frame on a small machine: what a stage that has not begun is taken to cost beside the others. The
video is mostly written while faces are restored."""
_ORDER = ("survey", "learn", "restore", "render")
_SOMETIMES = ("learn",)
"""Takes no time in most runs: it counts from when it begins."""
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
            if later or slowness is None or stage in _SOMETIMES:
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


_ARGUMENTS = (
    "start", "end", "force", "work", "fresh", "output", "input", "preview", "people", "person", "reference", "keep_work",
    "offset", "html",
)  # fmt: skip
"""Of the library's functions, beside the settings."""
_QUOTED = re.compile(r"`([a-z][a-z0-9_]*)`")


def spelled(text: str) -> str:
    """A message of the library with its settings and arguments as options."""
    return _QUOTED.sub(lambda found: _option(found[1]) if found[1] in _names() else found[0], text)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@cache
def _names() -> frozenset[str]:
    settings = {name for kind in section_types().values() for name in kind.__dataclass_fields__}
    return frozenset({*_ARGUMENTS, *settings})


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


STOPPED = "stopped; nothing was written under the output's name"


@contextmanager
def stoppable() -> Iterator[None]:
    """Turns an interrupt into `Cancelled`: typer would drop the notes that it collected on its way."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Cancelled(". ".join([STOPPED, *notes_of(interrupt)])) from None
