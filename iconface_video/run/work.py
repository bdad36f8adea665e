"""The work folder: where survey, anchors and restored crops lie while a run works, beside the output.

lock, journal.jsonl    who works here; what is done
survey/, anchors/      results of the first two stages
crops/                 the crop store
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from iconface_video.durable import PART
from iconface_video.errors import OutputError, add_note
from iconface_video.restore.crop_store import segment_paths
from iconface_video.restore.timeline import SegmentDone
from iconface_video.run.fingerprint import hash_file
from iconface_video.run.journal import JOURNAL, Journal, Parts
from iconface_video.run.lock import LOCK, FolderLock

SUFFIX = ".iconface-work"
CROPS = "crops"
SURVEY = "survey"
ANCHORS = "anchors"
_OWN = (CROPS, SURVEY, ANCHORS, JOURNAL, JOURNAL + PART, LOCK)


class WorkFolder:
    """Locked and, where it is new, created when entered; removed when left after success, unless it is kept.

    After a failure or an interrupt it stays, so that the same run can go on from it, if anything in it is worth that; the
    exception gets a note that says so. Only a folder that this program made (or an empty one) is ever taken.
    """

    def __init__(self, path: Path, keep: bool, fresh: bool = False) -> None:
        """keep: after success, too.  fresh: forget what an earlier run left here."""
        self.path = path
        self.keep = keep
        self._fresh = fresh
        self._lock = FolderLock(path)
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        assert self._journal is not None, "the work folder is not entered"
        return self._journal

    @property
    def crops(self) -> Path:
        return self.path / CROPS

    @property
    def survey(self) -> Path:
        return self.path / SURVEY

    @property
    def anchors(self) -> Path:
        return self.path / ANCHORS

    def begin_segments(self, parts: Parts) -> dict[int, SegmentDone]:
        """Segments that were restored from these parts and stand whole in the store; what else lies there is removed."""
        found = {
            index: SegmentDone(index, **{**counts, "notes": tuple(counts["notes"])})
            for index, counts in self.journal.begin_segments(parts).items()
        }
        kept = {path for index in found for path in segment_paths(self.crops, index)}
        for path in self.crops.glob("segment-*"):
            if path not in kept:
                path.unlink()
        return found

    def finish_segment(self, done: SegmentDone) -> None:
        """A segment stands whole in the store: note it."""
        counts = asdict(done)
        files = [f"{CROPS}/{path.name}" for path in segment_paths(self.crops, counts.pop("index"))]
        self.journal.finish_segment(done.index, files, counts)

    @property
    def stored_bytes(self) -> int:
        """Size of the crop store."""
        return sum(path.stat().st_size for path in self.crops.glob("segment-*"))

    def __enter__(self) -> WorkFolder:
        """Raises OutputError: a foreign folder is in the way, another run works in it, it cannot be made. StoreError."""
        if self.path.exists() and not is_work_folder(self.path):
            raise OutputError(
                f"{self.path}: is in the way: it is no work folder of this program. Remove it or choose another with --work"
            )
        try:
            self._lock.acquire()
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.path}: cannot create the work folder ({error.strerror})") from error
        try:
            if self._fresh:
                self._empty()
            self._journal = Journal(self.path)
            self.keep = self.keep or self.journal.is_complete
            for folder in (self.survey, self.anchors, self.crops):
                folder.mkdir(exist_ok=True)
                for torn in folder.glob("*" + PART):
                    torn.unlink()
        except OSError as error:
            self._lock.release()
            if isinstance(error, OutputError) or self._journal is None:
                raise
            raise OutputError(f"{self.path}: cannot create the work folder ({error.strerror})") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None and self.keep:
                self.journal.complete()
            if (error is None and not self.keep) or self.journal.is_empty:
                self._empty()
                self._lock.release(remove=True)
                with suppress(OSError):  # somebody put something else in it
                    self.path.rmdir()
            elif error is not None:
                add_note(
                    error,
                    f"What is done so far is kept in {self.path}: the same command goes on from there. "
                    "To start over, add --fresh or delete that folder.",
                )
        finally:
            self._lock.release()

    def _empty(self) -> None:
        for name in (CROPS, SURVEY, ANCHORS):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in (JOURNAL, JOURNAL + PART):
            (self.path / name).unlink(missing_ok=True)


def is_work_folder(path: Path) -> bool:
    """An empty folder, or one with nothing but a work folder's own parts."""
    return path.is_dir() and all(item.name in _OWN for item in path.iterdir())


def work_folder_of(output: Path) -> Path:
    """``<out>.iconface-work`` beside the output."""
    return output.with_name(output.name + SUFFIX)


def left_output(work: Path, output: Path) -> bool:
    """Whether `output` is what a run in this work folder wrote just before it was killed: to be replaced without asking."""
    if not output.is_file() or not (work / JOURNAL).is_file():
        return False
    known = Journal(work).output
    return known is not None and known[0] == str(output.absolute()) and known[1] == hash_file(output)
