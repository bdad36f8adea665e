"""Figures of an identity encoder on people that it has never seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from iconface_video.faces.identity_encoder import IdentityEncoder, to_tensor
from iconface_video.train.degradations import degrade
from iconface_video.train.encoder_data import _SEEN_PX, EncoderFaces, exact_view
from iconface_video.types import Float32, UInt8


@dataclass(frozen=True)
class ValidationFaces:
    """Held-out photos with names, clean and damaged the same way every time. n photos."""

    clean: UInt8
    """(n, 112, 112, 3) RGB."""
    damaged: UInt8
    """(n, 112, 112, 3)."""
    strength: Float32
    """(n,) of the damage, evenly from 4 to 16."""
    labels: NDArray[np.int64]
    """(n,)."""

    @classmethod
    def prepare(cls, faces: EncoderFaces, most: int = 400) -> ValidationFaces:
        """At most `most` photos (whole people, in order) of those whose person has at least two."""
        rows = np.flatnonzero(faces.labels >= 0)
        rows = rows[np.argsort(faces.labels[rows], kind="stable")][:most]
        rng = np.random.default_rng(7)
        strength = rng.permutation(np.linspace(4.0, 16.0, len(rows)))
        damaged = [degrade(faces.images[i], float(s), rng, seen_px=_SEEN_PX) for i, s in zip(rows, strength)]
        return cls(
            np.stack([exact_view(faces.images[i]) for i in rows]),
            np.stack([exact_view(image) for image in damaged]),
            strength.astype(np.float32),
            faces.labels[rows],
        )


def pair_accuracy(similarity: Float32, same: NDArray[np.bool_]) -> tuple[float, float]:
    """Balanced accuracy of "same person" at the best threshold, and that threshold. Both arrays (pairs,)."""
    order = np.argsort(-similarity)
    hits = np.cumsum(same[order]) / max(1, int(same.sum()))
    false = np.cumsum(~same[order]) / max(1, int((~same).sum()))
    balanced = (hits + 1 - false) / 2
    best = int(balanced.argmax())
    return float(balanced[best]), float(similarity[order[best]])


def validate_encoder(encoder: IdentityEncoder, sets: dict[str, ValidationFaces]) -> dict[str, float]:
    """For each set: accuracy on clean pairs and on clean-damaged pairs, share of norms ranked right; "score" is the mean clean accuracy."""
    device = next(encoder.parameters()).device

    def embed(images: UInt8) -> Float32:
        with torch.no_grad():
            parts = [encoder(to_tensor(list(images[i : i + 64]), device)).float().cpu() for i in range(0, len(images), 64)]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)

    figures: dict[str, float] = {}
    for name, faces in sets.items():
        figures.update({f"{name}_{key}": value for key, value in _figures(faces, embed).items()})
    figures["score"] = float(np.mean([figures[f"{name}_accuracy"] for name in sets]))
    return figures


def _figures(faces: ValidationFaces, embed: Callable[[UInt8], Float32]) -> dict[str, float]:
    clean, damaged = embed(faces.clean), embed(faces.damaged)
    clean_norm, damaged_norm = np.linalg.norm(clean, axis=1), np.linalg.norm(damaged, axis=1)
    unit, worse = clean / clean_norm[:, None], damaged / damaged_norm[:, None]
    upper = np.triu_indices(len(unit), 1)
    same = faces.labels[:, None] == faces.labels[None]
    accuracy, threshold = pair_accuracy((unit @ unit.T)[upper], same[upper])
    off = ~np.eye(len(unit), dtype=bool)
    crossed, _ = pair_accuracy((unit @ worse.T)[off], same[off])
    ranks = np.argsort(np.argsort(damaged_norm)), np.argsort(np.argsort(faces.strength))
    return {
        "accuracy": accuracy,
        "threshold": threshold,
        "damaged_accuracy": crossed,
        "norm_ranked": float((clean_norm > damaged_norm).mean()),
        "norm_ranked_any": float((clean_norm[:, None] > damaged_norm[None]).mean()),
        "norm_strength_correlation": float(np.corrcoef(*ranks)[0, 1]),
    }
