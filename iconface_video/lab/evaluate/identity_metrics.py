"""Who is on a picture, by a face network beside our own; and where eyes, nose and mouth are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from iconface_video.errors import UsageError
from iconface_video.faces.detector import Detector
from iconface_video.settings import nearest
from iconface_video.types import Float32, Float64, UInt8

TEACHERS_SAYING = (
    "No loss of the restorer uses this network itself, but it was the teacher of the embedded identity encoder, which is in the loss and "
    "in the anchor: likeness that training gained through that encoder shows here in part because both look at the same things."
)
"""Beside every figure of likeness by dlib's network."""


class IdentityJudge(Protocol):
    """Embeds faces so that the cosine says whether two are one person."""

    name: str
    description: str
    """One sentence for the report."""

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """FFHQ-framed crops, uint8 (S, S, 3) RGB -> (n, d) unit vectors."""
        ...


class DlibJudge:
    """dlib's face network on dlib's own framing, face and mirror image. Its descriptors all lie in one corner of the space, so the
    mean of other clean faces is taken off before cosines are.
    """

    name = "dlib"

    def __init__(self, clean: Sequence[UInt8]) -> None:
        """clean: faces that are not measured; their mean descriptor is the centre."""
        from iconface_video.lab.train.teacher import Teacher

        self._teacher = Teacher()
        self._center = self._raw(clean).mean(0)
        self.description = (
            f"dlib's face network, cosine of descriptors less the mean of {len(clean)} clean faces. {TEACHERS_SAYING}"
        )

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        return _unit(self._raw(crops) - self._center)

    def landmarks(self, crops: Sequence[UInt8]) -> Float64:
        """(n, 68, 2) px."""
        return np.stack([self._teacher.landmarks(crop) for crop in crops]).astype(np.float64)

    def _raw(self, crops: Sequence[UInt8], batch: int = 16) -> Float32:
        parts = [self._teacher.embed(list(crops[start : start + batch])) for start in range(0, len(crops), batch)]
        return np.concatenate(parts)


class EncoderJudge:
    """One of this project's identity encoders."""

    def __init__(self, source: str) -> None:
        from iconface_video.faces.identity_encoder import load_identity_encoder

        self._encoder = load_identity_encoder(source)
        self.name = source if source == "embedded" else Path(source).name
        self.description = f"the identity encoder '{source}', cosine of its embeddings." + (
            " It is also a training loss of the restorer and feeds it: read these figures as flattered."
            if source == "embedded"
            else ""
        )

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        from iconface_video.faces.identity_encoder import embed_crops

        return _unit(embed_crops(self._encoder, crops))


def make_discriminator(name: str, clean: Sequence[UInt8]) -> DlibJudge | EncoderJudge:
    """name: dlib, embedded, or a folder. Raises UsageError for another name, or where dlib is not installed."""
    if name == "dlib":
        missing = [package for package in ("dlib", "face_recognition_models") if find_spec(package) is None]
        if missing:
            raise UsageError(
                f"the identity figures need {' and '.join(missing)}: pip install 'iconface-video[evaluate]', "
                "or use --identity embedded, or --skip identity"
            )
        return DlibJudge(clean)
    if name != "embedded" and not Path(name).exists():
        raise UsageError(
            f"--identity is '{name}', must be dlib, embedded or a folder of an encoder.{nearest(name, ('dlib', 'embedded'))}"
        )
    return EncoderJudge(name)


def cosine(embeddings: Float32, others: Float32) -> Float64:
    """(n,) of the rows of two (n, d) arrays of unit vectors."""
    return np.asarray((embeddings * others).sum(1), dtype=np.float64)


def cosine_to_each(embeddings: Float32, groups: Sequence[Float32]) -> Float64:
    """(n,) mean cosine of row i to all rows of group i (r, d); NaN for an empty group."""
    return np.array([float((group @ row).mean()) if len(group) else np.nan for row, group in zip(embeddings, groups)])


@dataclass(frozen=True, eq=False)
class Gallery:
    """Known people: whom a face is taken for."""

    names: tuple[str, ...]
    directions: Float32
    """(n, d) unit: the mean of each person's embeddings."""

    @classmethod
    def of(cls, photos: Mapping[str, Sequence[UInt8]], judge: IdentityJudge) -> Gallery | None:
        """photos: name -> FFHQ-framed crops. None where there are not two people: nobody could be mistaken for another."""
        named = {name: crops for name, crops in photos.items() if name and len(crops)}
        if len(named) < 2:
            return None
        means = np.stack([judge.embed(crops).mean(0) for crops in named.values()])
        return cls(tuple(named), _unit(means))

    def mistaken(self, embeddings: Float32, people: Sequence[str]) -> Float64:
        """(n,) 1 where the nearest person is somebody else, 0 where it is the right one, NaN where that one is not known here.

        embeddings: (n, d) unit; people: the n right names.
        """
        nearest = (embeddings @ self.directions.T).argmax(1)
        known = [name in self.names for name in people]
        wrong = [self.names[place] != name for place, name in zip(nearest, people)]
        return np.where(known, np.array(wrong, np.float64), np.nan)


def _unit(vectors: Float32) -> Float32:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float32)


# ---- landmarks


def detected_landmarks(detector: Detector, crops: Sequence[UInt8]) -> Float64:
    """(n, 5, 2) px of the largest face that the detector finds in each crop, NaN where it finds none."""
    found = np.full((len(crops), 5, 2), np.nan)
    for row, crop in enumerate(crops):
        faces = detector.detect(np.ascontiguousarray(crop))
        if faces:
            best = max(faces, key=lambda face: float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1])))
            found[row] = best.landmarks
    return found


def landmark_error(points: Float64, truth: Float64, eyes: Float64) -> Float64:
    """(n,) mean distance of the points (n, k, 2) to the truth's, as a share of the eye distance; NaN where a face was not found.

    eyes: (n, 2, 2) px, the truth's eyes.
    """
    distance = np.linalg.norm(points - truth, axis=2).mean(1)
    return np.asarray(distance / np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1), dtype=np.float64)


def eyes_of_68(points: Float64) -> Float64:
    """(n, 68, 2) -> (n, 2, 2) centres of both eyes."""
    return np.stack([points[:, 36:42].mean(1), points[:, 42:48].mean(1)], axis=1)
