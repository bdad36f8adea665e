"""Which of a person's photos each frame is shown: those nearest in pose and expression, told by the five landmarks.

Photos of the surest embedding are mostly frontal ones; for a face that is turned or smiles, others show more of what it looks like. Which
frame is shown which photos depends on the finished track alone, so segments that are restored apart agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import scipy

from iconface_video.types import Float32, Float64, IdentityAnchor, Track

SMOOTHED_ROWS = 9
"""Frames over which a photo's distance is averaged: one frame's landmarks err."""
WORTH_A_CHANGE = 0.8
"""Photos change where others are nearer by this much: each change is a small jump of the restored face."""


def shape_distances(faces: Float32 | Float64, photos: Float32 | Float64) -> Float64:
    """(n, 5, 2) and (R, 5, 2) landmarks in any pixels -> (n, R): how far a photo's points lie from a face's once moved, turned and
    scaled onto them, mean, as a share of the face's own extent (the points' rms distance from their middle)."""
    here, there = _centred(faces), _centred(photos)
    fitted = there.conj() @ here.T  # (R, n) complex: the least-squares turn and scale of each photo onto each face
    moved = fitted.T[:, :, None] * there[None]
    return np.asarray(np.abs(moved - here[:, None]).mean(2), np.float64)


def _centred(points: Float32 | Float64) -> np.ndarray:
    """(n, 5, 2) -> (n, 5) complex, middle 0 and squares adding up to 1; points that all coincide stay 0."""
    flat = points[..., 0].astype(np.float64) + 1j * points[..., 1]
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 0, length, 1)


def nearest_photos(faces: Float32, photos: Float32, count: int) -> list[tuple[int, ...]]:
    """For each face (n, 5, 2) of a track, in order: which `count` of the photos (R, 5, 2) it is shown, as rising numbers.

    A set stays until another is clearly nearer.
    """
    distances = scipy.ndimage.uniform_filter1d(shape_distances(faces, photos), SMOOTHED_ROWS, axis=0, mode="nearest")
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    shown: list[tuple[int, ...]] = []
    for row, best in enumerate(order):
        held = shown[-1] if shown else None
        if held is None or distances[row, best].sum() < WORTH_A_CHANGE * distances[row, list(held)].sum():
            held = tuple(sorted(int(photo) for photo in best))
        shown.append(held)
    return shown


def shown_photos(track: Track, anchor: IdentityAnchor) -> list[tuple[int, ...]] | None:
    """For each row of a track which of the anchor's references the model is shown; None: all of them, always."""
    if anchor.reference_landmarks is None or len(anchor.references) <= anchor.shown:
        return None
    return nearest_photos(track.landmarks, anchor.reference_landmarks, anchor.shown)


def varied(landmarks: Float32, sureness: Sequence[float], count: int) -> list[int]:
    """Which photos are kept where there are more than can be looked at: the surest, then always the one whose sureness times its
    distance to those that are kept is greatest (farthest points, weighted).

    landmarks: (n, 5, 2).  sureness: n embedding norms.  Returns at most `count` rows, in the order in which they were taken.
    """
    apart = shape_distances(landmarks, landmarks)
    return [row for row, _ in islice(farthest_first(sureness, lambda row: apart[:, row]), count)]


def farthest_first(worth: Sequence[float], distances_to: Callable[[int], Float64]) -> Iterator[tuple[int, float]]:
    """All rows: the worthiest, then always the one whose worth times its distance to the nearest row before it is greatest; the
    first of equals.

    distances_to: row -> (n,) distances of all rows to it.  Yields (row, that distance; infinite for the first).
    """
    weights = np.asarray(worth, np.float64)
    left = np.ones(len(weights), bool)
    nearest = np.full(len(weights), np.inf)
    while left.any():
        score = weights * nearest if np.isfinite(nearest[left]).all() else weights
        row = int(np.argmax(np.where(left, score, -np.inf)))
        yield row, float(nearest[row])
        left[row] = False
        nearest = np.minimum(nearest, distances_to(row))
