"""The engine of one process: the model here, one stream through the timeline."""

from __future__ import annotations

from iconface_video.restore.model import FaceModel
from iconface_video.restore.timeline import OnSegment, RestoreContext, TimelineCounts, restore_timeline
from iconface_video.run.engines.engine import Check, Report, RestoreWork
from iconface_video.run.engines.job import knowing_people


class LocalEngine:
    """For a model that is loaded."""

    name = "local"

    def __init__(self, model: FaceModel) -> None:
        self.model = model

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        clip = work.clip
        model = self.model if work.people is None else knowing_people(self.model, work.people)
        context = RestoreContext(work.plan, clip.info, model, work.anchors, work.restore, work.crops, work.decode_ahead)
        return restore_timeline(context, clip.frames, report, check, segments=work.segments, on_segment=on_segment)

    def close(self) -> None:
        """Nothing to release."""
