"""A face model that knows people: each face is restored with what was learnt of its person, all others with everybody's weights.

People in a run: whom it pays to learn, what was learnt in the work folder, and the model that uses it.

It happens once, in the process that was started, before the first face is restored; whoever restores segments (this process,
workers, a cluster) reads the files. Each is known by the person's anchor and bound to model and settings, so that what an
earlier, stopped run learnt is taken, and nothing else is.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from iconface_video.errors import CheckpointError, OutputError
from iconface_video.faces.identity_encoder import IdentityEncoder, load_identity_encoder
from iconface_video.models.cascade import CascadeAutoencoder
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.difference import Wearer
from iconface_video.personalize.learning import ShouldStop
from iconface_video.personalize.library import KnownPerson, keep_learnt, learnt
from iconface_video.personalize.person import personalize
from iconface_video.personalize.person_weights import PersonWeights, load_person, read_person, save_person, weights_hash
from iconface_video.personalize.photos import ChosenPhotos, PhotoFace
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.restore.face_model import FaceModel
from iconface_video.restore.iconface import IConFaceRestorer, TrackContext
from iconface_video.restore.noise import Shape
from iconface_video.types import Float32, IdentityAnchor, Progress, UInt8


@dataclass(frozen=True, eq=False)
class PersonContext:
    """What is constant over a track of somebody who may have been learnt."""

    person: str | None
    """`anchor_key`; None: everybody's weights."""
    own: TrackContext
    """For the pass that the person's weights make."""
    refining: TrackContext | None
    """For the pass of everybody's weights after it; None: there is one pass, or it is the cascade's own business."""


def anchor_key(anchor: IdentityAnchor) -> str:
    """What a person's anchor is known by in a run."""
    return hashlib.sha256(np.ascontiguousarray(anchor.direction).tobytes()).hexdigest()[:16]


class PersonalRestorer:
    """A `FaceModel` around the embedded one. In a cascade a person's weights are the coarse pass's, in a full-size model
    they are a LoRA of its backbone. A model of the first generation has one pass: the person's weights restore at the size at which they were learnt, and everybody's refine that at the crop's size."""

    def __init__(self, restorer: IConFaceRestorer, model: IConFaceModel, people: Mapping[str, PersonWeights]) -> None:
        """model: the one in `restorer`.  people: by `anchor_key`.  Raises CheckpointError where somebody was learnt beside another model."""
        base = weights_hash(model)
        for person in people.values():
            person.check_base(base)
        self._restorer, self._wearer = restorer, Wearer(model)
        self._people = {key: person for key, person in people.items() if person.factors and person.facts.strength}
        self._has_one_size = isinstance(model.autoencoder, CascadeAutoencoder) or model.traits.prediction != "image"
        self.name, self.crop_sizes = restorer.name, restorer.crop_sizes
        self.framing, self.notes, self.identity = restorer.framing, restorer.notes, restorer.identity
        self.neighbours, self.fuse = restorer.neighbours, restorer.fuse

    def noise_shape(self, size: int) -> Shape:
        return self._restorer.noise_shape(size)

    def prepare(self, anchor: IdentityAnchor, size: int) -> PersonContext:
        key = anchor_key(anchor)
        person = key if key in self._people else None
        first = self._first_size(person, size)
        with self._carrying(person):  # references are seen through the person's attention, too
            own = self._restorer.prepare(anchor, first)
        return PersonContext(person, own, None if first == size else self._restorer.prepare(anchor, size))

    def restore(self, crops: UInt8, contexts: Sequence[PersonContext], noise: Float32) -> UInt8:
        """Faces of several people are several calls of the same shape: what a face becomes depends on no other in the batch."""
        restored = np.empty_like(crops)
        for person in dict.fromkeys(context.person for context in contexts):
            rows = [row for row, context in enumerate(contexts) if context.person == person]
            padded = rows + rows[-1:] * (len(crops) - len(rows))
            made = self._of_one(person, crops[padded], [contexts[row] for row in padded], noise[padded])
            restored[rows] = made[: len(rows)]
        return restored

    def _of_one(self, person: str | None, crops: UInt8, contexts: Sequence[PersonContext], noise: Float32) -> UInt8:
        size = crops.shape[1]
        first = self._first_size(person, size)
        with self._carrying(person):
            own = [context.own for context in contexts]
            made = self._restorer.restore(_resized(crops, first), own, _shrunk_noise(noise, size // first))
        refining = [context.refining for context in contexts if context.refining is not None]
        return made if first == size else self._restorer.restore(_resized(made, size), refining, noise)

    def _first_size(self, person: str | None, size: int) -> int:
        if person is None or self._has_one_size:
            return size
        learnt = self._people[person].facts.settings.size
        return learnt if size > learnt and size % learnt == 0 else size

    @contextmanager
    def _carrying(self, person: str | None) -> Iterator[None]:
        if person is None:
            yield
            return
        weights = self._people[person]
        self._wearer.put_on(weights.factors, weights.facts.strength)
        try:
            yield
        finally:
            self._wearer.take_off()


def _resized(pictures: UInt8, size: int) -> UInt8:
    """(B, S, S, 3) -> (B, size, size, 3), anti-aliased."""
    if pictures.shape[1] == size:
        return pictures
    moved = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    scaled = F.interpolate(moved, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return scaled.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _shrunk_noise(noise: Float32, times: int) -> Float32:
    """Unit noise at 1 / times of the size: the mean of n x n values has 1 / n of their deviation."""
    if times == 1:
        return noise
    return np.asarray(F.avg_pool2d(torch.from_numpy(noise.copy()), times).mul(times).numpy(), np.float32)


MOST_SURENESS = 0.25
"""Mean norm of a track's embeddings, as a share of the photos', up to which faces count as damaged enough to learn for.

Two people's 44 faces, three photos each, 256 px: dlib's likeness over the base with the same photos +.04 up to .25 (16 faces, standard
error .02), +.03 at .30 to .37 (7), .00 above (21). One person's faces of strength 9 to 12 lie at .35, of 13 to 16 at .20."""
_SUFFIX = ".safetensors"

Wish = Literal["auto", "on", "off"]
"""Whether somebody is learnt: where it pays, in any case, never."""


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
class PersonToLearn:
    """Somebody who has photos."""

    name: str
    photos: Callable[[], ChosenPhotos]
    """Asked only where the person is to be learnt."""
    kept: KnownPerson | None = None
    """The same in the user's library: what was learnt there beside this model is taken, and what is learnt now is kept there."""
    wish: Wish = "auto"


@dataclass(frozen=True, eq=False)
class LearntPeople:
    """Result of `learn_people`."""

    people: Mapping[str, PersonWeights]
    """By `anchor_key`."""
    notes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Their files' contents by `anchor_key`, for whoever restores."""

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


def pays(tracks: Sequence[SeenFaces], anchor: IdentityAnchor) -> bool:
    """Whether a person's faces are damaged enough: the encoder is much less sure of them than of the photos."""
    raw = [track.embeddings for track in tracks if len(track.embeddings)]
    if anchor.origin != "user" or not raw:
        return False
    norms = np.linalg.norm(np.concatenate(raw), axis=1)
    return float(norms.mean()) <= MOST_SURENESS * anchor.reliability


def learn_people(
    tracks: Sequence[SeenFaces],
    anchors: Mapping[int, IdentityAnchor],
    people: Mapping[str, PersonToLearn],
    folder: Path,
    load: Callable[[], IConFaceRestorer],
    settings: PersonalizeSettings,
    on_progress: Callable[[Progress], None] = lambda event: None,
    should_stop: ShouldStop = lambda: False,
    encoder: IdentityEncoder | None = None,
) -> LearntPeople:
    """Learn whom it is wished of; what lies in `folder` is taken.

    anchors: by track id.  people: by `anchor_key`.  load: the model, asked for only where somebody is to be learnt, or was.
    encoder: the embedded one when None.  Raises Cancelled, OutputError where the folder cannot be written.
    """
    if not people:
        return LearntPeople({})
    of_key = {key: [track for track in tracks if anchor_key(anchors[track.track_id]) == key] for key in people}
    anchor_of = {anchor_key(anchor): anchor for anchor in anchors.values()}
    wanted = [
        key
        for key, person in people.items()
        if person.wish == "on" or (person.wish == "auto" and pays(of_key[key], anchor_of[key]))
    ]
    for path in set(folder.glob(f"*{_SUFFIX}")) - {_file(folder, key) for key in wanted}:
        path.unlink()  # of an earlier run with other photos
    if not wanted:
        return LearntPeople({})
    model = load().network
    base = weights_hash(model)
    found = {key: _earlier(people[key], _file(folder, key), base, settings) for key in wanted}
    photos: dict[str, tuple[PhotoFace, ...]] = {}
    notes: list[str] = []
    for key in [key for key in wanted if found[key] is None]:
        chosen = people[key].photos()
        said = (*chosen.notes, *(f"left out {item}" for item in chosen.left_out))
        notes += [f"{people[key].name}: {note}" for note in said]
        if chosen.faces:
            photos[key] = chosen.faces
        else:
            notes.append(f"{people[key].name}: not learnt, as no photo is left to learn from")
    pace = _Pace(settings.steps * len(photos), [people[key].name for key in photos], on_progress)
    for key, faces in photos.items():
        encoder = encoder or load_identity_encoder("embedded")
        weights = personalize(model, faces, settings, pace.step, should_stop, encoder)
        kept = people[key].kept
        if kept is not None:
            keep_learnt(kept, weights)
        _keep(weights, _file(folder, key))
        found[key] = weights
    own = {key: person for key, person in found.items() if person is not None}
    notes += [f"{people[key].name}: {person.facts.sentence}" for key, person in own.items()]
    files = {key: _file(folder, key).read_bytes() for key in own}
    return LearntPeople(own, tuple(notes), {key: people[key].name for key in own}, files)


class _Pace:
    """Progress over all people; as soon as the first steps are timed, how long all of them take."""

    def __init__(self, total: int, names: Sequence[str], on_progress: Callable[[Progress], None]) -> None:
        self._total, self._who, self._on_progress = total, ", ".join(names), on_progress
        self._done, self._begun = 0, time.perf_counter()
        if total:
            on_progress(Progress("learn", 0, total, "steps", f"learning before the first face is restored: {self._who}"))

    def step(self, done: int, total: int) -> None:
        self._done += 1
        message = ""
        if self._done == 1:
            self._begun = time.perf_counter()  # the first step wakes libraries up
        elif self._done == _TIMED_STEPS + 1:
            seconds = (time.perf_counter() - self._begun) / _TIMED_STEPS * (self._total - self._done)
            message = f"learning {self._who} takes about {max(1, round(seconds))} s more, then a check"
        self._on_progress(Progress("learn", self._done, self._total, "steps", message))


_TIMED_STEPS = 3


def with_people(model: FaceModel, files: Mapping[str, bytes]) -> FaceModel:
    """The model, knowing people. files: of `LearntPeople`.  Raises CheckpointError for a damaged one, or one of another base."""
    if not files or not isinstance(model, IConFaceRestorer):
        return model
    return PersonalRestorer(model, model.network, {key: read_person(data, key) for key, data in files.items()})


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}{_SUFFIX}"


def _earlier(person: PersonToLearn, path: Path, base: str, settings: PersonalizeSettings) -> PersonWeights | None:
    """What an earlier run learnt of the same, or what lies in the user's library; None where it has to be learnt."""
    found = _kept(path, base, settings)
    if found is None and person.kept is not None:
        found = learnt(person.kept, base, settings)
        if found is not None:
            _keep(found, path)
    return found


def _kept(path: Path, base: str, settings: PersonalizeSettings) -> PersonWeights | None:
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
