"""A run's model that knows people: everybody else is restored as before, whoever shares the batch."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.errors import CheckpointError
from iconface_video.identity.anchors import make_anchor
from iconface_video.models.embedded import as_cascade
from iconface_video.personalize.difference import target_weights
from iconface_video.personalize.person_weights import PersonFacts, PersonWeights, weights_hash
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.restore.iconface import IConFaceRestorer
from iconface_video.restore.people import PersonalRestorer, anchor_key
from iconface_video.settings import AnchorSettings, RestoreSettings
from tests.personalize.test_difference import random_factors

SIZE = 64


def anchor_of(faces):
    return make_anchor([face.embedding for face in faces], [face.crop for face in faces], AnchorSettings(), "user")


def learnt(model, size: int, base: str | None = None) -> PersonWeights:
    settings = PersonalizeSettings(size=size)
    factors = random_factors(model, target_weights(model, settings.weights), size=0.2)
    return PersonWeights(factors, PersonFacts(base or weights_hash(model), 3, 1.0, settings, None))


def most_apart(one: np.ndarray, other: np.ndarray) -> int:
    """Grey levels."""
    return int(np.abs(one.astype(int) - other).max())


@pytest.fixture
def crops(faces) -> np.ndarray:
    return np.stack([face.crop[::4, ::4] for face in (faces[0], faces[1], faces[0])])


@pytest.fixture
def noise(crops) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(crops), 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize(("generation", "learnt_at"), [("first", SIZE), ("first", SIZE // 2), ("cascade", SIZE // 2)])
def test_only_that_person_is_restored_otherwise(generation, learnt_at, model, faces, crops, noise):
    model = as_cascade(model).eval() if generation == "cascade" else model
    before = weights_hash(model)
    plain = IConFaceRestorer(model, RestoreSettings())
    known, stranger = anchor_of(faces[:2]), anchor_of(faces[2:])
    own = PersonalRestorer(plain, model, {anchor_key(known): learnt(model, learnt_at)})
    as_before = plain.restore(crops, [plain.prepare(anchor, SIZE) for anchor in (known, stranger, known)], noise)
    mixed = own.restore(crops, [own.prepare(anchor, SIZE) for anchor in (known, stranger, known)], noise)
    # On some processors (AVX-512) a face's last bit depends on its place in the batch, which is another one here.
    assert most_apart(mixed[1], as_before[1]) <= 1
    assert most_apart(mixed[0], as_before[0]) > 4
    alone = own.restore(crops[[0, 2, 2]], [own.prepare(known, SIZE)] * 3, noise[[0, 2, 2]])
    assert most_apart(mixed[[0, 2]], alone[:2]) <= 1
    assert weights_hash(model) == before


def test_weights_of_another_model_are_refused(model, faces):
    plain = IConFaceRestorer(model, RestoreSettings())
    with pytest.raises(CheckpointError, match="another model"):
        PersonalRestorer(plain, model, {"somebody": learnt(model, SIZE, base="ab" * 32)})
