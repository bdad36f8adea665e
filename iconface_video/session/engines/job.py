"""The segments that are to be restored, what a worker needs for that, as values that travel to other processes, and what it does."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iconface_video.errors import IconFaceError, StoreError
from iconface_video.files import new_token
from iconface_video.restore.face_model import FaceModel, ModelFacts
from iconface_video.restore.plan import RestorePlan
from iconface_video.restore.timeline import DECODE_AHEAD_FRAMES, RestoreContext, SegmentDone, restore_timeline
from iconface_video.session.clip import Clip
from iconface_video.session.fingerprint import hash_weights, restoring_versions
from iconface_video.settings import ReadSettings, RestoreSettings
from iconface_video.types import IdentityAnchor, Progress, Segment
from iconface_video.video.reader import VideoReader
from iconface_video.video.scan import Scan

Report = Callable[[Progress], None]
Check = Callable[[], None]
"""Called often; raises to stop."""
_SHORT_HASH = 16
LoadModel = Callable[[RestoreSettings], FaceModel]
"""A function of some module (or a `functools.partial` of one), so that it can be named to another process."""


@dataclass(frozen=True, eq=False)
class RestoreWork:
    """Segments of one clip that are to be restored."""

    clip: Clip
    anchors: Mapping[int, IdentityAnchor]
    """By track id."""
    restore: RestoreSettings
    plan: RestorePlan
    segments: tuple[Segment, ...]
    """Of the plan, in its order: those that are not in the store yet."""
    crops: Path
    """The crop store's folder."""
    decode_ahead: int = DECODE_AHEAD_FRAMES
    people: Mapping[str, bytes] = field(default_factory=dict)
    """What was learnt of people (`restore.people.people_files`)."""

    def context(self, model: FaceModel) -> RestoreContext:
        """Raises CheckpointError for damaged files of a person."""
        model = _knowing_people(model, self.people) if self.people else model
        return RestoreContext(self.plan, self.clip.info, model, self.anchors, self.restore, self.crops, self.decode_ahead)

    @property
    def faces(self) -> int:
        """How many there are to restore."""
        return sum(self.plan.crops_in(segment) for segment in self.segments)

    def describe(self, index: int) -> str:
        """For people: "segment 7 (70.0 to 80.0 s of the video)"."""
        segment = next(item for item in self.plan.segments if item.index == index)
        base, zero = self.clip.info.time_base, self.clip.info.first_pts
        first, last = (float((pts - zero) * base) for pts in (segment.first_pts, segment.last_pts))
        return f"segment {index} ({first:.1f} to {last:.1f} s of the video)"


@dataclass(frozen=True, eq=False)
class RestoreJob:
    """A `RestoreWork` that travels: whoever takes it opens the video anew, and has any of the plan's segments to restore."""

    name: str
    """Nobody else's."""
    input: Path
    identity: str
    """Hash of the input's content."""
    read: ReadSettings
    start_pts: int | None
    end_pts: int | None
    anchors: Mapping[int, IdentityAnchor]
    restore: RestoreSettings
    plan: RestorePlan
    crops: Path
    people: Mapping[str, bytes] = field(default_factory=dict)
    """Not a folder's name: a machine of a cluster may see none of this one's files."""
    scan: Scan | None = None
    """Of an interlaced film, so that all workers see the same fields."""

    @classmethod
    def of(cls, work: RestoreWork) -> RestoreJob:
        """Raises InputError."""
        name, reader = new_token(), work.clip.reader
        start, end = (None if at is None else at.pts for at in (work.clip.start, work.clip.end))
        path, crops, identity = work.clip.info.path.absolute(), work.crops.absolute(), reader.file.identity()
        return cls(
            name,
            path,
            identity,
            reader.settings,
            start,
            end,
            work.anchors,
            work.restore,
            work.plan,
            crops,
            work.people,
            reader.scan,
        )

    def open(self) -> RestoreWork:
        """Raises InputError, StoreError."""
        reader = VideoReader(self.input, self.read, scan=self.scan)
        if reader.file.identity() != self.identity:
            raise StoreError(
                f"{self.input}: the worker reads another video than the run that it works for. Did the file change meanwhile?"
            )
        clip = Clip.between(reader, self.start_pts, self.end_pts)
        return RestoreWork(clip, self.anchors, self.restore, self.plan, self.plan.segments, self.crops, people=self.people)


def _knowing_people(model: FaceModel, people: Mapping[str, bytes]) -> FaceModel:
    """The model with what was learnt of people; the models' libraries are loaded only where there is something."""
    from iconface_video.restore.people import with_people

    return with_people(model, people)


def load_restorer(settings: RestoreSettings) -> FaceModel:
    """The model that the settings name."""
    from iconface_video.restore.iconface import load_face_model

    return load_face_model(settings)


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker gets its model, which it keeps for all clips."""

    restore: RestoreSettings
    threads: int = 0
    """For the model on a CPU; 0: as many as torch takes by itself, on which the last bits depend."""
    load: LoadModel = load_restorer
    weights: str | None = None
    """Hash of the model's files, where it was worked out on the worker's own machine; None: the worker hashes them."""

    def hashed(self) -> WorkerSetup:
        """For workers on this machine, which need not read the model's files once more for that. Raises CheckpointError."""
        return self if self.load is not load_restorer else replace(self, weights=hash_weights(self.restore)[:_SHORT_HASH])

    def on(self, device: str) -> WorkerSetup:
        return replace(self, restore=replace(self.restore, device=device))

    def versions(self) -> dict[str, str]:
        """Of the libraries that restoring depends on, the same for all workers of a run, and a hash of the model's files where
        it is known which they are. Raises CheckpointError."""
        weights = self.hashed().weights if self.weights is None else self.weights
        return {**restoring_versions(), **({} if weights is None else {"weights": weights})}


class WorkerFailure(Exception):
    """Something went wrong in a worker that may go well in another one. Its text: why, in one line for people."""


class SegmentWorker:
    """Loads the model once, then restores the segments that it is told to. The same in a process and in a Ray actor.

    An IconFaceError from it means that the work itself is wrong (a damaged input, a full disk, an option): another worker would
    say the same. After a WorkerFailure it must not be used: what state a GPU is in after an error is not known.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._model: FaceModel | None = None
        self._open: tuple[str, RestoreWork, RestoreContext] | None = None

    def load(self) -> ModelFacts:
        setup = self._setup
        with _failures_in_words():
            pin_threads(setup.threads)
            self._model = self._model or setup.load(setup.restore)
            return ModelFacts.of(self._model, setup.restore.crop_size, setup.versions())

    def restore(self, name: str, read: Callable[[], RestoreJob], index: int, on_faces: Callable[[int], None]) -> SegmentDone:
        """A segment into the crop store. name: of the job, which stays open until another one comes.  read: gives the job.
        on_faces: told how many of the segment's faces are done."""
        found: list[SegmentDone] = []
        with _failures_in_words():
            if self._model is None:
                raise WorkerFailure("it died between two segments")  # and whoever took its place has loaded nothing
            if self._open is None or self._open[0] != name:
                opened = read().open()
                self._open = name, opened, opened.context(self._model)  # once a job: people are read and checked for it
            _, work, context = self._open
            chosen = [work.plan.segments[index]]
            restore_timeline(
                context, work.clip.frames, lambda event: on_faces(event.done), segments=chosen, on_segment=found.append
            )
        return found[0]


def pin_threads(threads: int) -> None:
    """Torch's own threads; 0: as they are. The library is not imported for nothing: a model that needs it will."""
    if threads:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def threads_of(identity: Mapping[str, Any]) -> Iterator[None]:
    """This process with as many of torch's threads as a model works with, wherever it is: what is computed here then has the bits that it would
    have there. identity: of a model, or of its `ModelFacts`."""
    import torch

    before = torch.get_num_threads()
    pin_threads(int(identity.get("threads") or 0))
    try:
        yield
    finally:
        pin_threads(before)


@contextmanager
def _failures_in_words() -> Iterator[None]:
    """Whatever is no refusal becomes a WorkerFailure, which any process can read; the traceback goes to stderr."""
    try:
        yield
    except (IconFaceError, WorkerFailure):
        raise
    except Exception as error:
        traceback.print_exception(error, file=sys.stderr)
        text = " ".join(str(error).split()) or "no message"
        raise WorkerFailure(f"{type(error).__name__}: {text}") from None
