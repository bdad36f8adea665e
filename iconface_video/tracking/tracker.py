"""The tracker: detections of one frame after another become tracklets, one per face and shot. Which detection belongs to which track
is told by overlap and identity, solved for all pairs at once.

Pairs that cannot be the same face are ruled out (gated); among the others the Hungarian method finds the cheapest
assignment. Two rounds as in ByteTrack (Zhang et al. 2022): confident detections first, then the rest of the tracks may be
continued by what the detector was less sure of.

Online and in constant memory apart from the rows themselves. Nothing is shared between two trackers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from iconface_video.faces.detector import overlap
from iconface_video.settings import SurveySettings
from iconface_video.tracking.tracklet import MAX_EXTRAPOLATION_SECONDS, Tracklet
from iconface_video.types import Detection, Float32, Float64

_FORBIDDEN = 1e6
_MAX_SIZE_RATIO = 2.2
_MIN_REACH = 0.35
"""Centres may lie this many face sizes off the prediction without overlapping much ..."""
_REACH_DEVIATIONS = 3.0
"""... or this many standard deviations of the motion filter, but never more than `_MAX_REACH` face sizes."""
_MAX_REACH = 1.5
_MIN_OVERLAP = 0.15
_OTHER_PERSON = 0.15
"""Cosine of two embeddings below which they are not of one person, however well the boxes fit (when boxes hardly overlap)."""
_IDENTITY_WEIGHT = 0.8


@dataclass(frozen=True, eq=False)
class Expected:
    """What a track expects of its next detection."""

    box: Float32
    """(4,) predicted."""
    deviation_px: float
    """Standard deviation of the predicted centre."""
    embedding: Float32 | None = None
    """(512,) unit vector of its identity so far; None: not known."""


def overlaps(first: ArrayLike, second: ArrayLike) -> Float64:
    """(n, 4), (m, 4) boxes -> (n, m) intersection over union."""
    return overlap(np.reshape(first, (-1, 1, 4)), np.reshape(second, (1, -1, 4)))


def covered(first: ArrayLike, second: ArrayLike) -> Float64:
    """(n, 4), (m, 4) boxes -> (n, m) intersection over the smaller one's area: finds a box inside another."""
    a, b = np.asarray(first, dtype=np.float64).reshape(-1, 1, 4), np.asarray(second, dtype=np.float64).reshape(1, -1, 4)
    common = np.prod(np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    smaller = np.minimum(np.prod(a[..., 2:] - a[..., :2], axis=-1), np.prod(b[..., 2:] - b[..., :2], axis=-1))
    return common / np.maximum(smaller, 1e-9)


def gate(expected: Sequence[Expected], boxes: ArrayLike) -> NDArray[np.bool_]:
    """(n, m): pairs that may be one face: they overlap or are near enough, and alike in size."""
    predicted = np.array([item.box for item in expected], dtype=np.float64).reshape(-1, 1, 4)
    found = np.asarray(boxes, dtype=np.float64).reshape(1, -1, 4)
    sizes = np.sqrt(np.prod(predicted[..., 2:] - predicted[..., :2], axis=-1))
    found_sizes = np.sqrt(np.maximum(np.prod(found[..., 2:] - found[..., :2], axis=-1), 1e-9))
    offset = (predicted[..., :2] + predicted[..., 2:] - found[..., :2] - found[..., 2:]) / 2
    deviations = np.array([item.deviation_px for item in expected]).reshape(-1, 1)
    reach = np.clip(_REACH_DEVIATIONS * deviations, _MIN_REACH * sizes, _MAX_REACH * sizes)
    near = np.linalg.norm(offset, axis=-1) <= reach
    alike = np.maximum(sizes / found_sizes, found_sizes / sizes) <= _MAX_SIZE_RATIO
    return (near | (overlaps(predicted, found) >= _MIN_OVERLAP)) & alike


def costs(expected: Sequence[Expected], boxes: ArrayLike, embeddings: Sequence[Float32 | None]) -> Float64:
    """(n, m): 1 - IoU, plus the distance in face sizes (it orders pairs that do not overlap), plus 1 - cosine where both
    identities are known; 1e6 where the gate rules the pair out."""
    predicted = np.array([item.box for item in expected], dtype=np.float64).reshape(-1, 1, 4)
    found = np.asarray(boxes, dtype=np.float64).reshape(1, -1, 4)
    iou = overlaps(predicted, found)
    offset = (predicted[..., :2] + predicted[..., 2:] - found[..., :2] - found[..., 2:]) / 2
    sizes = np.sqrt(np.prod(predicted[..., 2:] - predicted[..., :2], axis=-1))
    cost = 1.0 - iou + 0.5 * np.linalg.norm(offset, axis=-1) / sizes
    allowed = gate(expected, boxes)
    for row, item in enumerate(expected):
        for column, embedding in enumerate(embeddings):
            if item.embedding is None or embedding is None:
                continue
            similarity = float(item.embedding @ embedding)
            cost[row, column] += _IDENTITY_WEIGHT * (1.0 - similarity)
            if similarity < _OTHER_PERSON and iou[row, column] < 0.5:
                allowed[row, column] = False
    return np.where(allowed, cost, _FORBIDDEN)


def associate(
    expected: Sequence[Expected], detections: Sequence[Detection], embeddings: Sequence[Float32 | None] | None = None
) -> list[tuple[int, int]]:
    """Pairs (index of the track, index of the detection) of least total cost; gated pairs never."""
    if not expected or not detections:
        return []
    known = embeddings if embeddings is not None else [None] * len(detections)
    cost = costs(expected, [item.box for item in detections], known)
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    return [(int(row), int(column)) for row, column in zip(rows, columns) if cost[row, column] < _FORBIDDEN]


def is_ambiguous(expected: Sequence[Expected], detections: Sequence[Detection]) -> bool:
    """Whether some face could go to two tracks (or two faces to one), so that identities should be looked at."""
    if not expected or not detections:
        return False
    allowed = gate(expected, [item.box for item in detections])
    return bool((allowed.sum(axis=0) > 1).any() or (allowed.sum(axis=1) > 1).any())


Describe = Callable[[Sequence[int]], Sequence[Float32]]
"""Indices of this frame's detections -> their raw (512,) embeddings. Costly: asked only where boxes do not settle it."""

_LOW_SCORE_OVERLAP = 0.3
_SAME_FACE_COVER = 0.6
"""A detection that lies this far inside a tracked face's box is that face again, not a new one."""
_BACKFILL_OVERLAP = 0.5
_DOUBT_SECONDS = 0.15
"""A face that was away longer than this is taken up again only if its identity does not speak against it."""
_JOIN_SIMILARITY = 0.4
_JOIN_REACH = 2.0
"""Face sizes that a face may have moved, unseen, between two tracklets of one identity ..."""
_JOIN_OVERLAP = 0.3
"""... and the overlap of the boxes that must do where the identity is unknown."""


class Tracker:
    """Makes tracklets. Ids and order belong to the caller: `finish` returns them in birth order, left to right."""

    def __init__(self, settings: SurveySettings) -> None:
        self._settings = settings
        self._active: list[Tracklet] = []
        self._ended: list[Tracklet] = []
        self._unsure: deque[tuple[int, float, list[Detection]]] = deque()
        self._last_seconds = 0.0

    def push(
        self, pts: int, seconds: float, detections: Sequence[Detection], describe: Describe | None = None
    ) -> list[Tracklet | None]:
        """Take in one frame's detections.

        pts, seconds: of the frame, growing.  Returns for each detection the tracklet it went to; None: to none.
        """
        self._retire(seconds)
        self._last_seconds = seconds
        for track in self._active:
            track.expect(seconds)
        given: list[Tracklet | None] = [None] * len(detections)
        sure = [i for i, item in enumerate(detections) if item.score >= self._settings.min_score]
        unsure = [i for i, item in enumerate(detections) if self._settings.low_score <= item.score < self._settings.min_score]
        free = self._match_sure(seconds, detections, sure, describe, given)
        self._match_unsure(seconds, detections, unsure, free, given)
        for index, found_track in enumerate(given):
            if found_track is not None:
                found_track.add(pts, seconds, detections[index])
        self._give_birth(pts, seconds, detections, sure, given)
        self._remember_unsure(pts, seconds, [detections[i] for i in unsure if given[i] is None])
        return given

    def is_calm(self, seconds: float, reach: float) -> bool:
        """Whether it does no harm not to look for `seconds`: each face was just seen and will move at most `reach` of its height."""
        return all(
            item.speed is not None and item.last_seconds == self._last_seconds and item.speed * seconds <= reach
            for item in self._active
        )

    def finish(self) -> list[Tracklet]:
        """End every track (at a cut, or with the video), join what belongs together, and start afresh.

        Returns the shot's tracklets by first frame, then left to right.
        """
        everything = self._ended + self._active
        self._active, self._ended = [], []
        self._unsure.clear()
        joined = join_tracklets(everything, self._settings.max_gap_seconds)
        return sorted(joined, key=lambda item: (int(item.first["pts"]), float(item.first["box"][0] + item.first["box"][2])))

    def _retire(self, seconds: float) -> None:
        gone = [item for item in self._active if seconds - item.last_seconds > self._settings.max_gap_seconds]
        self._ended += gone
        self._active = [item for item in self._active if item not in gone]

    def _match_sure(
        self,
        seconds: float,
        detections: Sequence[Detection],
        sure: list[int],
        describe: Describe | None,
        given: list[Tracklet | None],
    ) -> list[Tracklet]:
        """First round: confident detections and all tracks. Returns the tracks that stay free."""
        expected = [Expected(item.filter.box, item.filter.center_deviation, item.identity) for item in self._active]
        faces = [detections[i] for i in sure]
        in_doubt = any(seconds - item.last_seconds > _DOUBT_SECONDS for item in self._active)
        embeddings: list[Float32 | None] | None = None
        if describe and faces and self._active and (in_doubt or is_ambiguous(expected, faces)):
            embeddings = [_unit(item) for item in describe(sure)]
        pairs = associate(expected, faces, embeddings)
        for row, column in pairs:
            given[sure[column]] = self._active[row]
        taken = {row for row, _ in pairs}
        return [item for row, item in enumerate(self._active) if row not in taken]

    def _match_unsure(
        self,
        seconds: float,
        detections: Sequence[Detection],
        unsure: list[int],
        free: list[Tracklet],
        given: list[Tracklet | None],
    ) -> None:
        """Second round: doubtful detections may continue a track that was seen a moment ago, where they overlap it well."""
        fresh = [item for item in free if seconds - item.last_seconds <= MAX_EXTRAPOLATION_SECONDS]
        expected = [Expected(item.filter.box, item.filter.center_deviation) for item in fresh]
        for row, column in associate(expected, [detections[i] for i in unsure]):
            index = unsure[column]
            if overlaps(expected[row].box, detections[index].box)[0, 0] >= _LOW_SCORE_OVERLAP:
                given[index] = fresh[row]

    def _give_birth(
        self, pts: int, seconds: float, detections: Sequence[Detection], sure: list[int], given: list[Tracklet | None]
    ) -> None:
        for index in sure:
            if given[index] is not None:
                continue
            taken = [detections[i].box for i, track in enumerate(given) if track is not None]
            if taken and covered([detections[index].box], taken).max() >= _SAME_FACE_COVER:
                continue
            given[index] = self._born(pts, seconds, detections[index])

    def _born(self, pts: int, seconds: float, found: Detection) -> Tracklet:
        """A new tracklet; it takes along what the detector was unsure of just before, where it is the same face."""
        earlier: list[tuple[int, float, Detection]] = []
        box = found.box
        for when, time, candidates in reversed(self._unsure):
            fits = overlaps(box, [item.box for item in candidates])[0] if candidates else np.zeros(1)
            if fits.max() < _BACKFILL_OVERLAP:
                break
            best = candidates.pop(int(fits.argmax()))
            earlier.append((when, time, best))
            box = best.box
        history = [*reversed(earlier), (pts, seconds, found)]
        track = Tracklet(*history[0])
        for moment in history[1:]:
            track.add(*moment)
        self._active.append(track)
        return track

    def _remember_unsure(self, pts: int, seconds: float, leftovers: list[Detection]) -> None:
        self._unsure.append((pts, seconds, leftovers))
        while seconds - self._unsure[0][1] > MAX_EXTRAPOLATION_SECONDS:
            self._unsure.popleft()


def join_tracklets(tracklets: Sequence[Tracklet], max_gap_seconds: float) -> list[Tracklet]:
    """Join tracklets of one shot where one ends and another begins within the gap, and place and identity agree.

    The tracker itself lost these faces: a fast move, a jump in size. Best agreement first; one successor and one
    predecessor each.
    """
    candidates: list[tuple[float, int, Tracklet, Tracklet]] = []
    for before in tracklets:
        for after in tracklets:
            gap = float(after.first["seconds"]) - before.last_seconds
            if before is not after and 0 < gap <= max_gap_seconds:
                cost = _join_cost(before, after)
                if cost is not None:
                    candidates.append((cost, len(candidates), before, after))
    followed: dict[int, Tracklet] = {}
    preceded: set[int] = set()
    for _, _, before, after in sorted(candidates, key=lambda item: item[:2]):
        if id(before) not in followed and id(after) not in preceded:
            followed[id(before)] = after
            preceded.add(id(after))
    heads = [item for item in tracklets if id(item) not in preceded]
    for head in heads:
        following = followed.get(id(head))
        while following is not None:
            head.absorb(following)
            following = followed.get(id(following))
    return heads


def _join_cost(before: Tracklet, after: Tracklet) -> float | None:
    """Lower is better; None: not one face."""
    end, start = before.last["box"].astype(np.float64), after.first["box"].astype(np.float64)
    sizes = [float(np.sqrt(np.prod(box[2:] - box[:2]))) for box in (end, start)]
    distance = float(np.linalg.norm(end[:2] + end[2:] - start[:2] - start[2:])) / 2 / max(sizes)
    shared = float(overlap(end, start))
    first, second = before.identity, after.identity
    if first is None or second is None:
        return distance + 1.0 if shared >= _JOIN_OVERLAP else None
    similarity = float(first @ second)
    if similarity < _JOIN_SIMILARITY or distance > _JOIN_REACH:
        return None
    return distance + 1.0 - similarity


def _unit(vector: Float32) -> Float32:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)
