"""Identity anchors: one trusted direction per person or track (IConFace eq. 3-4), which pictures it should stand on, and their folder.

In a folder a run can go on after a crash and workers elsewhere can share them. Nothing is pickled.

anchors.npz    the arrays, named "<number>.direction", "<number>.weights", "<number>.reference.<k>", "<number>.landmarks" (where known)
anchors.json   each anchor's tracks and small fields, and the checksum of anchors.npz; written last
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from iconface_video.errors import StoreError
from iconface_video.files import checksum, write_whole
from iconface_video.identity.photo_choice import farthest_first, varied
from iconface_video.settings import AnchorSettings
from iconface_video.types import EMBEDDING_SIZE, Float32, Float64, IdentityAnchor, UInt8

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
    landmarks: Float32 | None = None,
) -> IdentityAnchor:
    """The anchor from all sources; the model is shown the best of their pictures.

    embeddings: (n, 512) raw.  pictures: n aligned crops, best first, of which up to `settings.max_references` are shown at a time.
    landmarks: (n, 5, 2) of the sources, by which each frame gets the pictures that are nearest to it; None: the first are shown.
    """
    found = aggregate(embeddings, settings.temperature)
    most = settings.max_references
    if landmarks is None or not 0 < most < min(settings.reference_pool, len(pictures)):
        return IdentityAnchor(found.direction, found.reliability, found.weights, tuple(pictures[:most]), origin)
    norms = np.linalg.norm(np.asarray(embeddings, np.float64), axis=1)
    kept = varied(landmarks, norms.tolist(), settings.reference_pool)
    return IdentityAnchor(
        found.direction,
        found.reliability,
        found.weights,
        tuple(pictures[row] for row in kept),
        origin,
        np.ascontiguousarray(landmarks[kept], np.float32),
        most,
    )


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

    def distances_to(row: int) -> Float64:
        return np.array([_distance(item, pool[row]) for item in pool])

    order = takewhile(lambda found: found[1] > 0, farthest_first([item.quality for item in pool], distances_to))
    chosen = [pool[row] for row, _ in islice(order, count)]
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


FORMAT = 1
ANCHOR_FILES = ("anchors.npz", "anchors.json")
_ARRAYS, _SUMMARY = ANCHOR_FILES


def save_anchors(anchors: Mapping[int, IdentityAnchor], folder: Path) -> None:
    """Write the anchors by track id; older ones in the same folder are replaced. Raises StoreError when it cannot be written."""
    folder = Path(folder)
    entries: dict[int, dict[str, Any]] = {}
    arrays: dict[str, Any] = {}
    for track_id in sorted(anchors):
        anchor = anchors[track_id]
        if id(anchor) not in entries:
            number = len(entries)
            arrays[f"{number}.direction"], arrays[f"{number}.weights"] = anchor.direction, anchor.weights
            arrays.update({f"{number}.reference.{k}": picture for k, picture in enumerate(anchor.references)})
            if anchor.reference_landmarks is not None:
                arrays[f"{number}.landmarks"] = anchor.reference_landmarks
            facts = {
                "reliability": anchor.reliability,
                "origin": anchor.origin,
                "references": len(anchor.references),
                "shown": anchor.shown,
            }
            entries[id(anchor)] = {**facts, "tracks": []}
        entries[id(anchor)]["tracks"].append(track_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _ARRAYS, lambda file: np.savez(file, allow_pickle=False, **arrays))
        content = json.dumps({"anchors": list(entries.values()), "arrays": checksum(folder / _ARRAYS)})
        summary = {"format": FORMAT, "checksum": zlib.crc32(content.encode()), "content": content}
        write_whole(folder / _SUMMARY, lambda file: file.write(json.dumps(summary, indent=1).encode()))
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"{folder}: the anchors cannot be written there ({reason}). Choose another work folder.") from error


def load_anchors(folder: Path) -> dict[int, IdentityAnchor]:
    """What `save_anchors` wrote, to the bit; tracks that shared an anchor share one object again.

    Raises StoreError when there is nothing, or it is damaged or of another version.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / _SUMMARY).read_bytes())
        if summary["format"] != FORMAT:
            raise StoreError(f"{folder}: its anchors have format {summary['format']!r}, this program reads format {FORMAT}.")
        if zlib.crc32(summary["content"].encode()) != summary["checksum"]:
            raise ValueError("checksum of anchors.json")
        content = json.loads(summary["content"])
        data = (folder / _ARRAYS).read_bytes()
        if checksum(folder / _ARRAYS) != content["arrays"]:
            raise ValueError("checksum of anchors.npz")
        anchors: dict[int, IdentityAnchor] = {}
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for number, entry in enumerate(content["anchors"]):
                anchor = _anchor(number, entry, arrays)
                anchors.update({track_id: anchor for track_id in entry["tracks"]})
        return dict(sorted(anchors.items()))
    except FileNotFoundError as error:
        raise StoreError(f"{folder}: no anchors there, {error.filename} is missing.") from error
    except StoreError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: its anchors are damaged ({error}); they have to be made again.") from error


def _anchor(number: int, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> IdentityAnchor:
    return IdentityAnchor(
        direction=arrays[f"{number}.direction"],
        reliability=entry["reliability"],
        weights=arrays[f"{number}.weights"],
        references=tuple(arrays[f"{number}.reference.{k}"] for k in range(entry["references"])),
        origin=entry["origin"],
        reference_landmarks=arrays.get(f"{number}.landmarks"),
        shown=entry.get("shown", entry["references"]),
    )
