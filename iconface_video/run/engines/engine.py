"""What all engines have in common: segments of a clip in, restored crops in the store out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from iconface_video.restore.model import FaceModel
from iconface_video.restore.plan import RestorePlan
from iconface_video.restore.timeline import FrameSource, OnSegment, TimelineCounts
from iconface_video.run.engines.job import ModelFacts, RestoreJob
from iconface_video.types import IdentityAnchor, Progress, Segment, VideoInfo

Report = Callable[[Progress], None]
Check = Callable[[], None]
"""Called often; raises to stop."""


@dataclass(frozen=True, eq=False)
class RestoreWork:
    """Segments of one clip that are to be restored."""

    job: RestoreJob
    """For workers elsewhere; survey and anchors stand in its folders."""
    plan: RestorePlan
    """The same that a worker makes from the job."""
    segments: tuple[Segment, ...]
    """Of the plan, in its order: those that are not in the store yet."""
    info: VideoInfo
    anchors: Mapping[int, IdentityAnchor]
    frames: FrameSource


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


def faces_in(plan: RestorePlan, segments: Iterable[Segment]) -> int:
    """How many faces there are to restore."""
    return sum(plan.crops_in(segment) for segment in segments)
