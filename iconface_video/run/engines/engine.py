"""What all engines have in common: segments of a clip in, restored crops in the store out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iconface_video.errors import OutputError
from iconface_video.identity.anchor_store import save_anchors
from iconface_video.restore.model import FaceModel
from iconface_video.restore.plan import RestorePlan
from iconface_video.restore.timeline import DECODE_AHEAD_FRAMES, OnSegment, TimelineCounts
from iconface_video.run.clip import Clip
from iconface_video.run.engines.job import ModelFacts, RestoreJob, job_identity
from iconface_video.settings import RestoreSettings
from iconface_video.tracking.store import save_survey
from iconface_video.types import IdentityAnchor, Progress, Segment, Survey

Report = Callable[[Progress], None]
Check = Callable[[], None]
"""Called often; raises to stop."""


@dataclass(frozen=True, eq=False)
class RestoreWork:
    """Segments of one clip that are to be restored."""

    clip: Clip
    survey: Survey
    anchors: Mapping[int, IdentityAnchor]
    """By track id."""
    restore: RestoreSettings
    plan: RestorePlan
    """Of survey and settings."""
    segments: tuple[Segment, ...]
    """Of the plan, in its order: those that are not in the store yet."""
    crops: Path
    """The crop store's folder."""
    decode_ahead: int = DECODE_AHEAD_FRAMES
    people: Path | None = None
    """Folder of what was learnt of people (`personalize.in_run`); None: nobody."""

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


class Engine(Protocol):
    """Restores segments, here or elsewhere. The crops that it stores are the same to the bit whichever engine made them, on
    the same type of device."""

    name: str
    """"local", "workers", "ray"."""

    @property
    def model(self) -> FaceModel | ModelFacts:
        """What restores: name, crop sizes, noise shapes, identity. Raises CheckpointError, UsageError, WorkerError."""
        ...

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        """All segments into the job's crop store.

        on_segment: called for each as soon as it stands there, in any order.  report: faces done, of these segments alone.
        Raises what `check` raises, and then no worker is at work any more; WorkerError for a segment that could not be
        restored; what restoring itself raises.
        """
        ...

    def close(self) -> None:
        """Let workers go."""
        ...


@contextmanager
def shared_job(work: RestoreWork) -> Iterator[RestoreJob]:
    """The work as paths and settings, for workers elsewhere; survey and anchors lie in a temporary folder meanwhile.

    Raises StoreError, OutputError.
    """
    clip = work.clip
    try:
        folder = tempfile.TemporaryDirectory(prefix="iconface-video-job-")
    except OSError as error:
        raise OutputError(f"{tempfile.gettempdir()}: no folder for the workers' job can be made ({error.strerror})") from error
    with folder as name:
        survey, anchors = Path(name, "survey"), Path(name, "anchors")
        save_survey(work.survey, survey)
        save_anchors(work.anchors, anchors)
        yield RestoreJob(
            input=clip.info.path.absolute(),
            read=clip.reader.settings,
            start_pts=None if clip.start is None else clip.start.pts,
            end_pts=None if clip.end is None else clip.end.pts,
            survey=survey,
            anchors=anchors,
            crops=work.crops.absolute(),
            restore=work.restore,
            identity=job_identity(clip.reader.file, work.survey, work.anchors),
            people=None if work.people is None else work.people.absolute(),
        )
