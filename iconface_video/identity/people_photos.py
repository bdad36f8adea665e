"""The photos of a run whose people the user has named: from people.yaml and from the command line, each for its person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iconface_video.errors import UsageError
from iconface_video.faces.detector import Detector
from iconface_video.identity.evidence import group_tracks
from iconface_video.identity.people import person_direction
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.references import (
    Embed,
    Match,
    ReferencePhoto,
    load_folder,
    load_photo,
    match_person,
    match_references,
    merge_matches,
)
from iconface_video.settings import AnchorSettings, nearest
from iconface_video.types import Float32, Survey

_CLEARLY = 0.1
"""Cosine by which photos must be more like somebody else before the user is told."""


def people_directions(survey: Survey, settings: AnchorSettings) -> dict[int, Float32]:
    """Person -> (512,) unit direction, of all people that have one."""
    people = {person: person_direction(tracks, settings) for person, tracks in group_tracks(survey) if person is not None}
    return {person: direction for person, direction in people.items() if direction is not None}


def load_people_photos(
    chosen: ChosenPeople, detector: Detector, embed: Embed, scale: float | None = None
) -> tuple[dict[int, list[ReferencePhoto]], list[str]]:
    """Person -> the photos that people.yaml gives, and notes on files of folders that show no face.

    Photos of people who are skipped are not read.  scale: as `load_photo` takes it.  Raises ReferencePhotoError.
    """
    found: dict[int, list[ReferencePhoto]] = {}
    notes: list[str] = []
    for person, paths in chosen.photos.items():
        if person not in chosen.skipped:
            for path in paths:
                photos, said = _load(chosen.title(person), path, detector, embed, scale)
                found.setdefault(person, []).extend(photos)
                notes += said
    return found, notes


def _load(
    name: str, path: Path, detector: Detector, embed: Embed, scale: float | None
) -> tuple[list[ReferencePhoto], list[str]]:
    if path.is_dir():
        return load_folder(name, path, detector, embed, scale)
    return [load_photo(path, detector, embed, name, scale)], []


def check_names(names: Sequence[str], chosen: ChosenPeople) -> None:
    """Raises UsageError for a --person whom people.yaml, which names people, does not name."""
    known = {name.casefold(): name for name in chosen.names.values()}
    for name in names:
        if known and name.casefold() not in known:
            near = nearest(name, known.values()) or f" It names {', '.join(known.values())}."
            raise UsageError(f"`person` {name}: the people file names nobody so.{near}")


def match_chosen(
    chosen: ChosenPeople,
    own: dict[int, list[ReferencePhoto]],
    others: Sequence[ReferencePhoto],
    settings: AnchorSettings,
) -> tuple[list[Match], list[str]]:
    """Whom each photo is taken for, and notes.

    own: of `load_people_photos`, taken on the user's word.  others: of --person and --reference; a name that the file has
    goes to that person, the rest is matched by likeness among those who are not skipped.
    Raises ReferencePhotoError where nobody is alike enough.
    """
    people = {
        person: direction
        for person, direction in people_directions(chosen.survey, settings).items()
        if person not in chosen.skipped
    }
    numbers = {name.casefold(): person for person, name in chosen.names.items()}
    given = {person: list(photos) for person, photos in own.items()}
    unknown = []
    for photo in others:
        person = numbers.get(photo.name.casefold()) if photo.name is not None else None
        if person is None:
            unknown.append(photo)
        else:
            given.setdefault(person, []).append(photo)
    present = {track.person for track in chosen.survey.tracks} - chosen.skipped
    stated = [
        match_person(person, photos, people, settings, chosen.names.get(person))
        for person, photos in given.items()
        if person in present
    ]
    notes = [
        _doubt(match, chosen) for match in stated if match.rival is not None and match.rival_score > match.score + _CLEARLY
    ]
    return merge_matches([*stated, *match_references(unknown, people, settings)]), notes


def _doubt(match: Match, chosen: ChosenPeople) -> str:
    assert match.rival is not None
    return (
        f"the photos of {chosen.title(match.person)} look more like {chosen.title(match.rival)} ({match.rival_score:.2f} against "
        f"{match.score:.2f}); they are used for {chosen.title(match.person)}, as you say"
    )
