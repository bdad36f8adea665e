"""The people of a clip as the page shows them, and what the user decided about each."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from iconface_video.faces.align import crop_from_display, cut_crop
from iconface_video.identity.evidence import DisplayAt, group_tracks
from iconface_video.identity.people import person_direction
from iconface_video.identity.references import ReferencePhoto
from iconface_video.pipelines.surveyed import PeopleChoice, likeness
from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, Survey, Track, UInt8

FACE_PX = 256
_SAME_PERSON = 0.6
"""Cosine from which a person of a new survey takes over what was decided about one of the old survey."""


@dataclass(eq=False)
class Photo:
    """A photo that was dropped on a person."""

    reference: ReferencePhoto
    likeness: float
    """Cosine with the person in the clip."""
    notes: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(6))


@dataclass(eq=False)
class Person:
    """One person of the clip."""

    index: int
    direction: Float32 | None
    seconds: float
    """On screen, in all."""
    spans: list[tuple[float, float]]
    """Seconds after the clip's first frame: from, to."""
    quality: float
    """Of the best frame, 0..1."""
    best_pts: int
    best_seconds: float
    """The same, after the clip's first frame."""
    face: bytes = b""
    """JPEG of the best frame's face."""
    name: str = ""
    skip: bool = False
    photos: list[Photo] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "name": self.name,
            "skip": self.skip,
            "seconds": self.seconds,
            "spans": self.spans,
            "quality": self.quality,
            "best_seconds": self.best_seconds,
            "photos": [
                {"id": item.id, "file": item.reference.path.name, "likeness": item.likeness, "notes": item.notes}
                for item in self.photos
            ],
        }


def find_people(survey: Survey, pictures: DisplayAt, settings: AnchorSettings) -> list[Person]:
    """Everybody in the survey, most seen first, with the best picture of each."""
    people = [_person(survey, index, tracks, settings) for index, tracks in group_tracks(survey) if index is not None]
    for person in sorted(people, key=lambda item: item.best_pts):  # forwards through the file is the cheaper way
        track, row = _best(survey, person.index)
        picture = pictures(person.best_pts)
        crop = cut_crop(picture, crop_from_display(track.parameters[row], FACE_PX), FACE_PX)
        person.face = jpeg(np.asarray(crop, np.uint8))
    return people


def _person(survey: Survey, index: int, tracks: Sequence[Track], settings: AnchorSettings) -> Person:
    base = survey.info.time_base
    frame_seconds = float((survey.last_pts - survey.first_pts) * base) / max(1, survey.frame_count - 1)
    spans = []
    for track in sorted(tracks, key=lambda item: int(item.pts[0])):
        first, last = (float((int(pts) - survey.first_pts) * base) for pts in (track.pts[0], track.pts[-1]))
        spans.append((first, last + frame_seconds))
    track, row = _best(survey, index)
    return Person(
        index=index,
        direction=person_direction(tracks, settings),
        seconds=sum(last - first for first, last in spans),
        spans=spans,
        quality=float(track.quality[row]),
        best_pts=int(track.pts[row]),
        best_seconds=float((int(track.pts[row]) - survey.first_pts) * base),
    )


def _best(survey: Survey, person: int) -> tuple[Track, int]:
    """The track and row of a person's best frame."""
    tracks = [track for track in survey.tracks if track.person == person]
    track = max(tracks, key=lambda item: float(item.quality.max()))
    return track, int(np.argmax(track.quality))


def take_over(old: Sequence[Person], new: Sequence[Person]) -> None:
    """Names, photos and skips of an earlier survey go to the same people of a new one; nobody's are given to a stranger."""
    known = [person for person in old if person.direction is not None]
    found = [person for person in new if person.direction is not None]
    if not known or not found:
        return
    similarity = np.array([[float(one.direction @ other.direction) for other in found] for one in known])  # type: ignore[operator]
    for row, column in zip(*linear_sum_assignment(-similarity)):
        if similarity[row, column] >= _SAME_PERSON:
            one, other = known[row], found[column]
            other.name, other.skip, other.photos = one.name, one.skip, one.photos


def choice_of(people: Sequence[Person]) -> PeopleChoice:
    """What the user decided, for the recipe."""
    return PeopleChoice(
        photos={person.index: tuple(photo.reference for photo in person.photos) for person in people if person.photos},
        names={person.index: person.name for person in people if person.name},
        skipped=frozenset(person.index for person in people if person.skip),
    )


def describe_photo(reference: ReferencePhoto, person: Person, people: Sequence[Person], settings: AnchorSettings) -> Photo:
    """The photo with its likeness and what the user should know: it is used all the same, on the user's word."""
    scores = {other.index: likeness(reference, other.direction) for other in people if other.direction is not None}
    own = scores.get(person.index, 0.0)
    notes = list(reference.notes)
    rival = max(scores, key=lambda index: scores[index], default=person.index)
    if rival != person.index and scores[rival] >= max(settings.min_similarity, own + 0.1):
        notes.append(f"looks more like {display_name(people[rival])}; used here because you put it here")
    elif own < settings.min_similarity:
        notes.append("looks little like this person in the video; used because you put it here")
    return Photo(reference, own, notes)


def display_name(person: Person) -> str:
    return person.name or f"person {person.index + 1}"


def jpeg(rgb: UInt8, quality: int = 92) -> bytes:
    """(h, w, 3) RGB -> JPEG."""
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def thumbnail(reference: ReferencePhoto) -> bytes:
    """The face of a photo, as it was found."""
    return jpeg(np.asarray(cv2.resize(reference.crop, (128, 128), interpolation=cv2.INTER_AREA), np.uint8))
