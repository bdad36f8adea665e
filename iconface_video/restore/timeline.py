"""Restore segments in timeline order, decoding each stretch with faces once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from iconface_video.restore.crop_store import SegmentWriter
from iconface_video.restore.face_model import FaceModel, neighbours_of
from iconface_video.restore.noise import TrackNoise
from iconface_video.restore.plan import RestorePlan
from iconface_video.restore.segment import ContextCache, SegmentRestorer
from iconface_video.settings import RestoreSettings
from iconface_video.types import Frame, IdentityAnchor, Progress, Segment, Timestamp, VideoInfo
from iconface_video.video.decode import DECODE_AHEAD_FRAMES, prefetch

FrameSource = Callable[[Timestamp, Timestamp], Iterable[Frame]]
"""Frames of [start, end)."""


@dataclass(frozen=True, eq=False)
class RestoreContext:
    """All that restoring depends on."""

    plan: RestorePlan
    info: VideoInfo
    model: FaceModel
    anchors: Mapping[int, IdentityAnchor]
    settings: RestoreSettings
    folder: Path
    """The crop store's."""
    decode_ahead: int = DECODE_AHEAD_FRAMES


@dataclass(frozen=True)
class SegmentDone:
    """One segment that stands whole in the crop store."""

    index: int
    frames: int = 0
    """Frames with at least one restored face."""
    restored: int = 0
    """Crops that went through the model."""
    repeated: int = 0
    """Crops that share the result of the frame before."""
    notes: tuple[str, ...] = ()


OnSegment = Callable[[SegmentDone], None]


@dataclass(eq=False)
class TimelineCounts:
    """What happened, for the report."""

    frames: int = 0
    """Frames with at least one restored face."""
    restored: int = 0
    repeated: int = 0
    notes: set[str] = field(default_factory=set)

    def add(self, done: SegmentDone) -> None:
        self.frames += done.frames
        self.restored += done.restored
        self.repeated += done.repeated
        self.notes |= set(done.notes)


def restore_timeline(
    context: RestoreContext,
    frames: FrameSource,
    report: Callable[[Progress], None] = lambda event: None,
    check: Callable[[], None] = lambda: None,
    *,
    segments: Sequence[Segment] | None = None,
    on_segment: OnSegment = lambda done: None,
) -> TimelineCounts:
    """Segments of the plan into the store; those without a face are written empty, without decoding.

    check: called often; may raise to stop.  segments: of the plan, in its order; all of them when None.  on_segment: called
    for each segment as soon as it stands in the store.  Progress and counts are of these segments alone.
    """
    plan = context.plan
    chosen = plan.segments if segments is None else tuple(segments)
    counts = TimelineCounts()
    total = sum(plan.crops_in(segment) for segment in chosen)
    report(Progress("restore", 0, total, unit="faces"))

    def finished(done: SegmentDone) -> None:
        counts.add(done)
        on_segment(done)

    for busy, stretch in _stretches(plan, chosen):
        if busy:
            _restore_stretch(context, stretch, frames, counts, finished, total, report, check)
            continue
        for segment in stretch:
            check()
            with SegmentWriter(context.folder, segment.index) as writer:
                writer.finish()
            finished(SegmentDone(segment.index))
    report(Progress("restore", total, total, unit="faces"))
    return counts


def _stretches(plan: RestorePlan, segments: Sequence[Segment]) -> list[tuple[bool, list[Segment]]]:
    """(whether there are faces, neighbouring segments alike in that): each stretch with faces is decoded from one stream."""
    found: list[tuple[bool, list[Segment]]] = []
    for segment in segments:
        busy = plan.crops_in(segment) > 0
        if found and found[-1][0] == busy and found[-1][1][-1].index + 1 == segment.index:
            found[-1][1].append(segment)
        else:
            found.append((busy, [segment]))
    return found


def _restore_stretch(
    context: RestoreContext,
    segments: list[Segment],
    frames: FrameSource,
    counts: TimelineCounts,
    finished: OnSegment,
    total: int,
    report: Callable[[Progress], None],
    check: Callable[[], None],
) -> None:
    """Neighbouring segments from one stream; where handles overlap, several are at work at once."""
    base, neighbours = context.info.time_base, neighbours_of(context.model)
    starts = [context.plan.handle_start(segment, neighbours) for segment in segments]
    ends = {segment.index: context.plan.handle_end(segment, neighbours) for segment in segments}
    first, end = Timestamp(min(starts), base), Timestamp(max(ends.values()) + 1, base)
    contexts = ContextCache(context.model, context.anchors)
    noise = TrackNoise(context.settings.noise, context.settings.seed)
    upcoming = deque(zip(starts, segments))
    active: deque[tuple[Segment, SegmentRestorer]] = deque()
    with ExitStack() as stack:
        stream = stack.enter_context(prefetch(frames(first, end), context.decode_ahead))

        @stack.callback
        def discard_unfinished() -> None:
            for _, restorer in active:
                restorer.discard()

        def close_oldest() -> None:
            segment, restorer = active[0]
            made = restorer.finish(check)
            active.popleft()  # forgotten altogether: a stretch may have thousands of segments
            finished(SegmentDone(segment.index, made.frames, made.restored, made.repeated, tuple(sorted(made.notes))))

        def open_next() -> None:
            _, segment = upcoming.popleft()
            active.append((segment, _restorer(context, segment, contexts, noise)))

        for frame in stream:
            check()
            while active and (
                frame.pts > ends[active[0][0].index] or (frame.pts > active[0][0].last_pts and active[0][1].has_seen_all)
            ):
                close_oldest()
            while upcoming and upcoming[0][0] <= frame.pts:
                open_next()
            for segment, restorer in active:
                if frame.pts <= ends[segment.index]:
                    restorer.push(frame, check)
            in_work = sum(restorer.counts.restored + restorer.counts.repeated for _, restorer in active)
            report(Progress("restore", counts.restored + counts.repeated + in_work, total, unit="faces"))
        while active or upcoming:
            if not active:
                open_next()
            close_oldest()


def _restorer(context: RestoreContext, segment: Segment, contexts: ContextCache, noise: TrackNoise) -> SegmentRestorer:
    writer = SegmentWriter(context.folder, segment.index)
    return SegmentRestorer(context.plan, segment, context.info, context.model, contexts, noise, context.settings, writer)
