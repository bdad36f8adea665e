"""Many files, one after another: which, under which names, which are finished already, and what became of each.

The output folder keeps a record, ``batch.json``: what each output was made from. A later call with the same files takes what
is finished as it is, and says of everything else why it is made (again). ``batch.csv`` is the same as a table.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iconface_video.errors import Cancelled, IconFaceError, InputError, OutputError, notes_of
from iconface_video.files import write_whole
from iconface_video.session.clip import OnProgress
from iconface_video.session.fingerprint import hash_file, plain
from iconface_video.session.provenance import changes, other_releases
from iconface_video.session.run_report import RunReport
from iconface_video.video.output_plan import usual_suffix
from iconface_video.video.suffixes import VIDEO_SUFFIXES

RECORD, TABLE = "batch.json", "batch.csv"
_VERSION, _EARLIER_VERSION = 2, 1
_NOT_ENTERED = (".iconface-work", ".people")
"""Folders that this program makes beside videos."""
_MADE = ".restored"
"""Ends the stem of our outputs."""
_COLUMNS = ("input", "output", "state", "reason", "frames", "people", "faces", "faces_restored", "seconds", "notes")

State = Literal["waiting", "running", "planned", "restored", "skipped", "failed", "stopped"]


@dataclass(frozen=True)
class BatchJob:
    """One file's work."""

    input: Path
    output: Path
    """Wanted; the container (and with it the suffix) may have to change."""


@dataclass(eq=False)
class BatchRow:
    """What became of one file."""

    input: Path
    state: State = "waiting"
    output: Path | None = None
    reason: str = ""
    """Why it was skipped, why it is made again, why it failed."""
    seconds: float = 0.0
    report: RunReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "input": str(self.input),
            "output": None if self.output is None else str(self.output),
            "state": self.state,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "report": None if self.report is None else self.report.to_dict(),
        }


def find_inputs(patterns: Sequence[str], out: Path, known: Mapping[Path, str], *, recursive: bool = False) -> list[Path]:
    """Files named outright, those that match a pattern, and the videos in a folder, each once, in this order.

    recursive: folders below a folder, too (`count_below` says how many videos are left out otherwise).
    Outputs that lie in `out` are left out of folders and patterns. known: as for `name_jobs`.
    Raises InputError when nothing is found.
    """
    found: dict[Path, Path] = {}
    outputs = set(known.values())
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = _videos(_below(path) if recursive else sorted(path.iterdir()), out, outputs)
        else:
            matches = _videos([Path(name) for name in sorted(glob.glob(pattern, recursive=True))], out, outputs)
        if not matches:
            what = "no video in this folder" if path.is_dir() else "there is no such file, folder or match"
            raise InputError(f"{pattern}: {what}. Videos are files such as .mp4, .mkv, .mov, .avi; `**` matches folders below.")
        for match in matches:
            found.setdefault(match.resolve(), match)
    return list(found.values())


def count_below(folder: Path) -> int:
    """Videos in folders below a folder; those of hidden folders do not count."""
    return sum(path.parent != folder and path.suffix.lower() in VIDEO_SUFFIXES for path in _below(folder))


def _below(folder: Path) -> list[Path]:
    """All that lies in a folder and below it, but for hidden folders and work folders."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(_NOT_ENTERED))
        found += [Path(place) / name for name in sorted(files)]
    return found


def _videos(paths: Iterable[Path], out: Path, outputs: set[str]) -> list[Path]:
    return [
        path
        for path in paths
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
        and not (path.resolve().parent == out.resolve() and (path.stem in outputs or path.stem.endswith(_MADE)))
    ]


class BatchRecord:
    """``batch.json`` of an output folder."""

    def __init__(self, folder: Path) -> None:
        """Raises OutputError when it cannot be read."""
        self._path = folder / RECORD
        self._files: dict[str, dict[str, Any]] = {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["version"] == _EARLIER_VERSION:
                raise OutputError(
                    f"{self._path}: an earlier release wrote it, which knew files by parts of them only. Move it away: finished "
                    "outputs are then known by the mark in them."
                )
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']}")
            self._files = dict(content["files"])
        except FileNotFoundError:
            _check_table(folder / TABLE)
        except OutputError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self._path}: cannot be read ({error}). Move it away, or choose another folder.") from error

    def of(self, input: Path) -> dict[str, Any]:
        """What is known of a file: "output" (its name), "parts", "hash"; empty where nothing is."""
        return self._files.get(str(input.resolve()), {})

    def names(self) -> dict[Path, str]:
        """Input -> stem of its output, of all files that were ever given one."""
        return {Path(name): item["stem"] for name, item in self._files.items() if "stem" in item}

    def finish(self, job: BatchJob, row: BatchRow, parts: Mapping[str, Any]) -> None:
        """Note a finished output. Raises InputError when it cannot be read."""
        assert row.output is not None
        self._note(job, {"output": row.output.name, "parts": plain(parts), "hash": hash_file(row.output), "row": row.to_dict()})

    def note(self, job: BatchJob, row: BatchRow) -> None:
        """Note what became of a file, and leave what is known of its output."""
        self._note(job, {**self.of(job.input), "row": row.to_dict()})

    def _note(self, job: BatchJob, item: dict[str, Any]) -> None:
        self._files[str(job.input.resolve())] = {**item, "stem": Path(item.get("output") or job.output).stem}

    def write(self) -> None:
        """Raises OutputError."""
        text = json.dumps({"version": _VERSION, "files": self._files}, indent=1, ensure_ascii=False)
        _write(self._path, text)


def name_jobs(inputs: Sequence[Path], out: Path, known: Mapping[Path, str]) -> list[BatchJob]:
    """A name in `out` for each input, unlike all others and unlike any input: ``x.restored.mp4``, with the folder's name in
    front (``b-x.restored.mp4``) where that is taken, then with a number. The suffix is that of a run on its own.

    known: resolved input -> stem that it had in an earlier call, which it keeps.
    """
    files = {path.resolve() for path in inputs}
    taken = {_key(stem, path) for path, stem in known.items()}
    jobs = []
    for path in inputs:
        stem = known.get(path.resolve())
        if stem is None:
            stem = next(name for name in stems(path) if _key(name, path) not in taken and not _is_input(out, name, files))
            taken.add(_key(stem, path))
        jobs.append(BatchJob(path, out / (stem + usual_suffix(path))))
    return jobs


def _key(stem: str, input: Path) -> str:
    """Names of outputs that are one on some disks."""
    return (stem + usual_suffix(input)).casefold()


def stems(path: Path) -> Iterator[str]:
    """Names of an output without suffix, the likeliest first, without end."""
    base, parent = path.stem, path.resolve().parent.name
    yield base + _MADE
    if parent:
        yield f"{parent}-{base}{_MADE}"
    number = 2
    while True:
        yield f"{base}-{number}{_MADE}"
        number += 1


def _is_input(out: Path, stem: str, inputs: set[Path]) -> bool:
    return any(path.parent == out.resolve() and path.stem.casefold() == stem.casefold() for path in inputs)


@dataclass(frozen=True, eq=False)
class Decision:
    """Whether a file has to be worked on."""

    output: Path
    """Where it really goes."""
    reason: str
    is_finished: bool = False
    is_ours: bool = False
    """What stands there was made by this program: it may be replaced."""


def decide(
    output: Path, known: Mapping[str, Any], parts: Mapping[str, Any], made_with: Callable[[Path], list[str] | None]
) -> Decision:
    """Whether an output stands finished.

    known: of `BatchRecord.of`.  parts: what the output depends on, now.  made_with: asked about an output of which nothing is
    known; says how its own mark differs from what is wanted (empty: not at all), None where it has none.
    """
    if not output.exists():
        return Decision(output, "the output is gone" if known.get("parts") else "")
    if known.get("parts") and known.get("output") == output.name:
        if known["hash"] != hash_file(output):
            return Decision(output, "the output was changed since")
        changed = changes(known["parts"], parts)
        if not changed:
            releases = other_releases(known["parts"], parts)
            with_others = f", with other releases of libraries: {_listed(releases)}" if releases else ""
            return Decision(output, f"finished before{with_others}", is_finished=True, is_ours=True)
        return Decision(output, f"made again, what it depends on has changed: {_listed(changed)}", is_ours=True)
    changed_mark = made_with(output)
    if changed_mark is None:
        return Decision(output, "")
    if not changed_mark:
        return Decision(output, "finished before, as the mark in it says", is_finished=True, is_ours=True)
    return Decision(output, f"made again, the mark in it says otherwise: {_listed(changed_mark)}", is_ours=True)


def _listed(items: Sequence[str], most: int = 3) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


Restore = Callable[[BatchJob, Decision, OnProgress | None], RunReport]
"""Does one file's work."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Everything a batch needs to know before it begins."""

    out: Path
    jobs: tuple[BatchJob, ...]
    record: BatchRecord
    decide: Callable[[BatchJob], Decision]
    """May raise, as any file may be broken."""
    parts: Callable[[BatchJob], Mapping[str, Any]]
    restore: Restore | None
    """None: only say what would be done; nothing is written then, not even the record."""
    rows: list[BatchRow] = field(default_factory=list)

    def run(
        self,
        on_row: Callable[[int, BatchRow], None],
        on_progress: Callable[[int], OnProgress | None],
        clock: Callable[[], float],
    ) -> None:
        """All files in order; an error is the file's own affair, and the next one follows.

        on_row: told whenever a row changes.  Raises Cancelled on an interrupt or when `restore` raises it; what is finished
        is on record then, as it is after each file.
        """
        self.rows[:] = [BatchRow(job.input) for job in self.jobs]
        for index, (job, row) in enumerate(zip(self.jobs, self.rows)):
            begun = clock()
            row.state = "running"
            on_row(index, row)
            parts: Mapping[str, Any] = {}
            try:
                parts = self.parts(job)  # of the file as it is now: it may change while it is worked on
                self._one(job, row, on_progress(index))
            except (KeyboardInterrupt, Cancelled) as stop:
                row.state, row.seconds = "stopped", clock() - begun
                self._close(index, row, parts, on_row)
                raise Cancelled(self._stopped(stop)) from None
            except IconFaceError as error:
                row.state, row.reason = "failed", " ".join([str(error), *notes_of(error)])
            except Exception as error:
                row.state, row.reason = "failed", f"unexpected {type(error).__name__}: {error}"
            row.seconds = clock() - begun
            self._close(index, row, parts, on_row)

    def _one(self, job: BatchJob, row: BatchRow, on_progress: OnProgress | None) -> None:
        found = self.decide(job)
        row.output, row.reason = found.output, found.reason
        if found.is_finished:
            row.state = "skipped"
            return
        if self.restore is None:
            row.state = "planned"
            return
        row.report = self.restore(job, found, on_progress)
        row.output, row.state = row.report.output, "restored"

    def _close(self, index: int, row: BatchRow, parts: Mapping[str, Any], on_row: Callable[[int, BatchRow], None]) -> None:
        job = self.jobs[index]
        if self.restore is None:
            return on_row(index, row)
        if row.state == "restored":
            self.record.finish(job, row, parts)
        elif row.state != "skipped" or not self.record.of(job.input):
            self.record.note(job, row)
        self.record.write()
        write_table(self.out / TABLE, self.rows)
        on_row(index, row)

    def _stopped(self, stop: BaseException) -> str:
        done = sum(row.state in ("restored", "skipped") for row in self.rows)
        return ". ".join([f"stopped; {done} of {len(self.rows)} files are finished and stay in {self.out}", *notes_of(stop)])


def _check_table(path: Path) -> None:
    """Raises OutputError where a table of another make stands under the name of ours."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            is_ours = file.readline().strip() == ",".join(_COLUMNS)
    except FileNotFoundError:
        return
    if not is_ours:
        raise OutputError(
            f"{path}: no table of this program, and in the way of its own. Move it away, or choose another folder."
        )


def write_table(path: Path, rows: Sequence[BatchRow]) -> None:
    """``batch.csv``: one line a file. Raises OutputError."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in rows:
        report = row.report
        facts = {} if report is None else {
            "frames": report.frames, "people": report.people, "faces": report.faces, "faces_restored": report.faces_restored,
            "notes": " | ".join(report.notes),
        }  # fmt: skip
        base = {"input": row.input, "output": row.output or "", "state": row.state, "reason": row.reason}
        table.writerow({**base, "seconds": f"{row.seconds:.3f}", **facts})
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, lambda file: file.write(text.encode("utf-8")))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
