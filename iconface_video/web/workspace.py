"""One open page's work: its clip, the people in it, what was decided, previews and the result; all files in one folder."""

from __future__ import annotations

import filecmp
import logging
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from iconface_video.configs import DEFAULTS, load_preset, preset_names
from iconface_video.errors import IconFaceError, UsageError
from iconface_video.session.clip import to_display
from iconface_video.settings import RunSettings, nearest
from iconface_video.types import Survey, VideoInfo
from iconface_video.video.pictures import jpeg
from iconface_video.video.random_access import RandomAccess
from iconface_video.web.engine import Engine
from iconface_video.web.facts import clip_facts, preview_facts, result_facts
from iconface_video.web.jobs import Job, JobQueue, Kind
from iconface_video.web.people import Person, Photo, decided_people, describe_photo, take_over
from iconface_video.web.requests import sentence
from iconface_video.web.viewing import fitted
from iconface_video.web.work import Preview, PreviewKind, Result, Wanted, look_for_people, make_preview, make_result

_log = logging.getLogger(__name__)

_MOST_PHOTOS = 24
_NAME_LENGTH = 60
_WORK = "work"
"""What was restored of the clip, in the page's folder."""


@dataclass(eq=False)
class Workspace:
    """What one page does. Methods may be called from any thread."""

    token: str
    folder: Path
    queue: JobQueue
    engine: Engine
    clip: VideoInfo | None = None
    clip_bytes: int = 0
    survey: Survey | None = None
    people: list[Person] = field(default_factory=list)
    preset: str = DEFAULTS.name
    job: Job | None = None
    preview: Preview | None = None
    result: Result | None = None

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._frames_lock = threading.Lock()
        self._frames: RandomAccess | None = None
        self._numbers = count(1)
        self._uploads = 0
        self.touched = time.monotonic()
        self.folder.mkdir(parents=True)

    def touch(self) -> None:
        """The page was heard of."""
        self.touched = time.monotonic()

    @property
    def is_busy(self) -> bool:
        return self.job is not None and self.job.is_active

    @property
    def is_in_use(self) -> bool:
        """Whether there is work, or a file comes in (which may take longer than a closed page's files are kept)."""
        return self.is_busy or self._uploads > 0

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """While a file comes in."""
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1
            self.touch()

    @property
    def settings(self) -> RunSettings:
        return load_preset(self.preset).settings()

    def upload_path(self, name: str) -> Path:
        """Where a file that comes in is written: a folder of its own."""
        folder = self.folder / f"upload-{next(self._numbers):04d}"
        folder.mkdir()
        return folder / name

    def close(self, patience_seconds: float = 10.0) -> None:
        """Stop its job, waiting for it only so long, and remove all its files."""
        job = self.job
        if job is not None and job.is_active:
            job.cancel()
            self.queue.wait(job, patience_seconds)
        self._close_frames()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What the user decides -------------------------------------------------------------------------------------------

    def take_clip(self, info: VideoInfo) -> None:
        """A checked upload becomes the page's clip; whatever belonged to another one goes."""
        with self._lock:
            self.must_be_idle("Another clip cannot be taken")
            old = self.clip
            self._close_frames()
            for photo in [photo for person in self.people for photo in person.photos]:
                shutil.rmtree(photo.reference.path.parent, ignore_errors=True)
            self.clip, self.clip_bytes, self.survey, self.people = info, info.path.stat().st_size, None, []
            self._forget_preview()
            self._forget_result()
            shutil.rmtree(self.folder / _WORK, ignore_errors=True)
            if old is not None:
                shutil.rmtree(old.path.parent, ignore_errors=True)
            self._start("survey", self._look_for_people)

    def look_again(self) -> None:
        """Start the survey that was cancelled or that failed. Raises UsageError where there is no clip."""
        with self._lock:
            self.must_be_idle("The clip cannot be looked through")
            if self.clip is None:
                raise UsageError("there is no clip yet; add one first")
            self._start("survey", self._look_for_people)

    def choose_preset(self, name: str) -> None:
        """Raises UsageError for an unknown one. Where it finds faces otherwise, the clip is looked through again."""
        known = (DEFAULTS.name, *preset_names())
        if name not in known:  # also a path to a file of this machine
            raise UsageError(f"there is no preset '{name[:40]}'.{nearest(name, known)}")
        with self._lock:
            self.must_be_idle("The preset cannot be changed")
            before, self.preset = self.settings, name
            after = self.settings
            if (before.restore, before.anchors) != (after.restore, after.anchors):
                self._forget_preview()
            if self.clip is not None and (before.survey, before.read, before.anchors) != (
                after.survey, after.read, after.anchors,
            ):  # fmt: skip
                self._forget_preview()
                self._start("survey", self._look_for_people)

    def person(self, index: int) -> Person:
        """Raises UsageError where there is no such person."""
        with self._lock:
            if not 0 <= index < len(self.people):
                raise UsageError(f"there is no person {index + 1} in this clip; {len(self.people)} were found")
            return self.people[index]

    def change_person(self, index: int, name: str | None, skip: bool | None) -> None:
        with self._lock:
            self.must_be_idle("People cannot be changed")
            person = self.person(index)
            if name is not None:
                person.name = self._free_name(person, " ".join(name.split())[:_NAME_LENGTH])
            if skip is not None:
                person.skip = skip
                self._forget_preview()

    def _free_name(self, person: Person, name: str) -> str:
        """Raises UsageError where somebody else has that name: photos and reports would not know who is meant."""
        other = next(
            (one for one in self.people if one is not person and name and one.name.casefold() == name.casefold()), None
        )
        if other is not None:
            raise UsageError(f"person {other.index + 1} is called {other.name} already; give them names that differ")
        return name

    def add_photo(self, index: int, path: Path) -> Photo:
        """Raises ReferencePhotoError, and removes the file, where the photo cannot be used."""
        person = self.person(index)
        if len(person.photos) >= _MOST_PHOTOS:
            raise UsageError(f"{_MOST_PHOTOS} photos of one person are enough; remove one first")
        twin = next((one for one in person.photos if filecmp.cmp(one.reference.path, path, shallow=False)), None)
        if twin is not None:
            raise UsageError(f"{path.name}: this photo is there already, as {twin.reference.path.name}")
        reference = self.engine.read_reference(path)
        with self._lock:
            self.must_be_idle("Photos cannot be added")
            if person not in self.people:
                raise UsageError("the people were looked for again meanwhile; drop the photo once more")
            photo = describe_photo(reference, person, self.people, self.settings.anchors)
            person.photos.append(photo)
            self._forget_preview()
            return photo

    def photo(self, index: int, photo_id: str) -> Photo:
        found = next((item for item in self.person(index).photos if item.id == photo_id), None)
        if found is None:
            raise UsageError("there is no such photo any more")
        return found

    def remove_photo(self, index: int, photo_id: str) -> None:
        with self._lock:
            self.must_be_idle("Photos cannot be removed")
            photo = self.photo(index, photo_id)
            self.person(index).photos.remove(photo)
            self._forget_preview()
            shutil.rmtree(photo.reference.path.parent, ignore_errors=True)

    # Work ------------------------------------------------------------------------------------------------------------

    def start_preview(self, kind: PreviewKind, seconds: float) -> None:
        with self._lock:
            found = self._must_be_surveyed("A preview cannot be made")
            pts = self._pts_at(seconds, found.info)
            wanted = Wanted(decided_people(found, self.people), self.settings)
            self._start("preview", lambda job: self._preview(job, wanted, kind, pts))

    def start_run(self, strength: float) -> None:
        """Raises UsageError for a strength out of range."""
        settings = load_preset(self.preset).settings({"render": {"strength": strength}})
        with self._lock:
            found = self._must_be_surveyed("The video cannot be restored")
            wanted = Wanted(decided_people(found, self.people), settings)
            preset = self.preset
            self._start("run", lambda job: self._run(job, wanted, preset))

    def cancel(self) -> None:
        if self.job is not None and self.job.is_active:
            self.job.cancel()

    def frame(self, seconds: float) -> bytes:
        """JPEG of the frame that is shown at a time (seconds after the first frame)."""
        info = self.clip
        if info is None:
            raise UsageError("there is no clip yet; add one first")
        pts = self._pts_at(seconds, info)
        with self._frames_lock:
            self._frames = self._frames or RandomAccess(info.path, self.settings.read, allow_decord=False)
            picture = self._frames.frame_at(pts)
        return jpeg(fitted(to_display(picture.rgb, info.display_size, info.rotation, info.is_mirrored)))

    # For the page ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that the page shows, as plain values."""
        with self._lock:
            job = self.job
            return {
                "clip": None if self.clip is None else clip_facts(self.clip, self.clip_bytes, self.survey),
                "people": None if self.survey is None else [person.to_dict() for person in self.people],
                "preset": self.preset,
                "job": None if job is None else {**job.snapshot(self.queue.ahead_of(job)), "notes": job.notes},
                "preview": None if self.preview is None else preview_facts(self.preview),
                "result": None if self.result is None else result_facts(self.result),
            }

    # Jobs ------------------------------------------------------------------------------------------------------------

    def _start(self, kind: Kind, act: Callable[[Job], None]) -> None:
        self.job = self.queue.submit(Job(kind, act, self._explain))

    def _explain(self, error: BaseException) -> str:
        if not isinstance(error, IconFaceError):
            _log.error("a job of the page failed", exc_info=error)
        return sentence(error, self.folder)

    def _look_for_people(self, job: Job) -> None:
        info = self.clip
        assert info is not None
        found, people = look_for_people(info, self.settings, self.engine, job)
        with self._lock:
            job.check()
            take_over(self.people, people)
            self.survey, self.people = found, people

    def _preview(self, job: Job, wanted: Wanted, kind: PreviewKind, pts: int) -> None:
        with self._job_folder() as folder:
            preview = make_preview(wanted, kind, pts, folder, self.engine, job)
            with self._lock:
                job.check()
                self._forget_preview()
                self.preview = preview

    def _run(self, job: Job, wanted: Wanted, preset: str) -> None:
        with self._job_folder() as folder:
            result = make_result(wanted, preset, folder, self.folder / _WORK, self.engine, job)
            with self._lock:
                job.check()
                self._forget_result()
                self.result = result

    @contextmanager
    def _job_folder(self) -> Iterator[Path]:
        """Removed unless the job ends well."""
        folder = self.folder / f"job-{next(self._numbers):04d}"
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    # Odds and ends ---------------------------------------------------------------------------------------------------

    def must_be_idle(self, what: str) -> None:
        if self.is_busy:
            raise UsageError(f"{what} while work is going on; wait for it or cancel it first")

    def _must_be_surveyed(self, what: str) -> Survey:
        self.must_be_idle(what)
        if self.survey is None:
            raise UsageError(f"{what} before the clip has been looked through; add a clip first")
        return self.survey

    def _pts_at(self, seconds: float, info: VideoInfo) -> int:
        """Ticks of the frame shown at a time, within the clip."""
        if not 0 <= seconds < 10**9:
            raise UsageError(f"{seconds} is no time within the clip")
        pts = info.first_pts + int(seconds / float(info.time_base) + 1e-6)
        return pts if self.survey is None else min(pts, self.survey.last_pts)

    def _close_frames(self) -> None:
        with self._frames_lock:
            if self._frames is not None:
                self._frames.close()
            self._frames = None

    def _forget_preview(self) -> None:
        if self.preview is not None:
            shutil.rmtree(self.preview.folder, ignore_errors=True)
        self.preview = None

    def _forget_result(self) -> None:
        if self.result is not None:
            shutil.rmtree(self.result.folder, ignore_errors=True)
        self.result = None
