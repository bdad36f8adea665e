"""A face model that knows people: each face is restored with what was learnt of its person, all others with everybody's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from iconface_video.models.cascade import CascadeAutoencoder
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.difference import Wearer
from iconface_video.personalize.person_weights import PersonWeights, weights_hash
from iconface_video.restore.iconface import IConFaceRestorer, TrackContext
from iconface_video.restore.noise import Shape
from iconface_video.types import Float32, IdentityAnchor, UInt8


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
    """A `FaceModel` around the embedded one. In a cascade a person's weights are the coarse pass's. A model of the first generation has
    one pass: the person's weights restore at the size at which they were learnt, and everybody's refine that at the crop's size."""

    def __init__(self, restorer: IConFaceRestorer, model: IConFaceModel, people: Mapping[str, PersonWeights]) -> None:
        """model: the one in `restorer`.  people: by `anchor_key`.  Raises CheckpointError where somebody was learnt beside another model."""
        base = weights_hash(model)
        for person in people.values():
            person.check_base(base)
        self._restorer, self._wearer = restorer, Wearer(model)
        self._people = {key: person for key, person in people.items() if person.factors and person.facts.strength}
        self._is_cascade = isinstance(model.autoencoder, CascadeAutoencoder)
        self.name, self.crop_sizes = restorer.name, restorer.crop_sizes
        self.framing, self.notes, self.identity = restorer.framing, restorer.notes, restorer.identity

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
        if person is None or self._is_cascade:
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
