"""Which detection belongs to which track: overlap and identity, solved for all pairs at once.

Pairs that cannot be the same face are ruled out (gated); among the others the Hungarian method finds the cheapest
assignment. Two rounds as in ByteTrack (Zhang et al. 2022): confident detections first, then the rest of the tracks may be
continued by what the detector was less sure of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

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
    a, b = np.asarray(first, dtype=np.float64).reshape(-1, 1, 4), np.asarray(second, dtype=np.float64).reshape(1, -1, 4)
    common = np.prod(np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    union = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - common
    return common / np.maximum(union, 1e-9)


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
    rows, columns = linear_sum_assignment(cost)
    return [(int(row), int(column)) for row, column in zip(rows, columns) if cost[row, column] < _FORBIDDEN]


def is_ambiguous(expected: Sequence[Expected], detections: Sequence[Detection]) -> bool:
    """Whether some face could go to two tracks (or two faces to one), so that identities should be looked at."""
    if not expected or not detections:
        return False
    allowed = gate(expected, [item.box for item in detections])
    return bool((allowed.sum(axis=0) > 1).any() or (allowed.sum(axis=1) > 1).any())
