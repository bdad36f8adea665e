"""Photos that were dropped on a person: kept with the face that was found in each, so that reading them again takes no model."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from iconface_video.errors import StoreError
from iconface_video.files import read_arrays, write_whole
from iconface_video.identity.references import ReferencePhoto, match_person
from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, UInt8
from iconface_video.video.pictures import jpeg
from iconface_video.web.record import PhotoRecord

_FACE = "face.npz"
_CLEARLY = 0.1
"""Cosine by which a photo must be more like somebody else before the user is told."""


@dataclass(eq=False)
class Photo:
    """A photo that was dropped on a person."""

    reference: ReferencePhoto
    likeness: float
    """Cosine with the person in the clip."""
    notes: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: secrets.token_hex(6))

    def record(self) -> PhotoRecord:
        return PhotoRecord(self.id, self.reference.path.name, self.likeness, list(self.notes))

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        return {"id": self.id, "file": self.reference.path.name, "likeness": self.likeness, "notes": self.notes}


def save_face(reference: ReferencePhoto) -> None:
    """Beside the photo. Raises StoreError."""
    place = reference.path.parent / _FACE
    try:
        write_whole(place, lambda file: np.savez(file, crop=reference.crop, embedding=reference.embedding))
    except OSError as error:
        raise StoreError(f"{place}: cannot be written ({error.strerror}); free some space") from error


def load_photos(folder: Path, records: Iterable[PhotoRecord]) -> tuple[dict[str, Photo], list[str]]:
    """By id, and sentences on those that are gone or damaged."""
    found, lost = {}, []
    for item in records:
        path = folder / item.id / item.file
        try:
            arrays = read_arrays(path.parent / _FACE)
            crop: UInt8 = np.asarray(arrays["crop"], np.uint8)
            embedding: Float32 = np.asarray(arrays["embedding"], np.float32)
            if not path.is_file() or crop.ndim != 3 or embedding.ndim != 1:
                raise ValueError
        except (OSError, ValueError, KeyError):
            lost.append(f"the photo {item.file} is missing or damaged in the project's folder; drop it on the person once more")
            continue
        found[item.id] = Photo(ReferencePhoto(path, crop, embedding), item.likeness, list(item.notes), item.id)
    return found, lost


def describe_photo(
    reference: ReferencePhoto,
    person: int,
    directions: Mapping[int, Float32],
    titles: Mapping[int, str],
    settings: AnchorSettings,
) -> Photo:
    """The photo with its likeness and what the user should know: it is used all the same, on the user's word.

    directions, titles: of all people by number.
    """
    match = match_person(person, [reference], dict(directions), settings)
    notes = list(reference.notes)
    if match.rival is not None and match.rival_score >= max(settings.min_similarity, match.score + _CLEARLY):
        notes.append(f"looks more like {titles[match.rival]}; used here because you put it here")
    elif match.score < settings.min_similarity:
        notes.append("looks little like this person in the video; used because you put it here")
    return Photo(reference, match.score, notes, reference.path.parent.name)


def thumbnail(reference: ReferencePhoto) -> bytes:
    """The face of a photo, as it was found."""
    return jpeg(np.asarray(cv2.resize(reference.crop, (128, 128), interpolation=cv2.INTER_AREA), np.uint8))
