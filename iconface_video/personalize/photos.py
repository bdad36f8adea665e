"""Which faces of which photos a person is learnt from: every face is looked at, and the one that recurs is the person.

Photos of a wedding show many people, albums hold the same picture twice, and somebody else's photo slips in. What is left out
is named with the reason; nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import ReferencePhotoError
from iconface_video.faces.align import crop_from_display, cut_crop, estimate_parameters
from iconface_video.faces.detector import Detector
from iconface_video.faces.quality import sharpness
from iconface_video.identity.anchors import best_first
from iconface_video.identity.grouping import linked
from iconface_video.identity.references import SMALL_FACE_PX, Embed, ReferencePhoto, find_faces, read_photo
from iconface_video.types import Float32, UInt8

MOST_PHOTOS = 24
"""More photos of one person teach nothing new in the steps that there are."""
MOST_FACES = 6
"""Of one photo: the largest. Who is a speck in the background is not whom it was taken of."""
CROP_SIZE = 256
SAME_PICTURE = 0.97
"""Correlation of two thumbnails from which they are one picture, or neighbouring frames. Different photos of 10 people: .955 at most."""
_MUCH_SHARPER = 1.5
_THUMBNAIL = 32


@dataclass(frozen=True, eq=False)
class PhotoFace:
    """One face in one photo."""

    path: Path
    crop: UInt8
    """(CROP_SIZE, CROP_SIZE, 3) RGB in the FFHQ frame."""
    embedding: Float32
    """(512,) raw."""
    face_px: float
    """Height of the face in the photo."""

    @property
    def direction(self) -> Float32:
        """(512,) unit."""
        return np.asarray(self.embedding / max(float(np.linalg.norm(self.embedding)), 1e-6), np.float32)


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not learnt from."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, eq=False)
class ChosenPhotos:
    """What a person is learnt from."""

    faces: tuple[PhotoFace, ...]
    """The person's face in each photo, surest first."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def faces_in(path: Path, detector: Detector, embed: Embed) -> list[PhotoFace]:
    """Every face of a photo, largest first. Raises ReferencePhotoError where it is no photo or shows no face."""
    picture = read_photo(path)
    found = find_faces(picture, detector)
    if not found:
        raise ReferencePhotoError(f"{path}: no face was found in this photo; use one that shows the face larger")
    found = sorted(found, key=lambda item: -float(item.box[3] - item.box[1]))[:MOST_FACES]
    crops = [
        np.asarray(cut_crop(picture, crop_from_display(estimate_parameters(item.landmarks), CROP_SIZE), CROP_SIZE), np.uint8)
        for item in found
    ]
    embeddings = embed(crops)
    return [
        PhotoFace(path, crop, np.asarray(row, np.float32), float(item.box[3] - item.box[1]))
        for item, crop, row in zip(found, crops, embeddings)
    ]


def look_at(
    paths: Sequence[Path], detector: Detector, embed: Embed, on_done: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[list[PhotoFace]], list[LeftOut]]:
    """The faces of each photo that shows any, and the photos that show none. on_done: photos done, photos in all."""
    found, left_out = [], []
    for done, path in enumerate(paths):
        try:
            found.append(faces_in(path, detector, embed))
        except ReferencePhotoError as error:
            left_out.append(LeftOut(path, str(error).removeprefix(f"{path}: ")))
        on_done(done + 1, len(paths))
    return found, left_out


def choose_photos(photos: Sequence[Sequence[PhotoFace]], min_similarity: float) -> ChosenPhotos:
    """Who is in most of the photos, and that person's face in each.

    photos: the faces of each.  min_similarity: faces are one person's while their mean cosine is at least this
    (average linkage, as for tracks).  Raises ReferencePhotoError where two people are in equally many photos.
    """
    photos = [faces for faces in photos if faces]
    if not photos:
        return ChosenPhotos((), (), ())
    faces = [face for photo in photos for face in photo]
    photo_of = [number for number, photo in enumerate(photos) for _ in photo]
    person = _most_seen(faces, photo_of, min_similarity)
    own = {photo_of[row]: faces[row] for row in person}
    left_out = [
        LeftOut(photo[0].path, "it does not show the person of the other photos")
        for number, photo in enumerate(photos)
        if number not in own
    ]
    notes = [f"{photo[0].path}: {len(photo)} faces, {_which(photos, n)}" for n, photo in enumerate(photos) if len(photo) > 1]
    kept, repeated = _without_repeats([own[number] for number in sorted(own)])
    large = [face for face in kept if face.face_px >= SMALL_FACE_PX]
    small = [
        LeftOut(face.path, f"the face is only {face.face_px:.0f} px high, and {SMALL_FACE_PX} are needed to learn from it")
        for face in kept
        if face.face_px < SMALL_FACE_PX
    ]
    surest = [large[row] for row in best_first([face.embedding for face in large])] if large else []
    if len(surest) > MOST_PHOTOS:
        notes.append(f"of {len(surest)} photos the {MOST_PHOTOS} surest are learnt from")
    return ChosenPhotos(tuple(surest[:MOST_PHOTOS]), (*left_out, *repeated, *small), tuple(notes))


def is_same_picture(one: UInt8, other: UInt8) -> bool:
    """Whether two crops in the FFHQ frame, (S, S, 3) RGB of any size, are one picture or neighbouring frames of one film."""
    return float(_thumbnail(one) @ _thumbnail(other)) >= SAME_PICTURE


def frames_of_clip(photos: Sequence[PhotoFace], crops: Sequence[UInt8]) -> list[LeftOut]:
    """Photos that are frames of the clip to be restored. crops: of the clip's faces, in the FFHQ frame.

    They show its damage as if it were the person's face, and nothing that the clip's own frames do not. A photo that shows the
    same moment much sharper was taken before the damage, and teaches what any photo teaches.
    """
    return [
        LeftOut(photo.path, "it is a frame of the clip itself: shown as a reference, but not learnt from")
        for photo in photos
        if any(is_same_picture(photo.crop, crop) and sharpness(photo.crop) < _MUCH_SHARPER * sharpness(crop) for crop in crops)
    ]


def photo_faces(photos: Sequence[ReferencePhoto]) -> list[PhotoFace]:
    """Photos that were given for a clip, as photos to learn from."""
    return [
        PhotoFace(photo.path, photo.crop, photo.embedding, photo.crop.shape[0] if photo.face_px is None else photo.face_px)
        for photo in photos
    ]


def _which(photos: Sequence[Sequence[PhotoFace]], number: int) -> str:
    return "took the largest" if len(photos) == 1 else f"took the one that is in the other photos{_twin(photos[number])}"


def _twin(faces: Sequence[PhotoFace]) -> str:
    """A warning where two faces of one photo look like one person."""
    alike = max(float(a.direction @ b.direction) for n, a in enumerate(faces) for b in faces[:n])
    return f"; two of them look alike ({alike:.2f}): cut the photo if it is the wrong one" if alike >= _ALIKE else ""


_ALIKE = 0.5
"""Cosine of two faces of one photo: one pair of strangers in a hundred."""


def _most_seen(faces: Sequence[PhotoFace], photo_of: Sequence[int], min_similarity: float) -> list[int]:
    """Rows of the faces of the person who is in most photos, one a photo."""
    if len(set(photo_of)) == 1:
        return [0]  # of one photo the largest, as it comes first
    directions = np.stack([face.direction for face in faces]).astype(np.float64)
    photo = np.asarray(photo_of)
    # Two faces in one photo are two people, however alike (twins).
    group_of = np.array(linked(directions @ directions.T, photo[:, None] == photo[None], min_similarity))
    groups = [[int(row) for row in np.flatnonzero(group_of == group)] for group in sorted(set(group_of))]
    groups.sort(key=lambda rows: -len(rows))
    if len(groups) > 1 and len(groups[0]) == len(groups[1]):
        named = " and ".join(", ".join(faces[row].path.name for row in rows) for rows in groups[:2])
        raise ReferencePhotoError(
            f"the photos show different people, and none is in more of them than another ({named}): give one person's photos at a time"
        )
    return [int(row) for row in groups[0]]


def _without_repeats(faces: Sequence[PhotoFace]) -> tuple[list[PhotoFace], list[LeftOut]]:
    """Of each picture the largest copy."""
    order = sorted(faces, key=lambda face: -face.face_px)
    alike = _alike(np.stack([_thumbnail(face.crop) for face in order])) if order else []
    kept = [face for face, first in zip(order, alike) if order[first] is face]
    repeated = [(face, order[first]) for face, first in zip(order, alike) if order[first] is not face]
    return kept, [LeftOut(face.path, f"it is the same picture as {other.path.name}") for face, other in repeated]


def _alike(thumbnails: Float32) -> list[int]:
    """For each picture the first that is the same one and stays, which may be itself."""
    first: list[int] = []
    for row, thumbnail in enumerate(thumbnails):
        stay = [n for n in range(row) if first[n] == n]
        scores = thumbnails[stay] @ thumbnail if stay else np.zeros(0, np.float32)
        found = np.flatnonzero(scores >= SAME_PICTURE)
        first.append(stay[int(found[0])] if len(found) else row)
    return first


def _thumbnail(crop: UInt8) -> Float32:
    """(1024,) grey, mean 0, length 1."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)
