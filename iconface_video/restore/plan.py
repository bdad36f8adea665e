"""What will be restored, before anything is: segments of the timeline, and per track its rows and crop size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from iconface_video.faces.align import TEMPLATE_SIZE
from iconface_video.restore.selection import Selection, select
from iconface_video.settings import RestoreSettings, default_of
from iconface_video.types import Segment, Survey, Track, TrackKey

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

    def rows_in(self, first_pts: int, last_pts: int) -> dict[int, list[tuple[TrackPlan, int]]]:
        """PTS -> the (track, row) pairs to restore in that frame, for the frames of a range."""
        found: dict[int, list[tuple[TrackPlan, int]]] = {}
        for item in self.tracks:
            pts = item.track.pts
            begin, end = np.searchsorted(pts, [first_pts, last_pts + 1])
            for row in range(int(begin), int(end)):
                if item.selection.keep[row]:
                    found.setdefault(int(pts[row]), []).append((item, row))
        return found

    def crops_in(self, segment: Segment) -> int:
        """Number of faces to restore in a segment."""
        count = 0
        for item in self.tracks:
            begin, end = np.searchsorted(item.track.pts, [segment.first_pts, segment.last_pts + 1])
            count += int(item.selection.keep[begin:end].sum())
        return count

    def handle_start(self, segment: Segment) -> int:
        """PTS from which a segment has to be decoded: its first, or a few frames before it inside a track."""
        start = segment.first_pts
        for item in self.tracks:
            row = int(np.searchsorted(item.track.pts, segment.first_pts))
            if row < len(item.track):
                start = min(start, int(item.track.pts[row - row % REPEAT_BLOCK]))
        return start


def make_plan(survey: Survey, settings: RestoreSettings, crop_sizes: Sequence[int]) -> RestorePlan:
    """crop_sizes: px that the model takes, in any order."""
    left_alone: dict[str, int] = {}
    tracks = []
    for track in survey.tracks:
        selection = select(track, settings)
        for reason, count in selection.left_alone.items():
            left_alone[reason] = left_alone.get(reason, 0) + count
        if selection.keep.any():
            size = settings.crop_size or choose_crop_size(track, crop_sizes)
            tracks.append(TrackPlan(track, survey.key_of(track), selection, size))
    return RestorePlan(make_segments(survey, settings.segment_seconds), tuple(tracks), left_alone)


def choose_crop_size(track: Track, crop_sizes: Sequence[int]) -> int:
    """The smallest size that is no coarser than the video where the face is largest; the largest there is for larger faces."""
    window_px = float(np.max(TEMPLATE_SIZE * np.exp(-track.parameters[:, 0])))
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
