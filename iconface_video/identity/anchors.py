"""Identity anchors: one trusted direction per person or track (IConFace eq. 3-4), and which pictures it should stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from iconface_video.settings import AnchorSettings
from iconface_video.types import EMBEDDING_SIZE, Float32, IdentityAnchor, UInt8

MIN_QUALITY = 0.1
"""Faces below this quality say nothing about who it is (`faces.quality`)."""
_TINY = 1e-6


class Direction(NamedTuple):
    """Result of eq. 3-4."""

    direction: Float32
    """(512,) unit vector."""
    reliability: float
    """Norms of the sources, weighted like their directions."""
    weights: Float32
    """(n,) of the sources, sum 1."""


def aggregate(embeddings: ArrayLike, temperature: float = 1.0) -> Direction:
    """IConFace eq. 3-4: ``e_r = z_r / |z_r|``, ``q_r = |z_r|``, ``w = softmax(log(q) / T)``, ``e_ref = normalise(sum w_r e_r)``.

    embeddings: (n, 512) raw (their norm is the reliability), n >= 1, any number of sources.
    Raises ValueError for no source, for embeddings that are not finite, and where directions cancel out.
    """
    raw = np.asarray(embeddings, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[1] != EMBEDDING_SIZE or not len(raw):
        raise ValueError(f"embeddings are (n, {EMBEDDING_SIZE}) with n >= 1, got {raw.shape}")
    if not np.isfinite(raw).all():
        raise ValueError("embeddings hold values that are not finite")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, must be above 0")
    norms = np.maximum(np.linalg.norm(raw, axis=1), _TINY)
    logits = np.log(norms) / temperature
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    mixed = weights @ (raw / norms[:, None])
    length = np.linalg.norm(mixed)
    if length < _TINY:
        raise ValueError("the sources' directions cancel out: they cannot be of one person")
    return Direction((mixed / length).astype(np.float32), float(weights @ norms), weights.astype(np.float32))


def make_anchor(
    embeddings: ArrayLike,
    pictures: Sequence[UInt8],
    settings: AnchorSettings,
    origin: Literal["user", "track"],
) -> IdentityAnchor:
    """The anchor from all sources; the model is shown the best of their pictures.

    embeddings: (n, 512) raw.  pictures: n aligned crops, best first, of which up to `settings.max_references` are shown.
    """
    found = aggregate(embeddings, settings.temperature)
    shown = tuple(pictures[: settings.max_references])
    return IdentityAnchor(found.direction, found.reliability, found.weights, shown, origin)


def self_anchor(embeddings: ArrayLike, settings: AnchorSettings) -> IdentityAnchor:
    """The fallback without usable sources: the degraded face's own embedding, normalised; no pictures are shown.

    embeddings: (n, 512) raw, of the face itself (n = 1) or of a few of its frames, so that the anchor holds still over a track.
    """
    found = aggregate(embeddings, settings.temperature)
    return IdentityAnchor(found.direction, found.reliability, found.weights, (), "self")


def best_first(embeddings: ArrayLike) -> list[int]:
    """Rows of a person's photos in the order in which the model is shown them: the highest embedding norm first.

    embeddings: (n, 512) raw.
    """
    norms = np.linalg.norm(np.asarray(embeddings, np.float64).reshape(-1, EMBEDDING_SIZE), axis=1)
    return [int(row) for row in np.argsort(-norms, kind="stable")]


@dataclass(frozen=True, eq=False)
class CropCandidate:
    """A frame of a track that may serve as evidence."""

    pts: int
    seconds: float
    quality: float
    """0..1."""
    pose: Float32
    """(2,) yaw and pitch, degrees."""
    embedding: Float32 | None = None
    """(512,) raw, where one was taken."""
    group: int = 0
    """Track it comes from; time distance means little between groups."""


def choose_crops(candidates: Sequence[CropCandidate], count: int, min_quality: float = MIN_QUALITY) -> list[CropCandidate]:
    """Up to `count` candidates that are good and differ from each other, best first.

    Greedy: the best one, then always the one with the highest quality times its distance to what is already chosen
    (farthest-point selection weighted by quality). Frames much worse than the best one are not taken for their variety alone.
    """
    pool = [item for item in candidates if item.quality >= min_quality]
    if not pool:
        return []
    floor = 0.5 * max(item.quality for item in pool)
    pool = sorted((item for item in pool if item.quality >= floor), key=lambda item: (-item.quality, item.pts, item.group))
    chosen = [pool.pop(0)]
    nearest = [_distance(item, chosen[0]) for item in pool]
    while pool and len(chosen) < count:
        best = max(range(len(pool)), key=lambda i: pool[i].quality * nearest[i])
        if nearest[best] <= 0:
            break
        chosen.append(pool.pop(best))
        nearest.pop(best)
        nearest = [min(old, _distance(item, chosen[-1])) for old, item in zip(nearest, pool)]
    return sorted(chosen, key=lambda item: -item.quality)


def _distance(a: CropCandidate, b: CropCandidate) -> float:
    """0 (the same picture) .. 1: pose, then identity embedding, then time."""
    turned = 1 - np.exp(-0.5 * float(((a.pose - b.pose) ** 2).sum()) / 15.0**2)
    apart = 1.0 if a.group != b.group else 1 - np.exp(-abs(a.seconds - b.seconds) / 2.0)
    unlike = turned
    if a.embedding is not None and b.embedding is not None:
        lengths = float(np.linalg.norm(a.embedding) * np.linalg.norm(b.embedding))
        unlike = min(1.0, 1.0 - float(a.embedding @ b.embedding) / max(lengths, _TINY))
    return float(0.4 * turned + 0.3 * unlike + 0.3 * apart)
