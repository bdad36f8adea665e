"""What a person (or a program) sees while many files are worked on: a live table, a line a file, JSON lines, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from iconface_video.cli.display import (
    LINE_EVERY_SECONDS,
    NAMES,
    BatchRemaining,
    counted,
    duration,
    left_in_all,
    rounded,
    spelled,
)
from iconface_video.session.clip import OnProgress
from iconface_video.session.clip_batch import BatchJob, BatchRow
from iconface_video.types import Progress

_STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "restored": "green",
    "skipped": "blue",
    "planned": "cyan",
    "failed": "red",
    "stopped": "yellow",
}
_ROWS_AROUND = 8
"""Files shown before and after the one at work, where there are many."""
_REDRAW_SECONDS = 0.2


class BatchDisplay(Protocol):
    """Told what happens."""

    def start(self, jobs: Sequence[BatchJob]) -> None: ...
    def row(self, index: int, row: BatchRow) -> None: ...
    def progress(self, index: int) -> OnProgress | None: ...


def make_batch_display(*, quiet: bool, as_json: bool) -> AbstractContextManager[BatchDisplay]:
    """The display that fits."""
    if quiet:
        return nullcontext(Silence())
    if as_json:
        return nullcontext(JsonLines())
    return LiveTable() if sys.stderr.isatty() else nullcontext(FileLines(sys.stderr))


class Silence:
    """Says nothing, and knows how long the rest takes."""

    _remaining = BatchRemaining(())

    def start(self, jobs: Sequence[BatchJob]) -> None:
        self._remaining = BatchRemaining([size_of(job.input) for job in jobs])

    def row(self, index: int, row: BatchRow) -> None:
        if row.state == "running":
            self._remaining.begin(index)
        else:
            self._remaining.end(index, row.state == "restored")

    def progress(self, index: int) -> OnProgress | None:
        return None


def size_of(path: Path) -> int:
    """Bytes; 0 for a file that is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class JsonLines(Silence):
    """One object a line on stderr: `{"event": "file", ...}` and `{"event": "progress", "file": index, ...}`."""

    def row(self, index: int, row: BatchRow) -> None:
        super().row(index, row)
        print(json.dumps({"event": "file", "file": index, **row.to_dict()}, ensure_ascii=False), file=sys.stderr, flush=True)

    def progress(self, index: int) -> OnProgress | None:
        def tell(event: Progress) -> None:
            self._remaining.tell(event)
            facts = {
                "left_seconds": rounded(self._remaining.seconds),
                "stage": event.stage,
                "done": event.done,
                "total": event.total,
                "unit": event.unit,
                "message": event.message,
            }
            print(json.dumps({"event": "progress", "file": index, **facts}), file=sys.stderr, flush=True)

        return tell


class FileLines(Silence):
    """A line when a file is begun or done and now and then between, for logs and pipes."""

    def __init__(self, out: TextIO, every: float = LINE_EVERY_SECONDS) -> None:
        self._out, self._every = out, every
        self._inputs: list[Path] = []
        self._said = 0.0

    def start(self, jobs: Sequence[BatchJob]) -> None:
        super().start(jobs)
        self._inputs = [job.input for job in jobs]

    def row(self, index: int, row: BatchRow) -> None:
        super().row(index, row)
        self._say(index, "begun" if row.state == "running" else f"{row.state}{_because(row)}")

    def progress(self, index: int) -> OnProgress | None:
        def tell(event: Progress) -> None:
            self._remaining.tell(event)
            if time.monotonic() - self._said >= self._every:
                whole = left_in_all(self._remaining.seconds)
                self._say(index, _stage(event) + (f"; {whole}" if whole else ""))

        return tell

    def _say(self, index: int, text: str) -> None:
        self._said = time.monotonic()
        print(f"[{index + 1}/{len(self._inputs)}] {self._inputs[index]}: {text}", file=self._out, flush=True)


def _stage(event: Progress) -> str:
    """ "restoring 40 %"."""
    share = f" {100 * event.done // event.total} %" if event.total else f" {event.done}" if event.done else ""
    return NAMES.get(event.stage, event.stage) + share


def _because(row: BatchRow) -> str:
    text = result_of(row)
    return f": {text}" if text else ""


def result_of(row: BatchRow) -> str:
    """One line about a file that is done."""
    if row.report is None:
        will = f"would write {row.output}" if row.state == "planned" else ""
        return spelled("; ".join(part for part in (will, row.reason) if part))
    report = row.report
    faces = (
        f"{counted(report.faces_restored, 'face')} of {counted(report.people, 'person', 'people')}"
        if report.tracks
        else "no face"
    )
    again = f"; {spelled(row.reason)}" if row.reason else ""
    notes = f"; {counted(len(report.notes), 'note')}" if report.notes else ""
    return f"{report.output.name}: {faces}, {duration(row.seconds)}{again}{notes}"


class LiveTable(Silence):
    """One row a file, the one at work with its progress. On a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._rows: list[BatchRow] = []
        self._names: list[str] = []
        self._work: dict[int, str] = {}
        self._at = 0
        self._drawn = 0.0

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def start(self, jobs: Sequence[BatchJob]) -> None:
        super().start(jobs)
        self._rows = [BatchRow(job.input) for job in jobs]
        self._names = short_names([job.input for job in jobs])
        self._draw()

    def row(self, index: int, row: BatchRow) -> None:
        super().row(index, row)
        self._rows[index], self._at = row, index
        self._work.pop(index, None)
        self._draw()

    def progress(self, index: int) -> OnProgress | None:
        def tell(event: Progress) -> None:
            self._remaining.tell(event)
            self._work[index] = _stage(event)
            if time.monotonic() - self._drawn > _REDRAW_SECONDS:
                self._draw()

        return tell

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(title=self._title(), title_justify="left", expand=False)
        for heading in ("#", "file", "state", "result"):
            table.add_column(
                heading, overflow="ellipsis", no_wrap=heading in ("#", "state"), justify="right" if heading == "#" else "left"
            )
        first, last = max(0, self._at - _ROWS_AROUND), min(len(self._rows), self._at + _ROWS_AROUND + 1)
        for index in range(first, last):
            row, style = self._rows[index], _STYLES[self._rows[index].state]
            text = self._work.get(index, "") if row.state == "running" else result_of(row)
            table.add_row(str(index + 1), escape(self._names[index]), f"[{style}]{row.state}[/]", escape(text))
        return table

    def _title(self) -> str:
        done = sum(row.state not in ("waiting", "running") for row in self._rows)
        whole = left_in_all(self._remaining.seconds)
        return f"{done} of {counted(len(self._rows), 'file')} done" + (f", {whole}" if whole else "")


def short_names(paths: Sequence[Path]) -> list[str]:
    """File names; with their folder where a name occurs twice."""
    names = [path.name for path in paths]
    return [name if names.count(name) == 1 else f"{path.resolve().parent.name}/{name}" for name, path in zip(names, paths)]


def print_summary(rows: Sequence[BatchRow], out: Path | None) -> None:
    """The table at the end, on stdout, and how many of what. out: where the details are; None: nothing was written."""
    names = short_names([row.input for row in rows])
    widths = max(map(len, names)), max(len(row.state) for row in rows)
    for name, row in zip(names, rows):
        print(f"  {name:<{widths[0]}}  {row.state:<{widths[1]}}  {result_of(row)}".rstrip())
    counts = {
        state: sum(row.state == state for row in rows)
        for state in ("restored", "planned", "skipped", "failed", "stopped", "waiting")
    }
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    details = "Nothing was written." if out is None else f"Details: {out / 'batch.json'}, {out / 'batch.csv'}"
    print(f"{counted(len(rows), 'file')}: {said}. {details}")
