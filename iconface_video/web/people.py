"""The people of a clip as the page shows them, and what the user decided about each."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from iconface_video.faces.align import crop_from_display, crop_to_show
from iconface_video.identity.evidence import DisplayAt
from iconface_video.identity.people import DecidedPeople, people_directions
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.people_summary import Moment, PersonSummary, summarise_people
from iconface_video.identity.references import ReferencePhoto, match_person
from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, Survey, UInt8
from iconface_video.video.pictures import jpeg

FACE_PX = 256
_CLEARLY = 0.1
"""Cosine by which a photo must be more like somebody else before the user is told."""
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
    summary: PersonSummary
    direction: Float32 | None
    best: Moment
    face: bytes
    """JPEG of the best moment's face."""
    name: str = ""
    skip: bool = False
    photos: list[Photo] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The name, or "person 3"."""
        return self.name or f"person {self.index + 1}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "name": self.name,
            "skip": self.skip,
            "seconds": self.summary.seconds,
            "spans": self.summary.spans,
            "quality": self.summary.quality,
            "face_px": self.summary.face_px,
            "best_seconds": self.best.seconds,
            "photos": [
                {"id": item.id, "file": item.reference.path.name, "likeness": item.likeness, "notes": item.notes}
                for item in self.photos
            ],
        }


def find_people(survey: Survey, pictures: DisplayAt, settings: AnchorSettings) -> list[Person]:
    """Everybody in the survey, most seen first, with the best picture of each."""
    directions = people_directions(survey, settings)
    known = [item for item in summarise_people(ChosenPeople(survey)) if item.person is not None]
    best = [max(item.moments, key=lambda moment: moment.quality) for item in known]
    faces: dict[int, bytes] = {}
    for moment in sorted(best, key=lambda moment: moment.pts):  # forwards through the file is the cheaper way
        faces[moment.track_id] = _face(survey, moment, pictures(moment.pts))
    return [
        Person(index, item, directions.get(index), moment, faces[moment.track_id])
        for index, (item, moment) in enumerate(zip(known, best))
    ]


def _face(survey: Survey, moment: Moment, picture: UInt8) -> bytes:
    track = next(track for track in survey.tracks if track.track_id == moment.track_id)
    return jpeg(crop_to_show(picture, crop_from_display(track.parameters[moment.row], FACE_PX), FACE_PX))


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


def decided_people(survey: Survey, people: Sequence[Person]) -> DecidedPeople:
    """What the user decided, for a session."""
    chosen = ChosenPeople(
        survey,
        names={person.index: person.name for person in people if person.name},
        skipped=frozenset(person.index for person in people if person.skip),
    )
    photos = {person.index: [photo.reference for photo in person.photos] for person in people if person.photos}
    return DecidedPeople(chosen, photos)


def describe_photo(reference: ReferencePhoto, person: Person, people: Sequence[Person], settings: AnchorSettings) -> Photo:
    """The photo with its likeness and what the user should know: it is used all the same, on the user's word."""
    directions = {other.index: other.direction for other in people if other.direction is not None}
    match = match_person(person.index, [reference], directions, settings)
    notes = list(reference.notes)
    if match.rival is not None and match.rival_score >= max(settings.min_similarity, match.score + _CLEARLY):
        notes.append(f"looks more like {people[match.rival].title}; used here because you put it here")
    elif match.score < settings.min_similarity:
        notes.append("looks little like this person in the video; used because you put it here")
    return Photo(reference, match.score, notes)


def thumbnail(reference: ReferencePhoto) -> bytes:
    """The face of a photo, as it was found."""
    return jpeg(np.asarray(cv2.resize(reference.crop, (128, 128), interpolation=cv2.INTER_AREA), np.uint8))
