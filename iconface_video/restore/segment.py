"""Restore one segment: frames in, restored crops in the store; batched over faces and frames."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iconface_video.faces.align import crop_from_frame
from iconface_video.identity.photo_choice import shown_photos
from iconface_video.restore.crop_store import SegmentWriter, StoredCrop
from iconface_video.restore.face_model import FaceModel, LooksAround, neighbours_of, run_batch
from iconface_video.restore.framing import canonical_from_crop, crop_box, cut_from_frame, framing_of
from iconface_video.restore.noise import PROGRESSIVE_WINDOW, TrackNoise
from iconface_video.restore.plan import REPEAT_BLOCK, RestorePlan, TrackPlan
from iconface_video.restore.window import REACH_ROWS, TrackWindow
from iconface_video.settings import RestoreSettings
from iconface_video.types import Float64, Frame, IdentityAnchor, Segment, Track, UInt8, VideoInfo

_KEPT_CONTEXTS = 16


class ContextCache:
    """`FaceModel.prepare` once per anchor, crop size and choice of its references; keeps the latest few."""

    def __init__(self, model: FaceModel, anchors: Mapping[int, IdentityAnchor]) -> None:
        """anchors: by track id; tracks of one person share one object."""
        self._model = model
        self._anchors = anchors
        self._kept: OrderedDict[tuple[int, int, tuple[int, ...] | None], Any] = OrderedDict()
        self._shown: dict[int, list[tuple[int, ...]] | None] = {}

    def of(self, track: Track, row: int, size: int) -> Any:
        """The context of one frame of a track."""
        anchor = self._anchors[track.track_id]
        if track.track_id not in self._shown:
            self._shown[track.track_id] = shown_photos(track, anchor)
        by_row = self._shown[track.track_id]
        which = None if by_row is None else by_row[row]
        key = (id(anchor), size, which)
        if key not in self._kept:
            seen = anchor if which is None else replace(anchor, references=tuple(anchor.references[k] for k in which))
            self._kept[key] = self._model.prepare(seen, size)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT_CONTEXTS:
            self._kept.popitem(last=False)
        return self._kept[key]


@dataclass(eq=False)
class _DuplicateFrames:
    """The last different picture of a track: frames that show the same are not restored again."""

    pts: int
    block: int
    """Which `REPEAT_BLOCK` of the track it is in."""
    box: tuple[int, int, int, int]
    samples: tuple[NDArray[Any], ...]
    crop_from_frame: Float64
    is_stored: bool
    """Restored within this segment."""
    origin: int
    """Row where the picture came first, also in an earlier block."""
    window_row: int
    """Row whose neighbours are looked at: the origin, as long as it is near."""


@dataclass(frozen=True, eq=False)
class _Job:
    """One crop on its way to the model."""

    plan: TrackPlan
    row: int
    noise_row: int
    """Row whose noise and references it gets: its own, or that of the frame where a standstill began."""
    window_row: int
    """Row whose neighbours are looked at."""
    image: UInt8
    crop_from_frame: Float64


@dataclass(eq=False)
class RestoreCounts:
    """What happened, for the report."""

    frames: int = 0
    """Frames with at least one restored face."""
    restored: int = 0
    """Crops that went through the model."""
    repeated: int = 0
    """Crops that show the same as the frame before and share its result."""
    notes: set[str] = field(default_factory=set)


class SegmentRestorer:
    """Push the segment's frames in order, from `RestorePlan.handle_start` to `handle_end`; then `finish`.

    A segment's crops depend on nothing that happened in other segments: frames outside of it are only looked at for where a
    standstill began, and as neighbours of its own.
    """

    def __init__(
        self,
        plan: RestorePlan,
        segment: Segment,
        info: VideoInfo,
        model: FaceModel,
        contexts: ContextCache,
        noise: TrackNoise,
        settings: RestoreSettings,
        writer: SegmentWriter,
    ) -> None:
        self._segment = segment
        self._info = info
        self._model = model
        self._contexts = contexts
        self._noise = noise
        self._framing = framing_of(model)
        self._batch = settings.batch
        self._writer = writer
        self._neighbours = neighbours_of(model)
        handle = plan.handle_start(segment, self._neighbours), plan.handle_end(segment, self._neighbours)
        self._rows = plan.rows_in(*handle, with_left_alone=self._neighbours > 0)
        self._standing: dict[int, _DuplicateFrames] = {}
        self._windows: dict[int, TrackWindow] = {}
        self._unready: dict[int, deque[_Job]] = {}
        self._waiting: dict[int, list[_Job]] = {}
        self._repeats: list[tuple[TrackPlan, int, int, Float64]] = []
        self.counts = RestoreCounts()

    def push(self, frame: Frame, check: Callable[[], None] = lambda: None) -> None:
        """check: called before each model call; may raise to stop."""
        faces = self._rows.pop(frame.pts, [])
        for plan, row in faces:
            self._take(frame, plan, row)
            self._release(plan)
        in_segment = self._segment.first_pts <= frame.pts <= self._segment.last_pts
        self.counts.frames += in_segment and any(plan.selection.keep[row] for plan, row in faces)
        for size, jobs in self._waiting.items():
            while len(jobs) >= self._batch:
                check()
                self._run(size, jobs[: self._batch])
                del jobs[: self._batch]

    @property
    def has_seen_all(self) -> bool:
        """Whether none of its faces waits for neighbours any more, once its last frame has been pushed."""
        return not any(self._unready.values())

    def finish(self, check: Callable[[], None] = lambda: None) -> RestoreCounts:
        """Run what still waits, write the segment to its end."""
        for waiting in self._unready.values():
            while waiting:  # the video ended before the track did
                self._look_around(waiting.popleft())
        for size, jobs in self._waiting.items():
            if jobs:
                check()
                self._run(size, jobs)
        for plan, row, source_pts, matrix in self._repeats:
            fade, quality = float(plan.selection.fade[row]), float(plan.track.quality[row])
            pts, track_id = int(plan.track.pts[row]), plan.track.track_id
            self._writer.repeat(pts, fade, quality, track_id, source_pts, matrix, plan.crop_size)
        self._writer.finish()
        return self.counts

    def discard(self) -> None:
        """Give up: what was written of the segment is removed, unless it is finished."""
        self._writer.discard()

    def _take(self, frame: Frame, plan: TrackPlan, row: int) -> None:
        """Queue the face for the model, or note that it repeats an earlier one."""
        to_restore = self._segment.first_pts <= frame.pts <= self._segment.last_pts and bool(plan.selection.keep[row])
        before = self._standing.get(plan.track.track_id)
        shows_same = before is not None and _same(_samples(frame, before.box), before.samples)
        if before is not None and before.block == row // REPEAT_BLOCK and shows_same:
            self._see(plan, row, None)
            if not to_restore:
                return
            if before.is_stored:
                self._repeats.append((plan, row, before.pts, before.crop_from_frame))
                self.counts.repeated += 1
                return
            # It began where nothing is restored: restore it here as it was, or would have been, restored there.
            noise_row = int(np.searchsorted(plan.track.pts, before.pts))
            crop = self._cut(frame, plan, before.crop_from_frame)
            self._queue(_Job(plan, row, noise_row, before.window_row, crop, before.crop_from_frame))
            before.pts, before.is_stored = frame.pts, True
            return
        matrix = crop_from_frame(self._framing.parameters(plan.track.parameters[row]), plan.crop_size, self._info)
        box = crop_box(frame, matrix, plan.crop_size)
        origin = before.origin if before is not None and shows_same else row
        window_row = origin if row - origin <= REACH_ROWS else row
        self._standing[plan.track.track_id] = _DuplicateFrames(
            frame.pts, row // REPEAT_BLOCK, box, _samples(frame, box), matrix, to_restore, origin, window_row
        )
        if to_restore or (self._neighbours and not shows_same):
            crop = self._cut(frame, plan, matrix)
            self._see(plan, row, None if shows_same else crop)
            if to_restore:
                self._queue(_Job(plan, row, row, window_row, crop, matrix))
        else:
            self._see(plan, row, None)

    def _cut(self, frame: Frame, plan: TrackPlan, matrix: Float64) -> UInt8:
        crop = cut_from_frame(frame, matrix, plan.crop_size)
        return self._framing.with_border(crop, matrix, (frame.width, frame.height))

    def _see(self, plan: TrackPlan, row: int, crop: UInt8 | None) -> None:
        """crop: None where it shows what the row before did."""
        if self._neighbours:
            window = self._windows.setdefault(plan.track.track_id, TrackWindow(self._neighbours, len(plan.track)))
            window.push(row, crop)

    def _queue(self, job: _Job) -> None:
        """For the model at once, or once the face's neighbours have been seen."""
        if self._neighbours:
            self._unready.setdefault(job.plan.track.track_id, deque()).append(job)
        else:
            self._waiting.setdefault(job.plan.crop_size, []).append(job)

    def _release(self, plan: TrackPlan) -> None:
        waiting = self._unready.get(plan.track.track_id)
        while waiting and self._windows[plan.track.track_id].is_ready(waiting[0].window_row):
            self._look_around(waiting.popleft())

    def _look_around(self, job: _Job) -> None:
        assert isinstance(self._model, LooksAround)
        window = self._windows[job.plan.track.track_id].around(job.window_row, job.image)
        self._waiting.setdefault(job.plan.crop_size, []).append(replace(job, image=self._model.fuse(window)))

    def _run(self, size: int, jobs: list[_Job]) -> None:
        crops = np.stack([job.image for job in jobs])
        contexts = [self._contexts.of(job.plan.track, job.noise_row, size) for job in jobs]
        noise = np.stack([self._noise_of(job, size) for job in jobs])
        restored, note = run_batch(self._model, crops, contexts, noise, self._batch)
        if note:
            self.counts.notes.add(note)
        for job, image in zip(jobs, restored):
            plan, row = job.plan, job.row
            self._writer.add(
                StoredCrop(
                    pts=int(plan.track.pts[row]),
                    track_id=plan.track.track_id,
                    crop_from_frame=job.crop_from_frame,
                    fade=float(plan.selection.fade[row]),
                    quality=float(plan.track.quality[row]),
                    image=image,
                )
            )
        self.counts.restored += len(jobs)

    def _noise_of(self, job: _Job, size: int) -> NDArray[np.float32]:
        track, row = job.plan.track, job.noise_row
        shape = self._model.noise_shape(size)
        recent = [int(pts) for pts in track.pts[max(0, row + 1 - PROGRESSIVE_WINDOW) : row + 1]]
        moved = canonical_from_crop(track, row, shape[2], self._framing.scale) if self._noise.kind == "warped" else None
        return self._noise.sample(job.plan.key, recent, shape, moved)


def _samples(frame: Frame, box: tuple[int, int, int, int]) -> tuple[NDArray[Any], ...]:
    """Every component's stored samples inside a box (copies, so that the frame can be forgotten)."""
    x0, y0, x1, y1 = box
    parts = []
    for plane in frame.planes:
        down, across = -(-frame.height // plane.shape[0]), -(-frame.width // plane.shape[1])
        parts.append(plane[y0 // down : -(-y1 // down), x0 // across : -(-x1 // across)].copy())
    return tuple(parts)


def _same(a: tuple[NDArray[Any], ...], b: tuple[NDArray[Any], ...]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a, b))
