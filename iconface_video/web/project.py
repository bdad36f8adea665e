"""One project at work: its jobs, and all that the page is told of it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from iconface_video.errors import IconFaceError, InputError, UsageError
from iconface_video.files import hash_file
from iconface_video.identity.people_summary import clip_seconds
from iconface_video.pipelines.choosing import choose_settings
from iconface_video.tracking.store import save_survey
from iconface_video.video.probe import probe
from iconface_video.web import results
from iconface_video.web.engine import check_machine
from iconface_video.web.jobs import Job, Kind, Status
from iconface_video.web.kept import FACES, PREVIEW, RESULTS, SURVEY, WORK
from iconface_video.web.people import regrouped, take_over
from iconface_video.web.record import Options, Todo
from iconface_video.web.remembering import forget, memory_of_previews, memory_of_run
from iconface_video.web.requests import sentence
from iconface_video.web.results import Result, with_saved
from iconface_video.web.saving import Saved, checked_folder, save_into
from iconface_video.web.telling import ToldProject
from iconface_video.web.versions import check_overlap, make_versions
from iconface_video.web.work import (
    Pace,
    PreviewKind,
    Wanted,
    holds_fields,
    learnt_pace,
    look_for_people,
    make_preview,
    make_result,
    make_sides,
    measure_pace,
)

_log = logging.getLogger(__name__)


class Project(ToldProject):
    """Methods may be called from any thread."""

    def choose(self, values: dict[str, Any]) -> None:
        """Other settings. Where they find faces otherwise, the clip is looked through again. Raises UsageError."""
        with self._lock:
            if (before := self._take(values)) is not None:
                self._look(before)

    def run_with(self, values: dict[str, Any]) -> None:
        """Restore with other settings, after another look for people where they need one. Raises UsageError, also where nobody is."""
        with self._lock:
            self.must_be_surveyed("The video cannot be restored")
            if (before := self._take(values)) is not None:
                self._look(before, then_run=True)
            elif not self.people:
                raise UsageError("no face was found in it; look harder for small or dim faces first")
            else:
                self.start_run()

    def _take(self, values: dict[str, Any]) -> Options | None:
        """Other settings. Where they find faces otherwise, those before: then the record is written with the job that looks anew."""
        self.must_be_idle("Settings cannot be changed")
        before, after = self.options, self.options.changed(values)
        if (before.device, before.workers) != (after.device, after.workers):
            check_machine(after.settings)
        if after.folder != before.folder:
            after = replace(after, folder=checked_folder(after.folder, self.folder.parent))
        self.record.options, self.record.failed_options = after, None
        self.record.may_choose = self.record.may_choose and "preset" not in values
        one, other = before.settings, after.settings
        if (one.survey, one.read, one.anchors) != (other.survey, other.read, other.anchors):
            return before
        self.save()
        return None

    def _look(self, before: Options | None = None, *, then_run: bool = False) -> None:
        kind: Kind = "run" if then_run else "survey"
        act = self._survey_and_run if then_run else self._look_for_people
        self._start(kind, act, todo=Todo("survey", self._next_number(), then_run, before))

    def look_again(self) -> None:
        """Start the survey that was cancelled or that failed."""
        with self._lock:
            self.must_be_idle("The clip cannot be looked through")
            self._look()

    def start_preview(self, kind: PreviewKind, seconds: float) -> None:
        with self._lock:
            found = self.must_be_surveyed("A preview cannot be made")
            pts, wanted = self.pts_at(seconds, found.info), self._wanted(found)
            self._start("preview", lambda job: self._preview(job, wanted, kind, pts))

    def start_run(self) -> None:
        with self._lock:
            found = self.must_be_surveyed("The video cannot be restored")
            wanted, about = self._wanted(found), self.estimate()
            self._start("run", lambda job: self._run(job, wanted), {} if about is None else about.stages)

    def start_sides(self, number: str) -> None:
        """Before and after in one film."""
        with self._lock:
            found, result = self.must_be_surveyed("The film cannot be made"), self.result(number)
            part = Options(begin=result.recipe["part"][0], end=result.recipe["part"][1]).part
            self._start("sides", lambda job: make_sides(found.info, result, part, job))

    def start_versions(self, number: str, other: str) -> None:
        """Two results in one film."""
        with self._lock:
            found = self.must_be_surveyed("The film cannot be made")
            result, against = self.result(number), self.result(other)
            if result is against:
                raise UsageError("this is the same result; choose another one to compare with")
            check_overlap(result, against)
            self._start("versions", lambda job: make_versions(found.info, result, against, job))

    def start_save(self, number: str) -> None:
        """A result into the folder that is chosen now."""
        with self._lock:
            self.must_be_surveyed("The video cannot be saved")
            result, folder = self.result(number), self.options.folder
            if not folder:
                raise UsageError("no folder is chosen to save it in; name one first")
            self._start("save", lambda job: self._save_result(job, result, folder))

    def again(self) -> None:
        """What failed last."""
        with self._lock:
            kind, wanted = self.record.failed_kind, self.record.failed_options
            if kind == "run":
                self.start_run()
            elif wanted is not None:
                self.must_be_idle("The clip cannot be looked through")
                before, self.record.options = self.options, wanted
                self._look(before)
            elif kind == "survey" or self.survey is None:
                self.look_again()
            else:
                raise UsageError("nothing has failed that could be tried again")

    def go_on(self) -> None:
        """With what the server was stopped in."""
        todo = self.record.todo
        if todo is None:
            return
        self.open()
        self.note(f"going on after the program was stopped: {todo.kind}")
        if todo.kind == "run" and self.survey is not None:
            self.start_run()
        elif todo.then_run:
            self._look(then_run=True)
        else:
            self.look_again()

    def keep_person(self, index: int) -> list[str]:
        """The photos of a person, for other videos, too; what is to be known of it. Raises what `add_person` raises."""
        person = self.person(index)
        if not person.name or not person.photos:
            raise UsageError("whoever is to be kept needs a name and at least one photo")
        notes = self.engine.keep(person.name, [photo.reference.path for photo in person.photos])
        return [sentence(UsageError(note), self.folder) for note in notes]

    def cancel(self) -> None:
        if self.job is not None and self.job.is_active:
            self.job.cancel()

    # Jobs ------------------------------------------------------------------------------------------------------------

    def _start(
        self, kind: Kind, act: Callable[[Job], None], expected: Mapping[str, float] | None = None, todo: Todo | None = None
    ) -> None:
        """todo: what is noted as still to be done; a survey or a run itself where nothing else is said."""
        if kind in ("survey", "run"):
            wanted, old = todo or Todo(kind, self._next_number()), self.record.todo
            self.record.todo = wanted if old is None else replace(wanted, number=old.number, before=old.before)
        self.record.failed_kind, self.record.failed, self.record.failed_options = None, "", None
        self.save()

        def checked(job: Job) -> None:
            self.note(f"{kind}: begins")
            trouble = self.trouble()
            if trouble:
                raise InputError(trouble)
            act(job)

        self.job = self.queue.submit(Job(kind, checked, self._explain, self._ended, expected or {}))

    def _ended(self, job: Job, status: Status) -> None:
        for note in job.notes:
            self.note(f"{job.kind}: {note}")
        self.note(f"{job.kind}: {status}{f': {job.error}' if job.error else ''}")
        with self._lock:
            if job.kind in ("survey", "run"):
                todo, self.record.todo = self.record.todo, None
                reached = job.kind if todo is None else todo.kind
                self.record.failed_kind, self.record.failed = (reached, job.error) if status == "failed" else (None, "")
                if status != "done" and todo is not None:
                    self._take_back(todo, status)
            if status == "cancelled":
                shutil.rmtree(self.folder / RESULTS / results.UNFINISHED, ignore_errors=True)
            if self.folder.is_dir():
                self.save()

    def _take_back(self, todo: Todo, status: Status) -> None:
        """What asked for another survey that did not come to its end: the survey that stands was made with the options before."""
        if todo.kind == "survey" and todo.before is not None and self.survey is not None:
            self.record.failed_options = self.options if status == "failed" else None
            self.record.options = todo.before
            self.note("the settings before are back: the people are those that were found with them")

    def _explain(self, error: BaseException) -> str:
        if not isinstance(error, IconFaceError):
            _log.error("a job of the page failed", exc_info=error)
            self.note(f"unexpected {type(error).__name__}: {error}")
        return sentence(error, self.folder)

    def _look_for_people(self, job: Job) -> None:
        self._choose_preset(job)
        settings = self.options.settings
        info = self.info = probe(self.clip_path)
        is_interlaced = holds_fields(info)
        found, people, pictures = look_for_people(info, settings, self.engine, job)
        job.step("estimate", 0, None)
        pace = measure_pace(info, found, settings, self.engine)
        identity = hash_file(self.clip_path)
        with self._lock:
            job.check()
            save_survey(regrouped(found, people), self.folder / SURVEY)
            shutil.rmtree(self.folder / FACES, ignore_errors=True)  # tracks of another survey have the same numbers
            (self.folder / FACES).mkdir()
            for number, picture in pictures.items():
                self.face(number).write_bytes(picture)
            take_over(self.people, people)
            self.survey, self.people = found, people
            self.record.pace = pace.to_dict()
            self.record.clip = replace(
                self.record.clip, identity=identity, seconds=clip_seconds(found), is_interlaced=is_interlaced
            )
            self.save()

    def _survey_and_run(self, job: Job) -> None:
        """As `run_with` asked for it. After a pause in its second half the first one is not done again."""
        todo = self.record.todo
        if todo is not None and todo.kind == "survey":
            self._look_for_people(job)
            with self._lock:
                self.record.todo = Todo("run", todo.number)
                self.save()
        assert self.survey is not None
        about = self.estimate()
        job.expected = {} if about is None else about.stages
        self._run(job, self._wanted(self.survey))

    def _choose_preset(self, job: Job) -> None:
        """By looking at the recording, once, as `run` does; not where the user has named one."""
        if not self.record.may_choose:
            return
        job.step("kind", 0, None)
        found = choose_settings(self.clip_path, fresh=True).preset
        job.check()
        with self._lock:
            self.record.may_choose = False
            if found is not None:
                self.record.looked, self.record.options = found, replace(self.options, preset=found.name)
                self.note(found.sentence)
            self.save()

    def _preview(self, job: Job, wanted: Wanted, kind: PreviewKind, pts: int) -> None:
        self.preview = None
        memory = memory_of_previews(self.folder)
        self.preview = make_preview(wanted, kind, pts, self.folder / PREVIEW, self.engine, job, memory)

    def _run(self, job: Job, wanted: Wanted) -> None:
        unfinished, memory = self.folder / RESULTS / results.UNFINISHED, memory_of_run(self.folder)
        self.record.kept_with = self.record.kept_with if self._are_kept(wanted) else None
        result = make_result(wanted, unfinished, self.folder / WORK, self.engine, job, memory)
        forget(self.folder)
        self._note_saved(result)
        with self._lock:
            self.results.append(result)
            self.record.kept_with = dict(wanted.recipe)
            if memory.taken:
                self.note(f"run: {memory.taken} faces were there from previews and from runs that were stopped")
            elif self.record.pace and (pace := learnt_pace(Pace.of(self.record.pace), result, job.expected)):
                self.record.pace = pace.to_dict()
                self.engine.learn_pace(wanted.settings, pace.face_seconds)
                self._estimate = None

    def _save_result(self, job: Job, result: Result, folder: str) -> None:
        path = save_into(Path(folder), result.report.output, self.id, job.step_in_bytes)
        with self._lock:
            saved = with_saved(result, Saved(str(path)))
            self.results = [saved if item is result else item for item in self.results]
        self._note_saved(saved)

    def _note_saved(self, result: Result) -> None:
        """In the log."""
        if result.saved.path:
            self.note(f"saved as {result.saved.path}")
        elif result.saved.error:
            self.note(f"not saved in the chosen folder: {result.saved.error}")
