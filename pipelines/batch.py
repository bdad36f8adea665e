"""Many videos: `restore_video` for each, through one engine (so one model, one crew of workers), skipping what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from iconface_video import __version__
from iconface_video.errors import InputError, OutputError
from iconface_video.identity.references import Embed
from iconface_video.lock import working_in
from iconface_video.pipelines.restore import ReferenceChoice, restore_video
from iconface_video.pipelines.survey import load_embedder
from iconface_video.restore.model import FaceModel
from iconface_video.run.batch import Batch, BatchJob, BatchRecord, BatchRow, Decision, decide, find_inputs, name_jobs
from iconface_video.run.engines.choose import make_engine
from iconface_video.run.engines.engine import Engine
from iconface_video.run.fingerprint import differences, hash_file, hash_folder
from iconface_video.run.progress import OnProgress, ShouldStop
from iconface_video.run.provenance import read_restoration_marks
from iconface_video.run.report import RunReport
from iconface_video.settings import RunSettings
from iconface_video.video.output_plan import plan_output
from iconface_video.video.probe import probe

OnRow = Callable[[int, BatchRow], None]
Part = Callable[[Path], tuple[Fraction | None, Fraction | None]]
"""Start and end, in seconds, of what is restored of a file; None: the file's own."""


@dataclass(frozen=True)
class BatchOptions:
    """What holds for every file."""

    settings: RunSettings
    references: ReferenceChoice
    part: Part = lambda path: (None, None)
    force: bool = False
    """Replace outputs that this program did not make, and make finished ones again."""
    keep_work: bool = False
    fresh: bool = False


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
) -> list[BatchRow]:
    """Restore files, those that match patterns, and the videos of folders, into `out` (made where it is missing).

    on_start: told all files before the first is begun.  on_row: told when a file's state changes.  on_progress: gives the
    receiver of one file's progress.  Raises InputError (nothing found), OutputError (`out`), Cancelled. What goes wrong with
    one file stands in its row.
    """
    _make_folder(out)
    with working_in(out):  # two calls would lose each other's record
        record = BatchRecord(out)
        known = record.names()
        jobs = tuple(name_jobs(find_inputs(patterns, out, known), out, known))
        work = _Work(options, {job.input.resolve() for job in jobs}, record, model, embed, should_stop)
        on_start(jobs)
        batch = Batch(out, jobs, record, work.decide, work.parts, work.restore)
        try:
            batch.run(on_row, on_progress, time.perf_counter)
        finally:
            work.close()
        return batch.rows


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made into a folder for the outputs ({error.strerror})") from error


class _Work:
    """What is done with one file; what several files need is loaded once, when the first one needs it."""

    def __init__(
        self,
        options: BatchOptions,
        inputs: set[Path],
        record: BatchRecord,
        model: FaceModel | None,
        embed: Embed | None,
        should_stop: ShouldStop | None,
    ) -> None:
        self._options, self._inputs, self._record = options, inputs, record
        self._model, self._embed, self._should_stop = model, embed, should_stop
        self._photos = _photo_parts(options.references)
        self._engine: Engine | None = None

    def close(self) -> None:
        """Let workers go."""
        if self._engine is not None:
            self._engine.close()

    def decide(self, job: BatchJob) -> Decision:
        """Raises InputError, OutputError: no video, or something else's file in the way."""
        options = self._options
        target = plan_output(probe(job.input), job.output, options.settings.encode, force=True).path
        if target.resolve() in self._inputs:
            raise OutputError(f"{target}: this is one of the inputs. Choose another folder with --output.")
        known = self._record.of(job.input)
        decision = decide(target, known, self.parts(job), self._mark_differences)
        if options.force and decision.is_finished:
            return Decision(target, "made again, as asked", is_ours=True)
        if target.exists() and not decision.is_ours and not options.force:
            raise OutputError(
                f"{target}: {decision.reason or 'is in the way, and no output of this batch'}. --force replaces it."
            )
        return decision

    def parts(self, job: BatchJob) -> dict[str, Any]:
        """What an output depends on."""
        start, end = self._options.part(job.input)
        settings = asdict(self._options.settings)
        settings.pop("engine", None)  # who does the work changes nothing in the result
        return {
            "input": hash_file(job.input),
            "settings": settings,
            "photos": self._photos,
            "stretch": [None if moment is None else str(moment) for moment in (start, end)],
            "version": __version__,
        }

    def restore(self, job: BatchJob, decision: Decision, on_progress: OnProgress | None) -> RunReport:
        options = self._options
        start, end = options.part(job.input)
        if self._needs_model and self._model is None and self._engine is None:
            self._engine = make_engine(options.settings)
        if self._needs_model and self._embed is None:
            self._embed = load_embedder()
        return restore_video(
            job.input,
            decision.output,
            settings=options.settings,
            references=options.references,
            start=start,
            end=end,
            force=options.force or decision.is_ours,
            keep_work=options.keep_work,
            fresh=options.fresh,
            model=self._model,
            engine=self._engine,
            embed=self._embed,
            on_progress=on_progress,
            should_stop=self._should_stop,
        )

    @property
    def _needs_model(self) -> bool:
        return self._options.settings.render.strength > 0 or bool(self._options.references)

    def _mark_differences(self, output: Path) -> list[str] | None:
        """How an output's own mark differs from what is wanted; None where it has no mark, or is no video."""
        try:
            marks = read_restoration_marks(probe(output).metadata)
        except InputError:
            return None
        if not marks:
            return None
        restore = self._options.settings.restore
        wanted: dict[str, Any] = {
            "version": __version__, "seed": restore.seed, "steps": restore.steps, "start_sigma": restore.start_sigma,
            "noise": restore.noise, **asdict(self._options.settings.render),
        }  # fmt: skip
        return differences({name: marks[-1].get(name) for name in wanted}, wanted)


def _photo_parts(references: ReferenceChoice) -> Mapping[str, Any]:
    """Raises InputError for a photo that cannot be read."""
    shown = [[path.name, hash_file(path)] for path in references.photos]
    known = [[name, hash_folder(path) if path.is_dir() else hash_file(path)] for name, path in references.people]
    return {"shown": shown, "known": known, "file": None if references.file is None else hash_file(references.file)}
