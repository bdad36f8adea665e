"""What of a project stands in its folder and outlives the server: the clip, the people in it, photos, what was decided, results."""

from __future__ import annotations

import filecmp
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from iconface_video.errors import IconFaceError, InputError, StoreError, UsageError
from iconface_video.files import FileState, hash_file, write_whole
from iconface_video.session.clip import to_display
from iconface_video.settings import ReadSettings
from iconface_video.tracking.store import load_survey
from iconface_video.types import Survey, VideoInfo
from iconface_video.video.pictures import jpeg
from iconface_video.video.probe import probe
from iconface_video.video.random_access import RandomAccess
from iconface_video.web import results
from iconface_video.web.engine import Engine
from iconface_video.web.jobs import Job, JobQueue
from iconface_video.web.people import Person, PersonChange, apply_change, look_at, moved, people_of, people_record
from iconface_video.web.photos import Photo, describe_photo, load_photos, save_face
from iconface_video.web.record import Options, Record
from iconface_video.web.requests import sentence
from iconface_video.web.results import Preview, Result, load_preview, load_results
from iconface_video.web.versions import film_of
from iconface_video.web.viewing import fitted

_MOST_PHOTOS = 24
_NAME_LENGTH = 80
SURVEY, FACES, PREVIEW, RESULTS, WORK = "survey", "faces", "preview", "results", "work"
_PHOTOS, _LOG, _POSTER = "photos", "log.txt", "poster.jpg"
_POSTER_SECONDS = 1.0


class KeptProject:
    """What of a project is kept and decided; `Project` works on it. Methods may be called from any thread."""

    def __init__(self, folder: Path, record: Record, queue: JobQueue, engine: Engine, next_number: Callable[[], int]) -> None:
        """next_number: for the order in which jobs were asked for."""
        self.folder, self.record, self.queue, self.engine = folder, record, queue, engine
        self._next_number = next_number
        self._lock = threading.RLock()
        self._frames_lock = threading.Lock()
        self._frames: RandomAccess | None = None
        self._frames_read: ReadSettings | None = None
        self._is_open = False
        self._warnings: list[str] = []
        self.job: Job | None = None
        self.info: VideoInfo | None = None
        self.survey: Survey | None = None
        self.people: list[Person] = []
        self.preview: Preview | None = None
        self.results: list[Result] = []

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def clip_path(self) -> Path:
        return self.folder / self.record.clip.path

    @property
    def options(self) -> Options:
        return self.record.options

    @property
    def is_busy(self) -> bool:
        return self.job is not None and self.job.is_active

    # From and to the disk --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Read what the folder holds, once. What cannot be read is said in the snapshot, and nothing is touched."""
        with self._lock:
            if self._is_open:
                return
            self._is_open = True
            self.results = load_results(self.folder / RESULTS)
            self.preview = load_preview(self.folder / PREVIEW)
            if self.record.people is not None:
                self._open_survey(self.record)
            if self.info is None and not self.trouble():
                try:
                    self.info = probe(self.clip_path)
                except IconFaceError as error:
                    self._warnings.append(sentence(error, self.folder))

    def _open_survey(self, record: Record) -> None:
        try:
            found = load_survey(self.folder / SURVEY)
        except StoreError as error:
            self._warnings.append(f"{sentence(error, self.folder)} Look for people once more.")
            return
        known = {track.track_id for track in found.tracks}
        listed = [item for item in record.people or [] if set(item.tracks) <= known]
        photos, lost = load_photos(self.folder / _PHOTOS, [photo for item in listed for photo in item.photos])
        self.info = replace(found.info, path=self.clip_path)
        self.survey = replace(found, info=self.info)
        self.people = people_of(listed, photos)
        look_at(self.people, self.survey, self.options.settings.anchors)
        self._warnings += lost

    def save(self) -> None:
        with self._lock:
            if self.survey is not None:
                self.record.people = people_record(self.people)
            self.record.write(self.folder)

    def note(self, text: str) -> None:
        """A line in the project's log."""
        try:
            with open(self.folder / _LOG, "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")
        except OSError:
            pass  # the work matters more

    def log(self) -> str:
        path = self.folder / _LOG
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def trouble(self) -> str:
        """What is wrong with the clip's file; empty: it is as it was."""
        path, known = self.clip_path, self.record.clip
        try:
            state = FileState.of(path)
        except OSError:
            return f"{path}: the video is not there any more. Put it back, or say where it is now."
        if (state.size, state.modified_ns) == (known.bytes, known.modified_ns):
            return ""
        if state.size == known.bytes and known.identity:
            try:
                if hash_file(path) == known.identity:  # only touched, or copied back
                    self.record.clip = replace(known, modified_ns=state.modified_ns)
                    self.save()
                    return ""
            except InputError as error:
                return str(error)
        return f"{path}: the video has been changed since it was added. Put the earlier one back, or add this one anew."

    def close(self, patience_seconds: float = 10.0) -> None:
        """Stop its job, waiting for it only so long."""
        job = self.job
        if job is not None and job.is_active:
            job.cancel()
            self.queue.wait(job, patience_seconds)
        self._close_frames()

    def remove(self) -> None:
        """With all its files; a clip that lies elsewhere stays."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What the user decides -------------------------------------------------------------------------------------------

    def rename(self, name: str) -> None:
        kept = " ".join(name.split())[:_NAME_LENGTH]
        if not kept:
            raise UsageError("a project needs a name")
        self.record.name = kept
        self.save()

    def found_at(self, path: Path) -> None:
        """The clip was moved. Raises UsageError where it is another one."""
        known = self.record.clip
        if known.identity and hash_file(path) != known.identity:
            raise UsageError(
                f"{path}: this is another video than the one that was added, {known.name}; add it as a project of its own"
            )
        state = FileState.of(path)
        with self._lock:
            self.must_be_idle("The video's place cannot be changed")
            self.record.clip = replace(known, path=str(path.absolute()), bytes=state.size, modified_ns=state.modified_ns)
            self._close_frames()
            self._is_open, self.info, self._warnings = False, None, []
            self.save()
            self.open()

    def person(self, index: int) -> Person:
        """Raises UsageError where there is no such person."""
        found = next((person for person in self.people if person.index == index), None)
        if found is None:
            raise UsageError(f"there is no person {index + 1} in this clip; {len(self.people)} were found")
        return found

    def change_person(self, index: int, change: PersonChange) -> None:
        """Raises UsageError where a value is none, or there is no such person."""
        with self._lock:
            self.must_be_idle("People cannot be changed")
            apply_change(self.people, self.person(index), change)
            self.save()

    def restore_only(self, indices: Sequence[int]) -> None:
        """These people and nobody else."""
        with self._lock:
            self.must_be_idle("People cannot be changed")
            wanted = {self.person(index).index for index in indices}
            for person in self.people:
                person.skip = person.index not in wanted
            self.save()

    def move_tracks(self, index: int, tracks: Sequence[int] | None, target: int | None) -> None:
        """Appearances (None: all) of a person given to another one, or (None) to a new one."""
        with self._lock:
            found = self.must_be_surveyed("People cannot be changed")
            source = self.person(index)
            other = None if target is None else self.person(target)
            self.people = moved(self.people, source, source.tracks if tracks is None else tracks, other, found)
            look_at(self.people, found, self.options.settings.anchors)
            self.save()

    # Photos ----------------------------------------------------------------------------------------------------------

    def photo_path(self, name: str) -> Path:
        """Where a photo that comes in is written: a folder of its own."""
        folder = self.folder / _PHOTOS / secrets.token_hex(6)
        folder.mkdir(parents=True)
        return folder / name

    def add_photo(self, index: int, path: Path) -> Photo:
        """Raises ReferencePhotoError or UsageError where the photo cannot be used."""
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
            directions = {one.index: one.direction for one in self.people if one.direction is not None}
            titles = {one.index: one.title for one in self.people}
            save_face(reference)
            photo = describe_photo(reference, index, directions, titles, self.options.settings.anchors)
            person.photos.append(photo)
            self.save()
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
            self.save()
            shutil.rmtree(photo.reference.path.parent, ignore_errors=True)

    def result(self, number: str) -> Result:
        found = next((item for item in self.results if item.id == number), None)
        if found is None:
            raise UsageError("there is no such result any more")
        return found

    def remove_result(self, number: str) -> None:
        with self._lock:
            self.must_be_idle("Results cannot be removed")
            result = self.result(number)
            self.results.remove(result)
            results.remove(result)
            for other in self.results:
                film_of(other, result).unlink(missing_ok=True)

    # Pictures --------------------------------------------------------------------------------------------------------

    def frame(self, seconds: float) -> bytes:
        """JPEG of the frame that is shown at a time (seconds after the first frame)."""
        self.open()
        trouble = self.trouble()
        if self.info is None or trouble:
            raise UsageError(trouble or "the video cannot be read")
        read = self.options.settings.read
        with self._frames_lock:
            if self._frames is None or self._frames_read != read:
                self._frames, self._frames_read = RandomAccess(self.info.path, read, allow_decord=False), read
            picture = self._frames.frame_at(self.pts_at(seconds, self._frames.info))  # of fields in a clock of its own
        return jpeg(fitted(to_display(picture.rgb, self.info.display_size, self.info.rotation, self.info.is_mirrored)))

    def face(self, track: int) -> Path:
        return self.folder / FACES / f"{track}.jpg"

    def poster(self) -> bytes:
        """A picture of the clip; made once."""
        path = self.folder / _POSTER
        if not path.is_file():
            seconds = min(_POSTER_SECONDS, (self.record.clip.seconds or 0.0) / 2)
            picture = self.frame(seconds)
            write_whole(path, lambda file: file.write(picture))
        return path.read_bytes()

    # Odds and ends ---------------------------------------------------------------------------------------------------

    def must_be_idle(self, what: str) -> None:
        if self.is_busy:
            raise UsageError(f"{what} while work is going on; wait for it or cancel it first")

    def must_be_surveyed(self, what: str) -> Survey:
        self.must_be_idle(what)
        if self.survey is None:
            raise UsageError(f"{what} before the clip has been looked through")
        return self.survey

    def pts_at(self, seconds: float, info: VideoInfo) -> int:
        """Ticks of the frame shown at a time, within the clip."""
        if not 0 <= seconds < 10**9:
            raise UsageError(f"{seconds} is no time within the clip")
        pts = info.first_pts + int(seconds / float(info.time_base) + 1e-6)
        found = self.survey
        return pts if found is None or found.info.time_base != info.time_base else min(pts, found.last_pts)

    def _close_frames(self) -> None:
        with self._frames_lock:
            if self._frames is not None:
                self._frames.close()
            self._frames = None


def size_of(folder: Path) -> int:
    """Bytes of all files in it."""
    size = 0
    for item in folder.rglob("*"):
        with suppress(OSError):  # it may be removed meanwhile
            size += item.stat().st_size if item.is_file() and not item.is_symlink() else 0
    return size
