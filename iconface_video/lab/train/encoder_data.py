"""What the identity encoder learns from: photos in the ArcFace frame, kept in memory, with stored teacher vectors and names.

Figures of an identity encoder on people that it has never seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from iconface_video.degrade import degrade
from iconface_video.errors import InputError
from iconface_video.faces.encoder_networks import WINDOW_SIZE
from iconface_video.faces.identity_encoder import (
    ENCODER_SIZE,
    IdentityEncoder,
    arcface_from_ffhq,
    window_from_arcface112,
)
from iconface_video.faces.pixels import to_tensor, to_uint8
from iconface_video.lab.train.face_views import grey, relit
from iconface_video.lab.train.loading import index_rows, read_indexed
from iconface_video.lab.train.teacher import CHIP_SIZE, TEACHER_SIZE, chip_from_arcface112, load_teacher
from iconface_video.types import Float32, Float64, UInt8

MARGIN_PX = 4
"""Kept around the ArcFace frame for shifts and turns."""

_SIDE = ENCODER_SIZE + 2 * MARGIN_PX
_SEEN_PX = 512 * _SIDE / 143.0
"""The cached picture is this part of a 512-px FFHQ frame (the ArcFace frame has its scale at 143 px)."""


@dataclass(frozen=True)
class EncoderFaces:
    """Pictures of one split. n pictures in all."""

    images: UInt8
    """(n, 120, 120, 3) RGB."""
    teacher: Float32
    """(n, 128) descriptors; rows of zeros where none is stored."""
    labels: NDArray[np.int64]
    """(n,) person, -1 where not known or alone."""
    sets: NDArray[np.int64]
    """(n,) which folder it came from."""

    @property
    def people(self) -> int:
        return int(self.labels.max()) + 1 if len(self.labels) else 0


def load_faces(folders: list[Path], teacher: Path | None, split: Literal["train", "val"]) -> EncoderFaces:
    """Read the photos of `split`; `teacher` is the folder with <set>.npz (a set without one counts as not embedded)."""
    pictures, names, vectors, sets = [], [], [], []
    for number, folder in enumerate(folders):
        stored = _stored(teacher, folder.name)
        for row in index_rows(folder, split):
            pictures.append(_framed(folder / row["file"]))
            names.append(row.get("identity") or "")
            vectors.append(stored.get(row["file"], np.zeros(TEACHER_SIZE, np.float32)))
            sets.append(number)
    if not pictures:
        raise InputError(f"no '{split}' pictures in {', '.join(map(str, folders)) or 'no folder at all'}")
    return EncoderFaces(np.stack(pictures), np.stack(vectors), _number_people(names), np.array(sets, np.int64))


def _stored(teacher: Path | None, name: str) -> dict[str, Float32]:
    path = teacher / f"{name}.npz" if teacher else None
    return load_teacher(path) if path and path.is_file() else {}


def _framed(path: Path) -> UInt8:
    framed = arcface_from_ffhq(to_tensor([read_indexed(path)]), MARGIN_PX)
    return to_uint8(framed[0])


def _number_people(names: list[str]) -> NDArray[np.int64]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    known = {name: place for place, name in enumerate(sorted(n for n, count in counts.items() if n and count > 1))}
    return np.array([known.get(name, -1) for name in names], np.int64)


@dataclass(frozen=True)
class EncoderBatch:
    """Clean views first, then degraded views of the first pictures among them."""

    images: UInt8
    """(v, S, S, 3) RGB."""
    index: NDArray[np.int64]
    """(v,) rows of the `EncoderFaces`."""
    strength: Float32
    """(v,) 0 for clean views."""
    chips: UInt8
    """(c, 150, 150, 3) the first c clean views as the teacher's network sees them."""


class EncoderMixer:
    """Batches from (seed, step) alone."""

    def __init__(self, faces: EncoderFaces, clean: int, degraded: int, windows: bool) -> None:
        """`windows`: views are the compact net's windows, else whole ArcFace frames."""
        self.faces, self.clean, self.degraded, self.windows = faces, clean, degraded, windows
        order = np.argsort(faces.labels, kind="stable")
        starts = np.searchsorted(faces.labels[order], np.arange(faces.people + 1))
        self._photos = [order[a:b] for a, b in itertools.pairwise(starts)]

    def batch(self, seed: int, step: int, chips: int, degraded: bool = True) -> EncoderBatch:
        """Half of the clean pictures are pairs of one person, so that near and far distances both occur. For the first `chips` of them there
        is the teacher's view as well; without `degraded` there are clean views only.
        """
        rng = np.random.default_rng((seed, step))
        pairs = self.clean // 4 if self._photos else 0
        people = rng.choice(len(self._photos), size=min(pairs, len(self._photos)), replace=False).tolist() if pairs else []
        chosen = [int(i) for person in people for i in rng.choice(self._photos[person], size=2, replace=False)]
        chosen += rng.integers(len(self.faces.images), size=self.clean - len(chosen)).tolist()
        rng.shuffle(chosen)
        views, shown = [], []
        for place, index in enumerate(chosen):
            image, matrix = self._clean(index, rng)
            views.append(self._view(image, matrix))
            if place < chips:
                shown.append(_warped(image, _after(chip_from_arcface112(), matrix), CHIP_SIZE))
        strengths = rng.uniform(1.0, 18.0, self.degraded if degraded else 0)
        views += [self._damaged(index, float(strength), rng) for index, strength in zip(chosen, strengths)]
        return EncoderBatch(
            images=np.stack(views),
            index=np.array(chosen + chosen[: len(strengths)], np.int64),
            strength=np.concatenate([np.zeros(self.clean), strengths]).astype(np.float32),
            chips=np.stack(shown) if shown else np.zeros((0, CHIP_SIZE, CHIP_SIZE, 3), np.uint8),
        )

    def _clean(self, index: int, rng: np.random.Generator) -> tuple[UInt8, Float64]:
        image = self.faces.images[index]
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
        image = relit(image, rng, 0.12)
        return grey(image) if rng.random() < 0.12 else image, _framing(rng)

    def _damaged(self, index: int, strength: float, rng: np.random.Generator) -> UInt8:
        image, matrix = self._clean(index, rng)
        return self._view(degrade(image, strength, rng, seen_px=_SEEN_PX), matrix)

    def _view(self, image: UInt8, matrix: Float64) -> UInt8:
        if self.windows:
            return _warped(image, _after(window_from_arcface112(), matrix), WINDOW_SIZE)
        return _warped(image, matrix, ENCODER_SIZE)


def _framing(rng: np.random.Generator | None) -> Float64:
    """(2, 3) from a cached picture (120 px) to the ArcFace frame (112 px) under a small random similarity (None: exactly)."""
    turn, zoom, move = (0.0, 1.0, np.zeros(2)) if rng is None else _small_similarity(rng)
    center = (_SIDE - 1) / 2
    matrix = cv2.getRotationMatrix2D((center, center), turn, zoom)
    matrix[:, 2] = matrix[:, 2] - MARGIN_PX + move
    return np.asarray(matrix, dtype=np.float64)


def _small_similarity(rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
    return float(rng.normal(0, 2.5)), float(np.exp(rng.normal(0, 0.025))), rng.normal(0, 1.2, 2)


def _after(second: Float64, first: Float64) -> Float64:
    """(2, 3): `first`, then `second`."""
    return np.asarray(second @ np.vstack([first, [0, 0, 1]]), dtype=np.float64)


def _warped(image: UInt8, matrix: Float64, size: int) -> UInt8:
    return np.asarray(
        cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def exact_view(image: UInt8) -> UInt8:
    """The ArcFace frame (112 px) out of a cached picture."""
    return _warped(image, _framing(None), ENCODER_SIZE)


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
