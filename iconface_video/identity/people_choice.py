"""What the user decided about the people of a survey: a people.yaml applied, and carried over to a newer survey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from iconface_video.errors import UsageError
from iconface_video.faces.detector import overlap
from iconface_video.identity.people_file import NOT_KNOWN, PeopleFile, PersonEntry
from iconface_video.types import Survey, Track

_SAME_FACE_OVERLAP = 0.3
"""Boxes of two surveys that overlap this much (intersection over union, in the same frame) are of one face."""


@dataclass(frozen=True, eq=False)
class ChosenPeople:
    """A survey as the user sees it. People keep the numbers of the file: person 3 of the file is `person` 2 of its tracks."""

    survey: Survey
    names: dict[int, str] = field(default_factory=dict)
    """Person (0-based) -> name, of those that have one."""
    skipped: frozenset[int] = frozenset()
    """People (0-based) whose faces are left as they are."""
    photos: dict[int, tuple[Path, ...]] = field(default_factory=dict)
    """Person (0-based) -> files and folders."""
    notes: tuple[str, ...] = ()
    known: dict[int, str] = field(default_factory=dict)
    """Person (0-based) -> who of the people that were added it is, as the user says; empty: none of them."""
    learn: dict[int, bool] = field(default_factory=dict)
    """Person (0-based) -> whether that person is learnt from photos, of those of whom the user says it."""

    def title(self, person: int) -> str:
        """ "Ben", or "person 2" for one without a name."""
        return self.names.get(person) or f"person {person + 1}"

    @property
    def left_alone(self) -> dict[int, str]:
        """Track id -> why it is left alone."""
        return {
            track.track_id: f"skipped by you ({self.title(track.person)})"
            for track in self.survey.tracks
            if track.person is not None and track.person in self.skipped
        }

    @property
    def restored(self) -> Survey:
        """The survey without those who are skipped."""
        return self._of(lambda track: track.person not in self.skipped)

    @property
    def passed_over(self) -> Survey:
        """The survey of those who are skipped."""
        return self._of(lambda track: track.person in self.skipped)

    def _of(self, belongs: Callable[[Track], bool]) -> Survey:
        return replace(self.survey, tracks=tuple(track for track in self.survey.tracks if belongs(track)))


def track_number(track: Track) -> int:
    """What people call a track: 1-based."""
    return track.track_id + 1


def entries_of(survey: Survey) -> list[PersonEntry]:
    """The people as the survey has them, in order."""
    tracks: dict[int, list[int]] = {}
    for track in survey.tracks:
        if track.person is not None:
            tracks.setdefault(track.person, []).append(track_number(track))
    return [PersonEntry(person + 1, tracks=tuple(tracks[person])) for person in sorted(tracks)]


def ungrouped(survey: Survey) -> list[int]:
    """Numbers of the tracks that belong to nobody."""
    return [track_number(track) for track in survey.tracks if track.person is None]


def apply_people_file(file: PeopleFile, survey: Survey) -> ChosenPeople:
    """The survey with people as the file has them; tracks that the file does not name belong to nobody.

    Raises UsageError for a track that the survey does not have.
    """
    known = {track_number(track): track for track in survey.tracks}
    owner: dict[int, int] = {}
    for entry in file.entries:
        for number in entry.tracks:
            _check_track(f"{file.place(entry)}", number, known)
            owner[number] = file.root_of(entry).number - 1
    for number in file.nobody:
        _check_track(f"{file.path}, under 'nobody'", number, known)
    tracks = tuple(replace(track, person=owner.get(track_number(track))) for track in survey.tracks)
    roots = {entry.number: file.root_of(entry) for entry in file.entries}
    photos: dict[int, tuple[Path, ...]] = {}
    for entry in file.entries:
        person = roots[entry.number].number - 1
        if entry.photos:
            photos[person] = (*photos.get(person, ()), *entry.photos)
    names = {entry.number - 1: entry.name for entry in file.entries if entry.name}
    skipped = frozenset(entry.number - 1 for entry in file.entries if entry.skip)
    said = {entry.number - 1: "" if entry.known.lower() in NOT_KNOWN else entry.known for entry in file.entries if entry.known}
    learn = {entry.number - 1: entry.learn for entry in file.entries if entry.learn is not None}
    choice = ChosenPeople(replace(survey, tracks=tracks), names, skipped, photos, known=said, learn=learn)
    return replace(choice, notes=tuple(_notes(file, choice)))


def _check_track(where: str, number: int, known: Mapping[int, Track]) -> None:
    if number not in known:
        there = f"its tracks are 1 to {max(known)}" if known else "it has no tracks"
        raise UsageError(f"{where}: there is no track {number} in the survey; {there}")


def _notes(file: PeopleFile, choice: ChosenPeople) -> list[str]:
    """What is allowed, but may be a slip."""
    notes = []
    survey = choice.survey
    mentioned = {number for entry in file.entries for number in entry.tracks} | set(file.nobody)
    lost = [track_number(track) for track in survey.tracks if track_number(track) not in mentioned]
    if lost:
        notes.append(f"{file.path.name}: {_tracks(lost)} stand at nobody: each is restored by itself")
    by_person: dict[int, list[Track]] = {}
    for track in survey.tracks:
        if track.person is not None:
            by_person.setdefault(track.person, []).append(track)
    for person in sorted({*choice.names, *choice.photos} - by_person.keys()):
        notes.append(f"{file.path.name}: {choice.title(person)} has no tracks and is seen nowhere")
    for person, tracks in by_person.items():
        twice = _seen_twice(tracks)
        if twice is not None:
            numbers = _tracks([track_number(track) for track in twice])
            notes.append(f"{file.path.name}: {choice.title(person)} is seen twice at the same time ({numbers})")
    return notes


def _tracks(numbers: Sequence[int]) -> str:
    return f"track{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _seen_twice(tracks: Sequence[Track]) -> tuple[Track, Track] | None:
    in_time = sorted(tracks, key=lambda track: int(track.pts[0]))
    for before, after in pairwise(in_time):
        if after.pts[0] <= before.pts[-1]:
            return before, after
    return None


# ---- a newer survey


@dataclass(frozen=True)
class Migrated:
    """The user's people.yaml in the terms of a newer survey."""

    entries: tuple[PersonEntry, ...]
    nobody: tuple[int, ...]
    notes: tuple[str, ...]


def migrate(file: PeopleFile, old: Survey, new: Survey) -> Migrated:
    """Keep what the user wrote when the same clip was surveyed again with other settings.

    A face of the new survey is one of the old survey's where both stand at the same place in the same frames. People whom
    the user touched (a name, photos, skipped, merged, tracks moved) keep their number and their faces; all others are as the
    new survey groups them. New faces join the person whose faces they were grouped with.
    """
    targets = {entry.same_as for entry in file.entries}
    touched = [entry for entry in file.entries if _is_touched(entry, old) or entry.number in targets]
    owner_of_old = {number: entry.number for entry in touched for number in entry.tracks}
    same = _same_faces(old.tracks, new.tracks)
    owner: dict[int, int] = {}
    for track in new.tracks:
        before = same.get(track.track_id)
        if before is not None and before + 1 in owner_of_old:
            owner[track.track_id] = owner_of_old[before + 1]
    groups: dict[int, list[Track]] = {}
    for track in new.tracks:
        if track.person is not None and track.track_id not in owner:
            groups.setdefault(track.person, []).append(track)
    held = {track.track_id: track for track in new.tracks if track.track_id in owner}
    fresh = []
    for person in sorted(groups):
        joined = _person_of_mates(person, groups[person], held, owner)
        if joined is None:
            fresh.append(tuple(track_number(track) for track in groups[person]))
        else:
            owner.update({track.track_id: joined for track in groups[person]})
    kept = [
        replace(entry, tracks=tuple(sorted(number + 1 for number, person in owner.items() if person == entry.number)))
        for entry in touched
    ]
    taken = {entry.number for entry in kept}
    free = (number for number in range(1, len(kept) + len(fresh) + max(taken, default=0) + 1) if number not in taken)
    entries = sorted([*kept, *(PersonEntry(next(free), tracks=tracks) for tracks in fresh)], key=lambda entry: entry.number)
    told = {number for entry in entries for number in entry.tracks}
    nobody = tuple(track_number(track) for track in new.tracks if track_number(track) not in told)
    gone = [entry.title for entry, before in zip(kept, touched) if before.tracks and not entry.tracks]
    notes = tuple(f"{title} was not found again; what you wrote is kept" for title in gone)
    return Migrated(tuple(entries), nobody, notes)


def _is_touched(entry: PersonEntry, survey: Survey) -> bool:
    """Whether the user changed the block that the program wrote for this survey."""
    written = {track_number(track) for track in survey.tracks if track.person == entry.number - 1}
    is_told = bool(entry.name or entry.photos or entry.skip or entry.known) or entry.learn is not None
    return is_told or entry.same_as is not None or set(entry.tracks) != written


def _person_of_mates(person: int, tracks: Sequence[Track], held: Mapping[int, Track], owner: Mapping[int, int]) -> int | None:
    """The user's person that most of a new group's faces belong to already, if none of the others is seen beside them."""
    frames: dict[int, int] = {}
    for track_id, track in held.items():
        if track.person == person:
            frames[owner[track_id]] = frames.get(owner[track_id], 0) + len(track)
    for number in sorted(frames, key=lambda number: -frames[number]):
        own = [track for track_id, track in held.items() if owner[track_id] == number]
        if not any(_together(one, other) for one in tracks for other in own):
            return number
    return None


def _together(one: Track, other: Track) -> bool:
    return bool(one.pts[0] <= other.pts[-1] and other.pts[0] <= one.pts[-1])


def _same_faces(old: Sequence[Track], new: Sequence[Track]) -> dict[int, int]:
    """New track id -> id of the old track that it has most frames in common with."""
    found = {}
    for track in new:
        frames, best = max(((_frames_in_common(track, other), other.track_id) for other in old), default=(0, 0))
        if frames:
            found[track.track_id] = best
    return found


def _frames_in_common(one: Track, other: Track) -> int:
    if not _together(one, other):
        return 0
    _, rows, columns = np.intersect1d(one.pts, other.pts, assume_unique=True, return_indices=True)
    return int((overlap(one.boxes[rows], other.boxes[columns]) >= _SAME_FACE_OVERLAP).sum())
