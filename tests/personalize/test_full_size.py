"""A person is learnt by a LoRA on a full-size model (a tiny one of that kind), which is as it was afterwards; kept and used as always."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.errors import Cancelled, UsageError
from iconface_video.models import lora
from iconface_video.personalize import full_size_learner
from iconface_video.personalize.full_size_learner import TARGETS, FullSizeLearner, fitting_rank
from iconface_video.personalize.person import personalize
from iconface_video.personalize.person_weights import LARGEST_FILE, load_person, save_person, weights_hash
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.restore.iconface import IConFaceRestorer
from iconface_video.restore.people import PersonalRestorer, anchor_key
from iconface_video.settings import RestoreSettings
from tests.models.tiny_models import tiny_latent_model
from tests.personalize.test_restoring import anchor_of

pytest.importorskip("peft", reason="needs the extra 'lora'")

SETTINGS = PersonalizeSettings(steps=3, faces=2, size=32, rank=4, warmup_steps=0)


@pytest.fixture
def tiny():
    return tiny_latent_model()


def names_of(model) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def test_a_person_is_learnt_kept_and_used(tiny, faces, encoder, tmp_path):
    before, names = weights_hash(tiny), names_of(tiny)
    seen = []
    person = personalize(tiny, faces[:1], SETTINGS, lambda *at: seen.append(at), encoder=encoder)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (weights_hash(tiny), names_of(tiny)) == (before, names)
    assert not lora.has_lora(tiny.transformer)
    assert len(person.factors) == 4  # two blocks, two projections
    assert all(item.up.any() for item in person.factors.values())
    save_person(person, tmp_path / "person.safetensors")
    kept = load_person(tmp_path / "person.safetensors")
    assert kept.hash == person.hash
    anchor = anchor_of(faces[:1])
    plain = IConFaceRestorer(tiny, RestoreSettings())
    own = PersonalRestorer(plain, tiny, {anchor_key(anchor): kept})
    crops = faces[0].crop[None, ::8, ::8]
    noise = np.random.default_rng(0).standard_normal((1, *tiny.noise_shape(32))).astype(np.float32)
    results = [model.restore(crops, [model.prepare(anchor, 32)], noise) for model in (plain, own, plain)]
    assert not np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_the_same_again_gives_the_same_and_the_check_works_on_latents(tiny, faces, encoder):
    first, second = (personalize(tiny, faces[:2], SETTINGS, encoder=encoder) for _ in range(2))
    assert first.hash == second.hash
    assert first.facts.check is not None
    assert first.facts.check.views == 16


def test_stopped_it_leaves_no_trace(tiny, faces, encoder):
    before, names = weights_hash(tiny), names_of(tiny)
    calls = iter([False, True])
    with pytest.raises(Cancelled):
        personalize(tiny, faces[:1], SETTINGS, should_stop=lambda: next(calls), encoder=encoder)
    assert (weights_hash(tiny), names_of(tiny)) == (before, names)


def test_a_large_model_gets_a_lower_rank(tiny, monkeypatch):
    assert fitting_rank(tiny, 4) == 4
    size = sum(item.numel() for item in lora.expected_state(tiny.transformer, 1, TARGETS).values())
    monkeypatch.setattr(full_size_learner, "MOST_BYTES", 5 * size)
    assert fitting_rank(tiny, 16) == 2
    assert full_size_learner.MOST_BYTES < LARGEST_FILE


def test_a_lora_apart_is_refused(tiny, faces, encoder):
    lora.add_lora(tiny.transformer, 4)
    with pytest.raises(UsageError, match="fused"):
        FullSizeLearner(tiny, encoder, [faces[0].crop], faces[0].embedding[None], SETTINGS)
