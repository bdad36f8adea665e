"""Who is who: tracks of one person, grouped across shots, and what a user says of the people in a clip: photos, from people.yaml
and from the command line, each for its person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from iconface_video.errors import UsageError
from iconface_video.faces.detector import Detector
from iconface_video.identity.anchors import aggregate
from iconface_video.identity.evidence import group_tracks
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
    photo_detector,
)
from iconface_video.settings import AnchorSettings, RunSettings, nearest
from iconface_video.types import Float32, Float64, Survey, Track

_CANNOT_LINK = 1e6
"""A distance that no average of ordinary distances makes up for: one such pair keeps two groups apart."""


def group_people(survey: Survey, settings: AnchorSettings) -> Survey:
    """The survey with every track's `person` set where the track has embeddings (None otherwise).

    Agglomerative clustering: two groups become one while the mean cosine of a picture of one and a picture of the other is at
    least `settings.same_person_similarity` (`mean_direction`; average linkage over tracks), the most alike first. Tracks seen
    at the same time never belong together. People are numbered by screen time, most seen first.
    """
    known = [index for index, track in enumerate(survey.tracks) if len(track.embeddings)]
    means = [mean_direction(survey.tracks[index].embeddings) for index in known]
    groups = cluster(np.array(means), [survey.tracks[index] for index in known], settings.same_person_similarity)
    person_of = dict(zip(known, _by_screen_time(groups, [survey.tracks[index] for index in known])))
    tracks = tuple(replace(track, person=person_of.get(index)) for index, track in enumerate(survey.tracks))
    return replace(survey, tracks=tracks)


def mean_direction(embeddings: Float32) -> Float32:
    """(512,) mean of a track's unit embeddings, weighted by their norms (IConFace eq. 4 at T = 1), not made a unit vector again.

    The product of two of these is the mean cosine of a picture of one track and a picture of the other. The cosine of two
    anchors (eq. 3) is not that: the more pictures an anchor stands on, the more of what all faces have in common is left in
    it, so two strangers seen for long would look more alike than two strangers seen for a moment, and no threshold fits both.
    """
    raw = np.asarray(embeddings, dtype=np.float64)
    return (raw.sum(axis=0) / max(float(np.linalg.norm(raw, axis=1).sum()), 1e-6)).astype(np.float32)


def cluster(means: Float32, tracks: Sequence[Track], min_similarity: float) -> list[int]:
    """A group number per track.  means: (n, 512) of `mean_direction`."""
    if len(tracks) < 2:
        return [0] * len(tracks)
    return linked(means.astype(np.float64) @ means.T, _seen_together(tracks), min_similarity)


def linked(similarity: Float64, apart: NDArray[np.bool_], min_similarity: float) -> list[int]:
    """A group number for each of n, by average linkage. similarity, apart: (n, n); what is apart is never one group."""
    distance = 1.0 - np.clip(similarity, -1.0, 1.0)
    distance[apart] = _CANNOT_LINK
    np.fill_diagonal(distance, 0.0)
    hierarchy = scipy.cluster.hierarchy
    tree = hierarchy.linkage(scipy.spatial.distance.squareform(distance, checks=False), method="average")
    return [int(group) for group in hierarchy.fcluster(tree, 1.0 - min_similarity, criterion="distance")]


def person_direction(tracks: Sequence[Track], settings: AnchorSettings) -> Float32 | None:
    """(512,) unit direction over all embeddings of a person's tracks; None when there is none."""
    embeddings = [track.embeddings for track in tracks if len(track.embeddings)]
    return aggregate(np.concatenate(embeddings), settings.temperature).direction if embeddings else None


def _seen_together(tracks: Sequence[Track]) -> NDArray[np.bool_]:
    """(n, n) bool: both tracks have a frame in common."""
    first = np.array([track.pts[0] for track in tracks])
    last = np.array([track.pts[-1] for track in tracks])
    return (first[:, None] <= last[None, :]) & (first[None, :] <= last[:, None])


def _by_screen_time(groups: Sequence[int], tracks: Sequence[Track]) -> list[int]:
    frames: dict[int, int] = {}
    for group, track in zip(groups, tracks):
        frames[group] = frames.get(group, 0) + len(track)
    order = {group: rank for rank, group in enumerate(sorted(frames, key=lambda group: -frames[group]))}
    return [order[group] for group in groups]


@dataclass(frozen=True, eq=False)
class DecidedPeople:
    """Who is who, decided over a survey of the whole clip by whoever calls, with photos that were read already."""

    chosen: ChosenPeople
    photos: Mapping[int, Sequence[ReferencePhoto]] = field(default_factory=dict)
    """Person -> photos of that person, on the user's word."""
    strengths: Mapping[int, float] = field(default_factory=dict)
    """Person -> share of the strength with which that person's faces are blended in, 0..1; 1 for those who are not named."""

    @property
    def shares(self) -> dict[int, float]:
        """Track id -> the same, of the tracks that have less than all."""
        found = {}
        for track in self.chosen.survey.tracks:
            share = 1.0 if track.person is None else self.strengths.get(track.person, 1.0)
            if share < 1:
                found[track.track_id] = share
        return found


@dataclass(frozen=True)
class ReferenceChoice:
    """What a user says of the people in a clip, and the photos of them."""

    photos: tuple[Path, ...] = ()
    """Of whoever they show; matched by likeness."""
    people: tuple[tuple[str, Path], ...] = ()
    """(name, folder of photos) for each person."""
    file: Path | None = None
    """A people.yaml (of `find_people`) that says who is who, who is skipped, and gives photos of its own."""
    decided: DecidedPeople | None = None
    """The same as such a file says, from a caller that has it in memory."""

    def __bool__(self) -> bool:
        return bool(self.photos or self.people or self.file or self.decided)


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


def load_photos(references: ReferenceChoice, settings: RunSettings, embed: Embed) -> tuple[list[ReferencePhoto], list[str]]:
    """The photos that are given one by one and by name, and notes for people. Raises ReferencePhotoError."""
    if not (references.photos or references.people):
        return [], []
    detector, scale = photo_detector(settings.survey), settings.anchors.picture_scale
    photos = [load_photo(path, detector, embed, scale=scale) for path in references.photos]
    notes: list[str] = []
    for name, path in references.people:
        more, skipped = load_folder(name, path, detector, embed, scale)
        photos += more
        notes += skipped
    notes += [f"{photo.path.name}: {note}" for photo in photos for note in photo.notes]
    return photos, notes


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
    own: Mapping[int, Sequence[ReferencePhoto]],
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
