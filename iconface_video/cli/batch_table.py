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

from iconface_video.cli.display import NAMES, counted, duration
from iconface_video.run.batch import BatchJob, BatchRow
from iconface_video.run.progress import OnProgress
from iconface_video.types import Progress

_STYLES = {"waiting": "dim", "running": "cyan", "restored": "green", "skipped": "blue", "failed": "red", "stopped": "yellow"}
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
    """Says nothing."""

    def start(self, jobs: Sequence[BatchJob]) -> None:
        pass

    def row(self, index: int, row: BatchRow) -> None:
        pass

    def progress(self, index: int) -> OnProgress | None:
        return None


class JsonLines(Silence):
    """One object a line on stderr: `{"event": "file", ...}` and `{"event": "progress", "file": index, ...}`."""

    def row(self, index: int, row: BatchRow) -> None:
        print(json.dumps({"event": "file", "file": index, **row.to_dict()}, ensure_ascii=False), file=sys.stderr, flush=True)

    def progress(self, index: int) -> OnProgress | None:
        def tell(event: Progress) -> None:
            facts = {
                "stage": event.stage,
                "done": event.done,
                "total": event.total,
                "unit": event.unit,
                "message": event.message,
            }
            print(json.dumps({"event": "progress", "file": index, **facts}), file=sys.stderr, flush=True)

        return tell


class FileLines(Silence):
    """A line when a file is done, for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._count = 0

    def start(self, jobs: Sequence[BatchJob]) -> None:
        self._count = len(jobs)

    def row(self, index: int, row: BatchRow) -> None:
        if row.state != "running":
            print(f"[{index + 1}/{self._count}] {row.input}: {row.state}{_because(row)}", file=self._out, flush=True)


def _because(row: BatchRow) -> str:
    text = result_of(row)
    return f": {text}" if text else ""


def result_of(row: BatchRow) -> str:
    """One line about a file that is done."""
    if row.report is None:
        return row.reason
    report = row.report
    faces = (
        f"{counted(report.faces_restored, 'face')} of {counted(report.people, 'person', 'people')}"
        if report.tracks
        else "no face"
    )
    again = f"; {row.reason}" if row.reason else ""
    notes = f"; {counted(len(report.notes), 'note')}" if report.notes else ""
    return f"{report.output.name}: {faces}, {duration(row.seconds)}{again}{notes}"


class LiveTable:
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
        self._rows = [BatchRow(job.input) for job in jobs]
        self._names = short_names([job.input for job in jobs])
        self._draw()

    def row(self, index: int, row: BatchRow) -> None:
        self._rows[index], self._at = row, index
        self._work.pop(index, None)
        self._draw()

    def progress(self, index: int) -> OnProgress | None:
        def tell(event: Progress) -> None:
            share = f" {100 * event.done // event.total} %" if event.total else f" {event.done}" if event.done else ""
            self._work[index] = NAMES.get(event.stage, event.stage) + share
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
        return f"{done} of {counted(len(self._rows), 'file')} done"


def short_names(paths: Sequence[Path]) -> list[str]:
    """File names; with their folder where a name occurs twice."""
    names = [path.name for path in paths]
    return [name if names.count(name) == 1 else f"{path.resolve().parent.name}/{name}" for name, path in zip(names, paths)]


def print_summary(rows: Sequence[BatchRow], out: Path) -> None:
    """The table at the end, on stdout, and how many of what."""
    names = short_names([row.input for row in rows])
    widths = max(map(len, names)), max(len(row.state) for row in rows)
    for name, row in zip(names, rows):
        print(f"  {name:<{widths[0]}}  {row.state:<{widths[1]}}  {result_of(row)}".rstrip())
    counts = {
        state: sum(row.state == state for row in rows) for state in ("restored", "skipped", "failed", "stopped", "waiting")
    }
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    print(f"{counted(len(rows), 'file')}: {said}. Details: {out / 'batch.json'}, {out / 'batch.csv'}")
