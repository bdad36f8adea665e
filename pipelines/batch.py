"""Many videos: a session for each, with the same networks (so one model, one pool of workers), skipping what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from iconface_video.configs import SettingsChoice
from iconface_video.errors import InputError, OutputError
from iconface_video.identity.grouping import ReferenceChoice
from iconface_video.identity.references import Embed
from iconface_video.lock import working_in
from iconface_video.pipelines.choosing import ChosenSettings, choose_settings
from iconface_video.pipelines.report import FaceObserver, check_page, page_of, write_page
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.checks import check_settings
from iconface_video.session.chosen_preset import ChosenPreset
from iconface_video.session.clip import OnProgress, ShouldStop, Watch
from iconface_video.session.clip_batch import (
    Batch,
    BatchJob,
    BatchRecord,
    BatchRow,
    Decision,
    decide,
    find_inputs,
    name_jobs,
    stems,
)
from iconface_video.session.clip_session import ClipRequest, ClipSession
from iconface_video.session.fingerprint import hash_file, read_restoration_marks
from iconface_video.session.networks import Networks
from iconface_video.session.people_folder import FILE, folder_of
from iconface_video.session.provenance import Provenance
from iconface_video.session.run_report import RunReport
from iconface_video.settings import RunSettings
from iconface_video.video.output_size import plan_enlarged
from iconface_video.video.probe import probe
from iconface_video.video.reader import VideoReader

OnRow = Callable[[int, BatchRow], None]
Part = Callable[[Path], tuple[Fraction | None, Fraction | None]]
"""Start and end, in seconds, of what is restored of a file; None: the file's own."""


@dataclass(frozen=True)
class BatchOptions:
    """What holds for every file."""

    settings: RunSettings | SettingsChoice
    """A choice that names no preset: each file is looked at, and gets the one that suits it."""
    references: ReferenceChoice
    part: Part = lambda path: (None, None)
    force: bool = False
    """Replace outputs that this program did not make, and make finished ones again."""
    keep_work: bool = False
    fresh: bool = False
    recursive: bool = False
    """Folders below the folders that are given, too."""
    apply_people: bool = False
    """Take the people.yaml that `find_people` wrote beside a video, where there is one."""
    pages: bool = False
    """Write a page about each file beside its output."""


def restore_batch(
    patterns: Sequence[str],
    out: Path,
    options: BatchOptions,
    *,
    model: FaceModel | None = None,
    embed: Embed | None = None,
    on_start: Callable[[Sequence[BatchJob]], None] = lambda jobs: None,
    on_row: OnRow = lambda index, row: None,
    on_progress: Callable[[int], OnProgress | None] = lambda index: None,
    should_stop: ShouldStop | None = None,
    dry_run: bool = False,
) -> list[BatchRow]:
    """Restore files, those that match patterns, and the videos of folders, into `out` (made where it is missing).

    dry_run: nothing is written or made; rows that would be worked on are "planned".
    on_start: told all files before the first is begun.  on_row: told when a file's state changes.  on_progress: gives the
    receiver of one file's progress.  Raises InputError (nothing found), OutputError (`out`), Cancelled. What goes wrong with
    one file stands in its row.
    """
    networks = Networks(model, embed=embed, keep_engine=True)
    if model is None:
        check_settings(options.settings if isinstance(options.settings, RunSettings) else options.settings.settings())
    if not dry_run:
        _make_folder(out)
    with nullcontext() if dry_run else working_in(out):  # two calls would lose each other's record
        record = BatchRecord(out)
        known = record.names()
        jobs = tuple(name_jobs(find_inputs(patterns, out, known, recursive=options.recursive), out, known))
        work = _Work(options, jobs, record, networks, should_stop)
        on_start(jobs)
        batch = Batch(out, jobs, record, work.decide, work.parts, None if dry_run else work.restore)
        try:
            batch.run(on_row, on_progress, time.perf_counter)
        finally:
            networks.close()
        return batch.rows


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made into a folder for the outputs ({error.strerror})") from error


class _Work:
    """What is done with one file; networks are loaded once, when the first file needs them."""

    def __init__(
        self,
        options: BatchOptions,
        jobs: Sequence[BatchJob],
        record: BatchRecord,
        networks: Networks,
        should_stop: ShouldStop | None,
    ) -> None:
        self._options, self._record = options, record
        self._inputs = {job.input.resolve() for job in jobs}
        self._owners = {_key(job.output): job.input for job in jobs}
        self._networks, self._should_stop = networks, should_stop
        self._chosen: dict[Path, ChosenSettings] = {}

    def _settings(self, job: BatchJob) -> ChosenSettings:
        """What was found of a file stays, unless the file has changed: else a finished output might be made again."""
        if job.input not in self._chosen:
            options, record = self._options, self._record.of(job.input)
            known, parts = (record.get("row") or {}).get("report") or {}, record.get("parts") or {}
            before = None
            if known.get("kind") and parts.get("input") == hash_file(job.input):
                before = ChosenPreset(known["preset"], known["kind"], known["looks_like"])
            self._chosen[job.input] = choose_settings(
                job.input, options.settings, job.output, fresh=options.fresh, known=before
            )
        return self._chosen[job.input]

    def decide(self, job: BatchJob) -> Decision:
        """Raises InputError, OutputError: no video, or something else's file in the way."""
        options = self._options
        target = self._target(job)
        if target.resolve() in self._inputs:
            raise OutputError(f"{target}: this is one of the inputs. Choose another folder with `output`.")
        known = self._record.of(job.input)
        decision = decide(target, known, self.parts(job), lambda path: self._mark_differences(job, path))
        if options.force and decision.is_finished:
            return Decision(target, "made again, as asked", is_ours=True)
        if target.exists() and not decision.is_ours and not options.force:
            raise OutputError(
                f"{target}: {decision.reason or 'is in the way, and no output of this batch'}. `force` replaces it."
            )
        return decision

    def _target(self, job: BatchJob) -> Path:
        """Where the output really goes: where another container is needed, its name may be another file's, and changes again."""
        chosen, folder = self._settings(job).settings, job.output.parent
        info = VideoReader(job.input, chosen.read).written
        plan = plan_enlarged(info, job.output, chosen.encode, chosen.render, force=True, folder_to_come=not folder.exists())
        names = (folder / f"{stem}{plan.path.suffix}" for stem in stems(job.input))
        target = next(path for path in chain([plan.path], names) if self._owners.get(_key(path), job.input) == job.input)
        self._owners[_key(target)] = job.input
        return target

    def parts(self, job: BatchJob) -> dict[str, Any]:
        """What an output depends on."""
        return {"input": hash_file(job.input), **self._provenance(job).output}

    def _provenance(self, job: BatchJob) -> Provenance:
        settings = self._settings(job).settings
        return Provenance(settings, settings, self._references(job), self._networks, *self._options.part(job.input))

    def _references(self, job: BatchJob) -> ReferenceChoice:
        file = folder_of(job.input) / FILE
        return (
            replace(self._options.references, file=file)
            if self._options.apply_people and file.is_file()
            else self._options.references
        )

    def restore(self, job: BatchJob, decision: Decision, on_progress: OnProgress | None) -> RunReport:
        options = self._options
        start, end = options.part(job.input)
        request = ClipRequest(
            job.input,
            decision.output,
            self._settings(job).settings,
            self._references(job),
            start,
            end,
            force=options.force or decision.is_ours,
            keep_work=options.keep_work,
            fresh=options.fresh,
            chosen=self._settings(job).preset,
        )
        observer = FaceObserver() if options.pages else None
        page = page_of(decision.output)
        if observer is not None:
            check_page(page, request.force)
        with ClipSession.open(request, self._networks, Watch(on_progress, self._should_stop)) as session:
            done = session.render(observer)
        if observer is not None:
            write_page(page, done, observer, request.settings)
        return done

    def _mark_differences(self, job: BatchJob, output: Path) -> list[str] | None:
        """How an output's own mark differs from what is wanted; None where it has no mark, or is no video."""
        try:
            marks = read_restoration_marks(probe(output).metadata)
        except InputError:
            return None
        return self._provenance(job).mark_differences(marks[-1]) if marks else None


def _key(path: Path) -> str:
    """One for names that are the same file on some disks."""
    return str(path).casefold()
