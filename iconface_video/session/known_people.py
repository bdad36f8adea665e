"""Whom of the people that the user keeps a clip shows. What is found once holds for the run: it stands in the work folder's journal.

Photos that the user gives for this clip outrank what is kept; a name in people.yaml is that of a kept person who is called so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from iconface_video.errors import UsageError
from iconface_video.identity.grouping import people_directions
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.recognition import Recognised, likeness, recognise
from iconface_video.identity.references import Match
from iconface_video.settings import AnchorSettings, nearest

if TYPE_CHECKING:
    from iconface_video.personalize.library import KnownPerson


@dataclass(frozen=True, eq=False)
class KnownInClip:
    """A person of the clip whom the user keeps."""

    found: Recognised
    photos_hash: str
    """Of the kept photos, as they were when the person was recognised."""
    kept: KnownPerson | None
    """None: forgotten since, or kept with other photos."""

    @property
    def match(self) -> Match | None:
        """The kept photos, as those of this person of the clip."""
        return (
            None
            if self.kept is None
            else Match(self.found.person, self.found.score, tuple(self.kept.references()), self.found.name)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the journal."""
        return {**asdict(self.found), "photos_hash": self.photos_hash}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], everybody: Sequence[KnownPerson]) -> KnownInClip:
        """everybody: whom the user keeps today."""
        photos_hash = str(values["photos_hash"])
        found = Recognised(**{name: value for name, value in values.items() if name != "photos_hash"})
        same = (person for person in everybody if person.name == found.name and person.hash == photos_hash)
        return cls(found, photos_hash, next(same, None))


def find_known(
    chosen: ChosenPeople, with_photos: Collection[int], everybody: Sequence[KnownPerson], settings: AnchorSettings
) -> tuple[list[KnownInClip], list[str]]:
    """(who is recognised, what a person should know beside that).

    with_photos: people of the clip whose photos are given.  Raises UsageError where people.yaml says that somebody is a kept
    person whom nobody knows.
    """
    known = {person.name: person.evidence for person in everybody}
    directions = {
        person: direction
        for person, direction in people_directions(chosen.survey, settings).items()
        if person not in chosen.skipped and person not in with_photos
    }
    told, doubts = _as_told(chosen, directions, known, settings)
    free = {
        person: direction
        for person, direction in directions.items()
        if person not in chosen.known and person not in chosen.names
    }
    sure, perhaps = recognise(chosen.survey, free, known, settings)
    by_name = {person.name: person for person in everybody}
    found = [KnownInClip(item, by_name[item.name].hash, by_name[item.name]) for item in (*told, *sure)]
    notes = [
        f"{chosen.title(item.person)} may be {item.name}{'' if item.is_clear else f' or {item.rival}'} ({item.scores}), which is too little to "
        f"be sure: write `known: {item.name}` in a people.yaml (`iconface-video people`) if so"
        for item in perhaps
    ]
    return sorted(found, key=lambda item: item.found.person), [*doubts, *notes]


def _as_told(
    chosen: ChosenPeople, directions: Mapping[int, Any], known: Mapping[str, Any], settings: AnchorSettings
) -> tuple[list[Recognised], list[str]]:
    """Whom the user's people.yaml names, as `known` or with a kept person's name."""
    names = {name.casefold(): name for name in known}
    found, doubts = [], []
    for person, word in chosen.known.items():
        if word and word.casefold() not in names:
            raise UsageError(
                f"people.yaml, {chosen.title(person)}: `known: {word}`, but nobody who was added is called so.{nearest(word, known)} "
                "`iconface-video people list` shows who was"
            )
        if word and person in directions:
            found.append(likeness(person, names[word.casefold()], directions[person], known, is_stated=True))
    for person, name in chosen.names.items():
        if person in chosen.known or person not in directions or name.casefold() not in names:
            continue
        item = likeness(person, names[name.casefold()], directions[person], known)
        if item.score >= settings.min_similarity:
            found.append(item)
        else:
            doubts.append(
                f"{name} here does not look like the {item.name} who was added ({item.scores}) and is not taken for them; "
                f"`known: {item.name}` in people.yaml does it all the same"
            )
    return found, doubts


def describe_known(known: Sequence[KnownInClip], chosen: ChosenPeople) -> list[str]:
    """One line a person, said before the work."""
    return [
        f"{chosen.title(item.found.person)} is {item.found.name}"
        + (f", as you say ({item.found.scores})" if item.found.is_stated else f": recognised ({item.found.scores})")
        for item in known
    ]
