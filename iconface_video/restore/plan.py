"""Which faces of a track the model touches, and why the others are left alone.

What will be restored, before anything is: segments of the timeline, and per track its rows and crop size.

Lets a reader of the crop store wait for segments that are still being restored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from iconface_video.errors import Cancelled
from iconface_video.faces.align import TEMPLATE_SIZE
from iconface_video.faces.quality import pose
from iconface_video.restore.window import REACH_ROWS
from iconface_video.settings import RestoreSettings, default_of
from iconface_video.types import Float32, Segment, Survey, Track, TrackKey

FADE_FRAMES = 5
"""Frames over which the mask comes and goes where a face begins or stops being restored in mid-track."""
MIN_RUN_FRAMES = 5
"""Shorter runs of frames, touched or left alone, follow their neighbours: a face must not switch to and fro."""
MIN_DETECTED_SHARE = 0.3
MIN_MEAN_SCORE = 0.35
"""A track whose face was hardly ever seen, or never clearly, is no face to be trusted."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows of one track to restore."""

    keep: NDArray[np.bool_]
    """(n,)"""
    fade: Float32
    """(n,) mask weight, 0 where left alone."""
    left_alone: dict[str, int]
    """Frames left alone, by reason."""


def select(track: Track, settings: RestoreSettings) -> Selection:
    """Decide for every frame of a track; the decision on sharpness and certainty is one for the whole track."""
    whole = _whole_track_reason(track, settings)
    if whole is not None:
        return Selection(np.zeros(len(track), bool), np.zeros(len(track), np.float32), {whole: len(track)})
    yaw = scipy.ndimage.median_filter(np.abs(np.asarray(pose(track.landmarks).yaw)), size=MIN_RUN_FRAMES, mode="nearest")
    keep = _steady(yaw <= settings.max_yaw)
    turned = int((~keep).sum())
    return Selection(keep, track.fade * _ramps(keep), {"turned too far": turned} if turned else {})


def _whole_track_reason(track: Track, settings: RestoreSettings) -> str | None:
    seen = track.scores > 0
    if seen.mean() < MIN_DETECTED_SHARE or track.scores[seen].mean() < MIN_MEAN_SCORE:
        return "uncertain"
    sharp = track.sharpness[track.sharpness > 0]
    if settings.max_sharpness > 0 and len(sharp) and np.median(sharp) > settings.max_sharpness:
        return "already sharp"
    return None


def _steady(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without runs shorter than `MIN_RUN_FRAMES` inside the track."""
    padded = np.pad(keep, MIN_RUN_FRAMES, mode="edge")
    window = np.ones(MIN_RUN_FRAMES, bool)
    padded = scipy.ndimage.binary_opening(scipy.ndimage.binary_closing(padded, window), window)
    # The padding stands for itself: morphology must not invent an end of the run at the track's ends.
    return np.asarray(padded[MIN_RUN_FRAMES:-MIN_RUN_FRAMES], dtype=bool)


def _ramps(keep: NDArray[np.bool_]) -> Float32:
    """(n,) rises over `FADE_FRAMES` after frames left alone and falls before them; the track's own ends have their own fade."""
    rows = np.flatnonzero(~keep)
    if not len(rows):
        return np.ones(len(keep), np.float32)
    distance = np.abs(np.arange(len(keep))[:, None] - rows[None, :]).min(axis=1)
    return np.clip(distance / (FADE_FRAMES + 1), 0.0, 1.0).astype(np.float32)


SEGMENT_SECONDS: float = default_of(RestoreSettings, "segment_seconds")
REPEAT_BLOCK = 8
"""Frames that show the same as the one before are not restored again, but at most this many in a row (counted from the
track's first frame): so a segment need not look further back than this for where a standstill began."""


@dataclass(frozen=True, eq=False)
class TrackPlan:
    """One track's part of the work."""

    track: Track
    key: TrackKey
    selection: Selection
    crop_size: int
    """px; one for the whole track, or size and noise would change within it."""

    @property
    def crops(self) -> int:
        return int(self.selection.keep.sum())


@dataclass(frozen=True, eq=False)
class RestorePlan:
    """The whole work. Depends on survey and settings alone, never on free memory or the order of execution."""

    segments: tuple[Segment, ...]
    """Cover the timeline without gaps, in order."""
    tracks: tuple[TrackPlan, ...]
    """Those with at least one crop to restore."""
    left_alone: dict[str, int]
    """Faces (track frames) that the model does not touch, by reason."""

    def crops_by_size(self) -> dict[int, int]:
        """Crop size -> number of crops."""
        counts: dict[int, int] = {}
        for item in self.tracks:
            counts[item.crop_size] = counts.get(item.crop_size, 0) + item.crops
        return counts

    def rows_in(self, first_pts: int, last_pts: int, with_left_alone: bool = False) -> dict[int, list[tuple[TrackPlan, int]]]:
        """PTS -> the (track, row) pairs to restore in that frame, for the frames of a range; also of faces that are left alone, if wanted."""
        found: dict[int, list[tuple[TrackPlan, int]]] = {}
        for item in self.tracks:
            pts = item.track.pts
            begin, end = np.searchsorted(pts, [first_pts, last_pts + 1])
            for row in range(int(begin), int(end)):
                if item.selection.keep[row] or with_left_alone:
                    found.setdefault(int(pts[row]), []).append((item, row))
        return found

    def crops_in(self, segment: Segment) -> int:
        """Number of faces to restore in a segment."""
        count = 0
        for item in self.tracks:
            begin, end = np.searchsorted(item.track.pts, [segment.first_pts, segment.last_pts + 1])
            count += int(item.selection.keep[begin:end].sum())
        return count

    def handle_start(self, segment: Segment, neighbours: int = 0) -> int:
        """PTS from which a segment has to be decoded: its first, or a few frames before it inside a track.

        neighbours: on each side of a face that the model looks at. Theirs are looked up from where a standstill may have begun,
        and whether the first of them repeat what was before from a block further back.
        """
        start = segment.first_pts
        for item in self.tracks:
            row = int(np.searchsorted(item.track.pts, segment.first_pts))
            if row < len(item.track):
                begun = row - row % REPEAT_BLOCK
                start = min(start, int(item.track.pts[max(0, begun - (2 * REACH_ROWS if neighbours else 0))]))
        return start

    def handle_end(self, segment: Segment, neighbours: int = 0) -> int:
        """PTS of the last frame that a segment needs: its own last, or a few frames after it inside a track."""
        end = segment.last_pts
        for item in self.tracks if neighbours else ():
            row = int(np.searchsorted(item.track.pts, segment.last_pts, side="right")) - 1
            if row >= 0 and item.track.pts[row] >= segment.first_pts:
                end = max(end, int(item.track.pts[min(row + REACH_ROWS, len(item.track) - 1)]))
        return end


def make_plan(survey: Survey, settings: RestoreSettings, crop_sizes: Sequence[int], scale: float = 1.0) -> RestorePlan:
    """crop_sizes: px that the model takes, in any order.  scale: by how much the output is larger."""
    left_alone: dict[str, int] = {}
    tracks = []
    for track in survey.tracks:
        selection = select(track, settings)
        for reason, count in selection.left_alone.items():
            left_alone[reason] = left_alone.get(reason, 0) + count
        if selection.keep.any():
            size = settings.crop_size or choose_crop_size(track, crop_sizes, scale)
            tracks.append(TrackPlan(track, survey.key_of(track), selection, size))
    return RestorePlan(make_segments(survey, settings.segment_seconds), tuple(tracks), left_alone)


def choose_crop_size(track: Track, crop_sizes: Sequence[int], scale: float = 1.0) -> int:
    """The smallest size that is no coarser than the output where the face is largest; the largest there is for larger faces."""
    window_px = scale * float(np.max(TEMPLATE_SIZE * np.exp(-track.parameters[:, 0])))
    fitting = [size for size in sorted(crop_sizes) if size >= window_px]
    return fitting[0] if fitting else max(crop_sizes)


def make_segments(survey: Survey, target_seconds: float = SEGMENT_SECONDS) -> tuple[Segment, ...]:
    """Segments of about `target_seconds`: whole shots put together, long shots cut into equal parts."""
    target = max(1, round(target_seconds / survey.info.time_base))
    edges = [survey.first_pts]  # first PTS of each segment
    starts = [shot.first_pts for shot in survey.shots if shot.first_pts > survey.first_pts]
    end = survey.last_pts + 1
    for boundary in [*starts, end]:
        length = boundary - edges[-1]
        if length > 1.5 * target:
            parts = round(length / target)
            edges += [edges[-1] + length * part // parts for part in range(1, parts)]
        if boundary - edges[-1] >= 0.5 * target and boundary != end:
            edges.append(boundary)
    ends = [*edges[1:], end]
    return tuple(Segment(index, first, after - 1) for index, (first, after) in enumerate(zip(edges, ends)))


_LOOK_EVERY_SECONDS = 0.1


class SegmentGate:
    """Which segments stand in the store. Segments are opened in one thread, waited for in another."""

    def __init__(self, there: Collection[int], should_stop: Callable[[], bool]) -> None:
        """there: indices of segments that stand already.  should_stop: ends all waiting."""
        self._there = set(there)
        self._should_stop = should_stop
        self._changed = threading.Condition()

    def open(self, index: int) -> None:
        """The segment stands."""
        with self._changed:
            self._there.add(index)
            self._changed.notify_all()

    def wait(self, index: int) -> None:
        """Return when the segment stands. Raises Cancelled when told to stop before that."""
        with self._changed:
            while index not in self._there:
                if self._should_stop():
                    raise Cancelled("stopped while waiting for a segment to be restored")
                self._changed.wait(_LOOK_EVERY_SECONDS)
