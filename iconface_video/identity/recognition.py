"""Whom of the people that the user keeps a clip's people are: by likeness alone, and only where it is clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, Survey, Track

CLEARER = 0.05
"""Cosine by which somebody must be more like one kept person than like the next."""
PERHAPS = 0.08
"""So much below what is needed the user is told whom it may be."""


@dataclass(frozen=True)
class Recognised:
    """A person of the clip who is, or may be, somebody the user keeps."""

    person: int
    """0-based, of the clip."""
    name: str
    score: float
    """Cosine of the clip's anchor and that of the kept photos, times the root of how far these agree."""
    rival: str | None = None
    """The kept person who is next alike."""
    rival_score: float = 0.0
    is_stated: bool = False
    """The user says so in people.yaml."""

    @property
    def is_clear(self) -> bool:
        """Nobody else who is kept is as much alike."""
        return self.rival is None or self.score - self.rival_score >= CLEARER

    @property
    def scores(self) -> str:
        """ "similarity 0.71; next is ben with 0.40"."""
        rival = "" if self.rival is None else f"; next is {self.rival} with {self.rival_score:.2f}"
        return f"similarity {self.score:.2f}{rival}"


def recognise(
    survey: Survey, people: Mapping[int, Float32], known: Mapping[str, Float32], settings: AnchorSettings
) -> tuple[list[Recognised], list[Recognised]]:
    """(who is recognised, who may be somebody), in the order of the clip's people.

    people: person of the clip -> (512,) unit direction.  known: name -> the same of all photos that are kept, as long as the root of how far
    they agree.
    Several people of the clip may be one kept person, whom the grouping left apart; not two who are seen at the same time: of
    them the one who is more alike is it.
    """
    closest = [_closest(person, direction, known) for person, direction in sorted(people.items())] if known else []
    sure = [item for item in closest if item.is_clear and item.score >= settings.known_similarity]
    tracks = {person: [track for track in survey.tracks if track.person == person] for person in people}
    kept: list[Recognised] = []
    for item in sorted(sure, key=lambda item: -item.score):
        if not any(item.name == other.name and seen_together(tracks[item.person], tracks[other.person]) for other in kept):
            kept.append(item)
    perhaps = [item for item in closest if item not in sure and item.score >= settings.known_similarity - PERHAPS]
    return sorted(kept, key=lambda item: item.person), perhaps


def likeness(person: int, name: str, direction: Float32, known: Mapping[str, Float32], is_stated: bool = False) -> Recognised:
    """A person of the clip held against one who is kept, with whoever is next."""
    scores = {other: float(direction @ item) for other, item in known.items()}
    rival = max((other for other in scores if other != name), key=lambda other: scores[other], default=None)
    return Recognised(person, name, scores[name], rival, 0.0 if rival is None else scores[rival], is_stated)


def seen_together(one: Sequence[Track], other: Sequence[Track]) -> bool:
    """Whether two people have a moment in common."""
    return any(a.pts[0] <= b.pts[-1] and b.pts[0] <= a.pts[-1] for a in one for b in other)


def _closest(person: int, direction: Float32, known: Mapping[str, Float32]) -> Recognised:
    return likeness(person, max(known, key=lambda name: float(direction @ known[name])), direction, known)
