"""The people of a clip as the page shows them, and what the user decided about each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from iconface_video.errors import UsageError
from iconface_video.faces.align import crop_from_display, crop_to_show
from iconface_video.identity.evidence import DisplayAt
from iconface_video.identity.grouping import DecidedPeople, people_directions
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.people_summary import Moment, PersonSummary, summarise_people
from iconface_video.session.known_people import KnownInClip
from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, Survey, Track, UInt8
from iconface_video.video.pictures import jpeg
from iconface_video.web.photos import Photo
from iconface_video.web.record import LEARN, PersonChoices, PersonRecord

FACE_PX = 256
MOST_PICTURES = 12
"""Of one person's appearances; the others are shown by their times."""
_SAME_PERSON = 0.6
"""Cosine from which a person of a new survey takes over what was decided about one of the old survey."""
_NAME_LENGTH = 60


@dataclass(eq=False)
class Person(PersonChoices):
    """One person of the clip: the choices, and what the survey tells."""

    photos: list[Photo] = field(default_factory=list)
    summary: PersonSummary | None = None
    direction: Float32 | None = None
    recognised: KnownInClip | None = None
    is_kept: bool = False
    """Somebody is kept under this name."""
    moments: dict[int, Moment] = field(default_factory=dict)
    """Track id -> where the face is seen best."""

    @property
    def title(self) -> str:
        """The name, or "person 3"."""
        return self.name or f"person {self.index + 1}"

    @property
    def best(self) -> Moment:
        return max(self.moments.values(), key=lambda moment: moment.quality)

    def record(self) -> PersonRecord:
        return PersonRecord(**self.choices(), photos=[photo.record() for photo in self.photos])

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        assert self.summary is not None
        found = None if self.recognised is None else self.recognised.found
        by_time = sorted(self.moments.values(), key=lambda moment: moment.pts)
        return {
            "index": self.index,
            "name": self.name,
            "skip": self.skip,
            "strength": self.strength,
            "recognise": self.recognise,
            "learn": self.learn,
            "recognised": None if found is None else {"name": found.name, "score": found.score, "scores": found.scores},
            "is_kept": self.is_kept,
            "seconds": self.summary.seconds,
            "spans": self.summary.spans,
            "quality": self.summary.quality,
            "face_px": self.summary.face_px,
            "best_seconds": self.best.seconds,
            "best_track": self.best.track_id,
            "tracks": [{"track": moment.track_id, "seconds": moment.seconds} for moment in by_time],
            "photos": [photo.to_dict() for photo in self.photos],
        }


def found_people(survey: Survey) -> list[Person]:
    """Everybody as the survey groups them, most seen first."""
    tracks: dict[int, list[int]] = {}
    for track in survey.tracks:
        if track.person is not None:
            tracks.setdefault(track.person, []).append(track.track_id)
    return [Person(index, tracks[index]) for index in sorted(tracks)]


def look_at(people: Sequence[Person], survey: Survey, settings: AnchorSettings) -> None:
    """Fill in what the survey tells of each."""
    grouped = regrouped(survey, people)
    directions = people_directions(grouped, settings)
    known = {item.person: item for item in summarise_people(ChosenPeople(grouped))}
    by_id = {track.track_id: track for track in survey.tracks}
    for person in people:
        person.summary = known[person.index]
        person.direction = directions.get(person.index)
        person.moments = {number: _best_moment(by_id[number], survey) for number in person.tracks}


def regrouped(survey: Survey, people: Iterable[Person]) -> Survey:
    """The survey with its tracks' people as they were decided."""
    owner = {number: person.index for person in people for number in person.tracks}
    return replace(survey, tracks=tuple(replace(track, person=owner.get(track.track_id)) for track in survey.tracks))


def _best_moment(track: Track, survey: Survey) -> Moment:
    seen = np.where(track.scores > 0, track.quality, -1.0)
    row = int(np.argmax(seen))
    pts = int(track.pts[row])
    return Moment(track.track_id, row, pts, float((pts - survey.first_pts) * survey.info.time_base), float(track.quality[row]))


def take_pictures(people: Sequence[Person], survey: Survey, pictures: DisplayAt) -> dict[int, bytes]:
    """Track id -> JPEG of the face at its best moment; of each person the best few."""
    by_id = {track.track_id: track for track in survey.tracks}
    wanted = [
        moment
        for person in people
        for moment in sorted(person.moments.values(), key=lambda moment: -moment.quality)[:MOST_PICTURES]
    ]
    taken = {}
    for moment in sorted(wanted, key=lambda moment: moment.pts):  # forwards through the file is the cheaper way
        taken[moment.track_id] = _face(by_id[moment.track_id], moment, pictures(moment.pts))
    return taken


def _face(track: Track, moment: Moment, picture: UInt8) -> bytes:
    return jpeg(crop_to_show(picture, crop_from_display(track.parameters[moment.row], FACE_PX), FACE_PX))


def take_over(old: Sequence[Person], new: Sequence[Person]) -> None:
    """What was decided on an earlier survey goes to the same people of a new one; nobody's is given to a stranger."""
    known = [person for person in old if person.direction is not None]
    found = [person for person in new if person.direction is not None]
    if not known or not found:
        return
    similarity = np.array([[float(one.direction @ other.direction) for other in found] for one in known])  # type: ignore[operator]
    for row, column in zip(*linear_sum_assignment(-similarity)):
        if similarity[row, column] >= _SAME_PERSON:
            one, other = known[row], found[column]
            other.name, other.skip, other.strength, other.photos = one.name, one.skip, one.strength, one.photos
            other.recognise, other.learn = one.recognise, one.learn


def decided_people(survey: Survey, people: Sequence[Person]) -> DecidedPeople:
    """What the user decided, for a session."""
    chosen = ChosenPeople(
        regrouped(survey, people),
        names={person.index: person.name for person in people if person.name},
        skipped=frozenset(person.index for person in people if person.skip),
        known={person.index: "" for person in people if not person.recognise},
        learn={person.index: wish for person in people if (wish := LEARN[person.learn]) is not None},
    )
    photos = {person.index: [photo.reference for photo in person.photos] for person in people if person.photos}
    return DecidedPeople(chosen, photos, {person.index: person.strength for person in people if person.strength < 1})


@dataclass(frozen=True)
class PersonChange:
    """What the user wants otherwise about one person; None: as it is."""

    name: str | None = None
    skip: bool | None = None
    strength: float | None = None
    recognise: bool | None = None
    learn: str | None = None


def apply_change(people: Iterable[Person], person: Person, change: PersonChange) -> None:
    """All of it, or nothing: raises UsageError for what cannot be."""
    if change.strength is not None and not 0 <= change.strength <= 1:
        raise UsageError(f"strength is {change.strength}, must be within [0, 1]")
    if change.learn is not None and change.learn not in LEARN:
        raise UsageError(f"learn is '{change.learn[:40]}', must be yes, no, or empty for what the settings say")
    if change.name is not None:
        person.name = free_name(people, person, change.name)
    person.skip = person.skip if change.skip is None else change.skip
    person.strength = person.strength if change.strength is None else change.strength
    person.recognise = person.recognise if change.recognise is None else change.recognise
    person.learn = person.learn if change.learn is None else change.learn


def free_name(people: Iterable[Person], person: Person, wanted: str) -> str:
    """The name as it is kept. Raises UsageError where somebody else has it: reports would not know who is meant."""
    name = " ".join(wanted.split())[:_NAME_LENGTH]
    other = next((one for one in people if one is not person and name and one.name.casefold() == name.casefold()), None)
    if other is not None:
        raise UsageError(f"person {other.index + 1} is called {other.name} already; give them names that differ")
    return name


def moved(people: list[Person], source: Person, tracks: Sequence[int], target: Person | None, survey: Survey) -> list[Person]:
    """Some appearances of a person given to another one, or (None) to a new one.

    Whoever has none left is joined to the other: name and photos go along. Raises UsageError for somebody who would be seen
    twice at the same time, and for what is not there.
    """
    if not tracks or not set(tracks) <= set(source.tracks):
        raise UsageError(f"these are no appearances of {source.title}; they may have been moved meanwhile")
    stays = [number for number in source.tracks if number not in tracks]
    if target is source or (target is None and not stays):
        raise UsageError(f"{source.title} has no other appearance; there is nothing to take apart")
    if target is not None:
        _check_apart([*target.tracks, *tracks], survey, source, target)
        target.tracks = sorted([*target.tracks, *tracks])
        if not stays:
            target.name = target.name or source.name
            held = {photo.id for photo in target.photos}
            target.photos += [photo for photo in source.photos if photo.id not in held]
    source.tracks = stays
    fresh = [] if target is not None else [Person(max(person.index for person in people) + 1, sorted(tracks))]
    return [person for person in (*people, *fresh) if person.tracks]


def _check_apart(numbers: Sequence[int], survey: Survey, one: Person, other: Person) -> None:
    tracks = sorted((track for track in survey.tracks if track.track_id in set(numbers)), key=lambda track: int(track.pts[0]))
    for before, after in pairwise(tracks):
        if after.pts[0] <= before.pts[-1]:
            raise UsageError(f"{one.title} and {other.title} are seen at the same time, so they cannot be the same person")


def people_record(people: Sequence[Person]) -> list[PersonRecord]:
    return [person.record() for person in people]


def people_of(records: Sequence[PersonRecord], photos: Mapping[str, Photo]) -> list[Person]:
    """From the record. photos: by id; those that cannot be read any more are missing."""
    return [
        Person(**item.choices(), photos=[photos[photo.id] for photo in item.photos if photo.id in photos]) for item in records
    ]
