"""The work folder: where survey, anchors and restored crops lie while a run works, beside the output.

iconface-work.json     the marker: this program works here, whether it made the folder, whether the work is to be kept
.iconface-lock         who works here now
journal.jsonl          what is done
survey/, anchors/      results of the first two stages
people/                what was learnt of people
crops/                 the crop store
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from iconface_video.errors import IconFaceError, OutputError, add_note
from iconface_video.files import PART, write_whole
from iconface_video.identity.anchors import ANCHOR_FILES
from iconface_video.lock import LOCK, FolderLock
from iconface_video.restore.crop_store import STORE_FILE, StoreHeader, read_header, segment_paths
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.fingerprint import hash_file
from iconface_video.session.journal import JOURNAL, Journal, Parts
from iconface_video.tracking.store import SURVEY_FILES

SUFFIX = ".iconface-work"
MARKER = "iconface-work.json"
CROPS = "crops"
SURVEY = "survey"
ANCHORS = "anchors"
PEOPLE = "people"
_SEGMENTS = ("segment-[0-9]*.crops", "segment-[0-9]*.npz")
_TORN = (f".*{PART}", f"segment-[0-9]*{PART}")
_MADE = {CROPS: (*_SEGMENTS, STORE_FILE), SURVEY: SURVEY_FILES, ANCHORS: ANCHOR_FILES, PEOPLE: ("[0-9a-f]*.safetensors",)}
"""What a run puts into which folder, as patterns; nothing else is ever removed."""
_EARLIER_LOCK, _EARLIER_JOURNAL = "lock", b'{"journal": 1}'
_FIRST_LINE_BYTES = 64
_PROGRAM, _FORMAT = "iconface-video", 2
_NAMED = 3
"""Of a foreign folder's files, in the refusal."""


@dataclass(frozen=True)
class _Marker:
    """What the marker says."""

    made_folder: bool
    """The folder was not there before."""
    kept: bool = False
    """A run came to its end here, and its work is to stay."""


class WorkFolder:
    """Locked and, where it is new, created when entered; tidied up when left after success, unless it is kept.

    A folder is this program's own when its marker is inside. One that is new or empty is taken, any other is refused; what is
    removed is what was made here, and the folder itself only where it was made here, too, and nothing else lies in it.
    After a failure or an interrupt all stays, so that the same run can go on from it, if anything in it is worth that; the
    exception gets a note that says so.
    """

    def __init__(self, path: Path, keep: bool, fresh: bool = False) -> None:
        """keep: after success, too.  fresh: forget what an earlier run left here."""
        self.path = path
        self.keep = keep
        self.is_unfinished = False
        """Left on purpose before its end: all stays, as after an interrupt."""
        self._fresh = fresh
        self._lock = FolderLock(path)
        self._marker = _Marker(made_folder=False)
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

    @property
    def people(self) -> Path:
        return self.path / PEOPLE

    def files_of(self, part: str) -> list[str]:
        """What stands in `SURVEY`, `ANCHORS`, `PEOPLE` or `CROPS`, relative to the folder."""
        return [f"{part}/{path.name}" for path in _matching(self.path / part, _MADE[part])]

    def begin_segments(self, parts: Parts) -> dict[int, SegmentDone]:
        """Segments that were restored from these parts and stand whole in the store; other segments there are removed."""
        found = {
            index: SegmentDone(index, **{**counts, "notes": tuple(counts["notes"])})
            for index, counts in self.journal.begin_segments(parts).items()
        }
        kept = {path for index in found for path in segment_paths(self.crops, index)}
        for path in _matching(self.crops, _SEGMENTS):
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
        return sum(path.stat().st_size for path in _matching(self.crops, _SEGMENTS))

    def check(self) -> None:
        """Raises OutputError where a foreign folder is in the way; touches nothing."""
        if self.path.exists():
            self._read_marker()

    def __enter__(self) -> WorkFolder:
        """Raises OutputError: a foreign folder is in the way, another run works in it, it cannot be made. StoreError."""
        was_there = self.path.exists()
        try:
            if was_there:
                self._read_marker()  # a foreign folder is refused before anything is put into it
            self._lock.acquire()
            try:
                self._open(was_there)
            except BaseException:
                self._lock.release()
                if not was_there:
                    with suppress(OSError):
                        self.path.rmdir()
                raise
        except OSError as error:
            if isinstance(error, IconFaceError):
                raise
            raise OutputError(f"{self.path}: cannot create the work folder ({error.strerror})") from error
        return self

    def _open(self, was_there: bool) -> None:
        marker = self._read_marker()  # once more: now nobody else can change it
        if marker is None:
            names = {item.name for item in self.path.iterdir()}
            was_killed = was_there and self.path.name.endswith(SUFFIX) and names == {LOCK}
            marker = _Marker(made_folder=not was_there or was_killed)
        if self._fresh:
            marker = replace(marker, kept=False)
        self._write_marker(marker)
        for torn in self._torn():
            torn.unlink()
        if self._fresh:
            self._empty()
        self._journal = Journal(self.path)
        self.keep = self.keep or marker.kept
        for name in _MADE:
            (self.path / name).mkdir(exist_ok=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None and self.is_unfinished:
                return
            if error is None and self.keep:
                self._write_marker(replace(self._marker, kept=True))
                self.journal.complete()
            elif error is None or (self.journal.is_empty and not self._marker.kept):
                self._remove()
            else:
                add_note(
                    error,
                    f"What is done so far is kept in {self.path}: the same command goes on from there. "
                    "To start over, add `fresh` or delete that folder.",
                )
        finally:
            self._lock.release()

    def _read_marker(self) -> _Marker | None:
        """None: the folder is empty, and may be taken. Raises OutputError where it is somebody else's."""
        if not self.path.is_dir():
            raise OutputError(f"{self.path}: is in the way: it is no folder. Remove it or choose another work folder.")
        try:
            content = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
            if content["program"] != _PROGRAM or content["format"] != _FORMAT:
                raise ValueError("of another program or release")
            return _Marker(bool(content["made_folder"]), bool(content["kept"]))
        except FileNotFoundError:
            return self._without_marker()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OutputError(
                f"{self.path}: its marker {MARKER} is damaged or of another release, so nothing in it is touched. "
                "Choose another work folder, or delete this one if it is no longer needed."
            ) from error

    def _without_marker(self) -> _Marker | None:
        names = sorted(item.name for item in self.path.iterdir() if item.name != LOCK)
        if not names:
            return None
        if _is_of_earlier_release(self.path):
            if self._fresh:
                return _Marker(made_folder=self.path.name.endswith(SUFFIX))
            raise OutputError(
                f"{self.path}: an earlier release of this program worked here, and this one cannot go on from that (`render` "
                "can still use the faces that it kept). Start over in it with `fresh`, delete it, or choose another work folder."
            )
        held = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
        raise OutputError(
            f"{self.path}: is in the way: it is no work folder of this program (it holds {held}, and no {MARKER}). "
            "Choose another work folder: a new or an empty one."
        )

    def _write_marker(self, marker: _Marker) -> None:
        content = {"program": _PROGRAM, "format": _FORMAT, **asdict(marker)}
        try:
            write_whole(self.path / MARKER, lambda file: file.write(json.dumps(content, indent=1).encode()))
        except OSError as error:
            raise OutputError(f"{self.path}: its marker {MARKER} cannot be written ({error.strerror})") from error
        self._marker = marker

    def _torn(self) -> list[Path]:
        """What was being written when a run was killed."""
        return [path for name in ("", *_MADE) for path in _matching(self.path / name, _TORN)]

    def _empty(self) -> None:
        """Remove what runs have put here; what others have put beside it stays."""
        for name, patterns in _MADE.items():
            for path in _matching(self.path / name, patterns):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # it is not there, or somebody put something else in it
                (self.path / name).rmdir()
        if _is_of_earlier_release(self.path):
            (self.path / _EARLIER_LOCK).unlink(missing_ok=True)
        (self.path / JOURNAL).unlink(missing_ok=True)

    def _remove(self) -> None:
        self._empty()
        (self.path / MARKER).unlink(missing_ok=True)
        self._lock.release()
        if self._marker.made_folder:
            with suppress(OSError):  # somebody put something else in it
                self.path.rmdir()


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern) if path.is_file() or path.is_symlink()]


def _is_of_earlier_release(folder: Path) -> bool:
    try:
        with open(folder / JOURNAL, "rb") as file:
            return file.readline(_FIRST_LINE_BYTES).rstrip(b"\n").partition(b" ")[2] == _EARLIER_JOURNAL
    except OSError:
        return False


def work_folder_of(output: Path) -> Path:
    """``<out>.iconface-work`` beside the output."""
    return output.with_name(output.name + SUFFIX)


def kept_header(work: Path) -> StoreHeader | None:
    """Of the faces that were kept here on purpose; None where none were."""
    try:
        is_kept = json.loads((work / MARKER).read_text(encoding="utf-8"))["kept"]
        return read_header(work / CROPS) if is_kept else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # whatever is wrong there, entering the folder says it
        return None


def left_output(work: Path, output: Path) -> bool:
    """Whether `output` is what a run in this work folder wrote just before it was killed: to be replaced without asking."""
    if not output.is_file() or not (work / MARKER).is_file() or not (work / JOURNAL).is_file():
        return False
    known = Journal(work).output
    return known is not None and known[0] == str(output.absolute()) and known[1] == hash_file(output)
