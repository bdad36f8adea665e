"""People in a run: whom it pays to learn, what was learnt in the work folder, and the model that uses it.

It happens once, in the process that was started, before the first face is restored; whoever restores segments (this process,
workers, a cluster) reads the files. Each is known by the person's anchor and bound to model and settings, so that what an
earlier, stopped run learnt is taken, and nothing else is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from iconface_video.errors import CheckpointError, OutputError, ReferencePhotoError
from iconface_video.faces.identity_encoder import IdentityEncoder, embed_crops, load_identity_encoder
from iconface_video.personalize.learning import ShouldStop
from iconface_video.personalize.person import personalize
from iconface_video.personalize.person_weights import PersonWeights, load_person, save_person, weights_hash
from iconface_video.personalize.photos import ChosenPhotos, PhotoFace, choose_photos
from iconface_video.personalize.restoring import PersonalRestorer, anchor_key
from iconface_video.personalize.settings import PersonalizeSettings
from iconface_video.restore.iconface import IConFaceRestorer
from iconface_video.restore.model import FaceModel
from iconface_video.types import Float32, IdentityAnchor, Progress

MOST_SURENESS = 0.15
"""Mean norm of a track's embeddings, as a share of the photos', up to which faces count as damaged enough to learn for.

One person's faces damaged with strength 8 / 11 / 14 / 18: .50 / .21 / .14 / .12. With the weights of the first generation at 256 px learning
paid at strength 16 (dlib's distance .593 -> .552) and not at 12 (.455 -> .459); at 128 px at both."""
_SUFFIX = ".safetensors"


class SeenFaces(Protocol):
    """What is looked at of a track."""

    @property
    def track_id(self) -> int: ...

    @property
    def embeddings(self) -> Float32:
        """(n, 512) raw."""
        ...


@dataclass(frozen=True, eq=False)
class FaceOfPicture:
    """The face of a picture that is no video, as a track."""

    track_id: int
    embeddings: Float32


@dataclass(frozen=True, eq=False)
class LearntPeople:
    """Result of `learn_people`."""

    people: Mapping[str, PersonWeights]
    """By `anchor_key`."""
    notes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str | None:
        """Of all that acts on restored faces, for the fingerprint; None where nobody was learnt."""
        acting = {key: person.hash for key, person in sorted(self.people.items()) if person.factors}
        return hashlib.sha256(repr(acting).encode()).hexdigest() if acting else None

    @property
    def mark(self) -> list[str]:
        """For the output's mark: one sentence a person."""
        acting = [(key, person.facts.photos) for key, person in self.people.items() if person.factors]
        return [f"adapted to {photos} photo{'s' if photos > 1 else ''} of {self.names[key]}" for key, photos in acting]


def pays(tracks: Sequence[SeenFaces], anchor: IdentityAnchor, photo_norms: Sequence[float]) -> bool:
    """Whether a person's faces are damaged enough: the encoder is much less sure of them than of the photos."""
    raw = [track.embeddings for track in tracks if len(track.embeddings)]
    if anchor.origin != "user" or not raw or not len(photo_norms):
        return False
    norms = np.linalg.norm(np.concatenate(raw), axis=1)
    return float(norms.mean()) <= MOST_SURENESS * float(np.mean(photo_norms))


def learn_people(
    tracks: Sequence[SeenFaces],
    anchors: Mapping[int, IdentityAnchor],
    names: Mapping[str, str],
    folder: Path,
    load: Callable[[], IConFaceRestorer],
    settings: PersonalizeSettings,
    always: bool,
    min_similarity: float,
    on_progress: Callable[[Progress], None] = lambda event: None,
    should_stop: ShouldStop = lambda: False,
    encoder: IdentityEncoder | None = None,
) -> LearntPeople:
    """Learn everybody who has photos and whose faces are damaged enough (or `always`); what lies in `folder` is taken.

    anchors: by track id; those of the user's photos are learnt from the pictures that they show.  names: by `anchor_key`, for
    people.  min_similarity: photos are one person's from this mean cosine on.  load: the model, asked for only where somebody is to be learnt, or was.  Raises Cancelled, OutputError where the folder cannot be written.
    """
    photos = _photos_of(anchors)
    if not photos:
        return LearntPeople({})
    encoder = encoder or load_identity_encoder("embedded")
    wanted: dict[str, list[PhotoFace]] = {}
    notes: list[str] = []
    for key, anchor in photos.items():
        chosen = _chosen(anchor, encoder, min_similarity)
        notes += [f"{names[key]}: {said}" for said in (*chosen.notes, *map(str, chosen.left_out))]
        faces = list(chosen.faces)
        own = [track for track in tracks if anchor_key(anchors[track.track_id]) == key]
        if faces and (always or pays(own, anchor, [float(np.linalg.norm(face.embedding)) for face in faces])):
            wanted[key] = faces
    if not wanted:
        return LearntPeople({}, (*notes, "nobody was learnt: no face is damaged enough for it to pay"))
    for path in set(folder.glob(f"*{_SUFFIX}")) - {_file(folder, key) for key in wanted}:
        path.unlink()  # of an earlier run with other photos
    model = load().network
    base = weights_hash(model)
    found: dict[str, PersonWeights] = {}
    total = settings.steps * len(wanted)
    who = ", ".join(names[key] for key in wanted)
    on_progress(Progress("learn", 0, total, "steps", f"learning before the first face is restored: {who}"))
    for number, (key, faces) in enumerate(wanted.items()):
        path = _file(folder, key)
        kept = _kept(path, base, settings)
        if kept is None:
            before = number * settings.steps

            def report(done: int, _: int, before: int = before) -> None:
                on_progress(Progress("learn", before + done, total, unit="steps"))

            kept = personalize(model, faces, settings, report, should_stop, encoder)
            _keep(kept, path)
        found[key] = kept
    notes += [f"{names[key]}: {person.facts.sentence}" for key, person in found.items()]
    return LearntPeople(found, tuple(notes), names)


def with_people(model: FaceModel, folder: Path | None) -> FaceModel:
    """The model, knowing the people in a folder of `learn_people`. Raises CheckpointError for a damaged file or another base."""
    files = sorted(folder.glob(f"*{_SUFFIX}")) if folder is not None else []
    if not files or not isinstance(model, IConFaceRestorer):
        return model
    return PersonalRestorer(model, model.network, {path.stem: load_person(path) for path in files})


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}{_SUFFIX}"


def _photos_of(anchors: Mapping[int, IdentityAnchor]) -> dict[str, IdentityAnchor]:
    """The anchors that stand on the user's photos, by key, in the order of tracks."""
    return {
        anchor_key(anchor): anchor for _, anchor in sorted(anchors.items()) if anchor.origin == "user" and anchor.references
    }


def _chosen(anchor: IdentityAnchor, encoder: IdentityEncoder, min_similarity: float) -> ChosenPhotos:
    """Of the photos that an anchor shows, those to learn from; none where they show different people."""
    embeddings = embed_crops(encoder, anchor.references)
    faces = [
        PhotoFace(Path(f"photo {number + 1}"), picture, row, float(picture.shape[0]))
        for number, (picture, row) in enumerate(zip(anchor.references, embeddings))
    ]
    try:
        return choose_photos([[face] for face in faces], min_similarity)
    except ReferencePhotoError as error:
        return ChosenPhotos((), (), (f"not learnt: {error}",))


def _kept(path: Path, base: str, settings: PersonalizeSettings) -> PersonWeights | None:
    """What an earlier run learnt of the same; None where it has to be learnt."""
    try:
        found = load_person(path)
    except CheckpointError:
        return None
    return found if found.facts.base == base and found.facts.settings == settings else None


def _keep(person: PersonWeights, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_person(person, path)
    except OSError as error:
        raise OutputError(f"{path}: what was learnt of a person cannot be written ({error.strerror or error})") from error
