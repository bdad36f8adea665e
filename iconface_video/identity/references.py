"""The user's photos of a person: found face, aligned crop, raw embedding, and which person in the clip they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import scipy

from iconface_video.errors import InputError, ReferencePhotoError
from iconface_video.faces.align import crop_from_display, cut_crop, estimate_parameters, widened
from iconface_video.faces.detector import Detector, make_detector
from iconface_video.identity.anchors import aggregate
from iconface_video.settings import AnchorSettings, SurveySettings
from iconface_video.types import Detection, Float32, UInt8
from iconface_video.video.pictures import HEIC_IS_NOT_READ, HEIC_SUFFIXES, read_picture

Embed = Callable[[Sequence[UInt8]], Float32]
"""Aligned FFHQ-frame crops, uint8 (S, S, 3) RGB -> (n, 512) raw embeddings."""

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".gif"})
"""What counts as a photo in a folder; a file that is named one by one may have any name."""
PHOTO_DETECTION_SIZE = 1024
"""px: photos are few and may show a small face; they are looked at more closely than frames."""
MIN_PHOTO_SCORE = 0.5
SMALL_FACE_PX = 64
"""A face of fewer px from chin to brow is used, with a note."""


@dataclass(frozen=True, eq=False)
class ReferencePhoto:
    """One usable photo."""

    path: Path
    crop: UInt8
    """(S, S, 3) RGB in the FFHQ frame, or wider as the model wants it; S is 512, or 256 where the face is no larger."""
    embedding: Float32
    """(512,) raw."""
    notes: tuple[str, ...] = ()
    """For people: "3 faces, took the largest"."""
    name: str | None = None
    """Whom the user says it shows."""
    face_px: float | None = None
    """Height of the face in the photo, where it is known."""
    landmarks: Float32 | None = None
    """(5, 2) of the face, px of any picture; None: not known."""

    def __repr__(self) -> str:
        return f"ReferencePhoto({self.path.name}, {self.crop.shape[0]}px, name={self.name})"


@dataclass(frozen=True)
class Match:
    """Which person in the clip a photo (or all photos of one name) was taken for."""

    person: int
    score: float
    """Cosine of the photos' anchor and the person's."""
    photos: tuple[ReferencePhoto, ...]
    name: str | None = None
    rival: int | None = None
    """The person who is next alike; None where there is no other."""
    rival_score: float = 0.0


def read_photo(path: Path) -> UInt8:
    """(h, w, 3) RGB, upright (EXIF orientation honoured), 8 bit. Raises ReferencePhotoError naming the file."""
    if path.is_dir():
        raise ReferencePhotoError(
            f"{path}: the reference photo cannot be read (it is a folder; give it as `person` NAME=FOLDER)"
        )
    try:
        return read_picture(path, "reference photo")
    except InputError as error:
        raise ReferencePhotoError(str(error)) from error


def photo_detector(settings: SurveySettings) -> Detector:
    """The detector of the settings, looking closely."""
    return make_detector(replace(settings, detection_size=PHOTO_DETECTION_SIZE))


def load_photo(
    path: Path, detector: Detector, embed: Embed, name: str | None = None, scale: float | None = None
) -> ReferencePhoto:
    """A photo, ready for use. With several faces the largest is taken and a note says so.

    scale: how much wider than the FFHQ frame the model is shown it.

    Raises ReferencePhotoError where the file is no photo or shows no face.
    """
    picture = read_photo(path)
    faces = find_faces(picture, detector)
    if not faces:
        raise ReferencePhotoError(
            f"{path}: no face was found in this reference photo; use one that shows the face larger and from the front"
        )
    largest = max(faces, key=_area)
    notes = []
    if len(faces) > 1:
        notes.append(f"{len(faces)} faces, took the largest")
    height = float(largest.box[3] - largest.box[1])
    if height < SMALL_FACE_PX:
        notes.append(f"the face is only {height:.0f} px high")
    parameters = estimate_parameters(largest.landmarks)
    size = 512 if np.exp(parameters[0]) < 1.5 else 256
    crop = cut_crop(picture, crop_from_display(parameters, size), size)
    shown = crop if scale is None else cut_crop(picture, crop_from_display(widened(parameters, scale), size), size)
    points = np.asarray(largest.landmarks, np.float32)
    return ReferencePhoto(path, shown, np.asarray(embed([crop]))[0], tuple(notes), name, height, points)


def load_folder(
    name: str, folder: Path, detector: Detector, embed: Embed, scale: float | None = None
) -> tuple[list[ReferencePhoto], list[str]]:
    """All photos of one person, and notes on files that show no face. scale: as `load_photo` takes it.

    Raises ReferencePhotoError when the folder is missing or none of its photos is usable.
    """
    paths = photos_of(name, folder)
    photos: list[ReferencePhoto] = []
    notes = [f"skipped {path}: {HEIC_IS_NOT_READ}" for path in heic_in(folder)]
    for path in paths:
        try:
            photos.append(load_photo(path, detector, embed, name, scale))
        except ReferencePhotoError as error:
            notes.append(f"skipped {error}")
    if not photos:
        raise _none_usable(name, folder)
    return photos, notes


def photos_of(name: str, folder: Path) -> list[Path]:
    """What counts as a photo in a person's folder. Raises ReferencePhotoError where there is no folder, or nothing in it."""
    if not folder.is_dir():
        raise ReferencePhotoError(f"{folder}: there is no such folder of reference photos (person '{name}')")
    found = photos_in(folder)
    if not found:
        raise _none_usable(name, folder)
    return found


def _none_usable(name: str, folder: Path) -> ReferencePhotoError:
    return ReferencePhotoError(f"{folder}: no usable reference photo of '{name}': {why_none(folder)}")


def photos_in(folder: Path) -> list[Path]:
    """What counts as a photo in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)


def heic_in(folder: Path) -> list[Path]:
    """Photos in a folder that are named HEIC: they cannot be read."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in HEIC_SUFFIXES)


def why_none(folder: Path) -> str:
    """Why a folder gives no usable photo."""
    readable, heic = len(photos_in(folder)), len(heic_in(folder))
    unread = f"{heic} of HEIC kind, which are not read here: save them as JPEG first"
    if not readable:
        return f"it holds only photos ({unread})" if heic else "it holds no photos"
    return f"none of its {readable} photos shows a face" + (f", and {unread}" if heic else "")


def find_faces(picture: UInt8, detector: Detector) -> list[Detection]:
    """Faces of a photo; where there seems to be none, looks again with a border (a face that fills the photo) and in
    overlapping quarters (a face that is small in it). Picture coordinates."""
    found = _confident(detector.detect(picture))
    if found:
        return found
    height, width = picture.shape[:2]
    pad = max(height, width) // 3
    found = _confident(detector.detect(cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_REPLICATE).astype(np.uint8)))
    if found:
        return [_shifted(item, -pad, -pad) for item in found]
    part_height, part_width = int(height * 0.6), int(width * 0.6)
    for y in (0, height - part_height):
        for x in (0, width - part_width):
            part = np.ascontiguousarray(picture[y : y + part_height, x : x + part_width])
            found += [_shifted(item, x, y) for item in _confident(detector.detect(part))]
    return _without_repeats(found)


def match_references(photos: Sequence[ReferencePhoto], people: dict[int, Float32], settings: AnchorSettings) -> list[Match]:
    """Which person each photo shows.

    Photos with a name belong together, and different names are different people (one-to-one assignment, best total);
    each photo without a name goes to the person it is most like. people: person -> (512,) unit direction.
    Raises ReferencePhotoError where nobody in the clip is alike enough.
    """
    if not people:
        return []
    matches = _match_named(photos, people, settings)
    for photo in photos:
        if photo.name is None:
            found = _match_of(aggregate(photo.embedding[None]).direction, (photo,), people)
            _check_score(str(photo.path), found, settings)
            matches.append(found)
    return merge_matches(matches)


def merge_matches(matches: Sequence[Match]) -> list[Match]:
    """One match for each person: all photos that were taken for it, from whatever side they came."""
    by_person: dict[int, list[Match]] = {}
    for match in matches:
        by_person.setdefault(match.person, []).append(match)
    return [_merged(found) if len(found) > 1 else found[0] for found in by_person.values()]


def _merged(matches: Sequence[Match]) -> Match:
    counts = [len(match.photos) for match in matches]
    closest = max(matches, key=lambda match: match.rival_score - match.score)
    return Match(
        matches[0].person,
        float(np.average([match.score for match in matches], weights=counts)),
        tuple(photo for match in matches for photo in match.photos),
        next((match.name for match in matches if match.name), None),
        closest.rival,
        closest.rival_score,
    )


def match_person(
    person: int, photos: Sequence[ReferencePhoto], people: dict[int, Float32], settings: AnchorSettings, name: str | None = None
) -> Match:
    """The user says whom these photos show: they are taken for that person, however alike they are; the score is told."""
    direction = aggregate([photo.embedding for photo in photos], settings.temperature).direction
    return _match_of(direction, tuple(photos), people, person, name)


def _match_of(
    direction: Float32,
    photos: tuple[ReferencePhoto, ...],
    people: dict[int, Float32],
    person: int | None = None,
    name: str | None = None,
) -> Match:
    """With the most alike person, or the given one, and whoever is next."""
    scores = {other: float(direction @ known) for other, known in people.items()}
    ranked = sorted(scores, key=lambda other: -scores[other])
    chosen = ranked[0] if person is None else person
    rival = next((other for other in ranked if other != chosen), None)
    return Match(chosen, scores.get(chosen, 0.0), photos, name, rival, 0.0 if rival is None else scores[rival])


def _match_named(photos: Sequence[ReferencePhoto], people: dict[int, Float32], settings: AnchorSettings) -> list[Match]:
    names = sorted({photo.name for photo in photos if photo.name is not None})
    if len(names) > len(people):
        raise ReferencePhotoError(
            f"photos of {len(names)} people were given ({', '.join(names)}), but {len(people)} were found in the clip"
        )
    if not names:
        return []
    groups = {name: tuple(photo for photo in photos if photo.name == name) for name in names}
    order = sorted(people)
    directions = [aggregate([photo.embedding for photo in groups[name]], settings.temperature).direction for name in names]
    scores = np.array([[float(direction @ people[person]) for person in order] for direction in directions])
    matches = []
    for row, column in zip(*scipy.optimize.linear_sum_assignment(-scores)):
        name = names[row]
        found = _match_of(directions[row], groups[name], people, order[column], name)
        _check_score(f"the photos of '{name}' ({groups[name][0].path.parent})", found, settings)
        matches.append(found)
    return matches


def _check_score(what: str, match: Match, settings: AnchorSettings) -> None:
    if match.score < settings.min_similarity:
        raise ReferencePhotoError(
            f"{what}: nobody in the clip looks like this. The nearest is person {match.person + 1} with a similarity of "
            f"{match.score:.2f}, and at least {settings.min_similarity:.2f} is needed. If it is the right person, lower "
            "`min_similarity`, or say who it is in a people.yaml (`iconface-video people`)."
        )


def _confident(found: Sequence[Detection]) -> list[Detection]:
    return [item for item in found if item.score >= MIN_PHOTO_SCORE]


def _area(item: Detection) -> float:
    return float((item.box[2] - item.box[0]) * (item.box[3] - item.box[1]))


def _shifted(item: Detection, x: int, y: int) -> Detection:
    box = item.box + np.array([x, y, x, y], np.float32)
    return replace(item, box=box, landmarks=item.landmarks + np.array([x, y], np.float32))


def _without_repeats(found: Sequence[Detection]) -> list[Detection]:
    """The same face seen in two quarters counts once."""
    kept: list[Detection] = []
    for item in sorted(found, key=lambda item: -item.score):
        middle = item.landmarks.mean(axis=0)
        if all(np.linalg.norm(middle - other.landmarks.mean(axis=0)) > 0.3 * (item.box[3] - item.box[1]) for other in kept):
            kept.append(item)
    return kept
