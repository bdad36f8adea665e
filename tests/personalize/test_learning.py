"""Learning: counted steps, the same bytes again, nothing done to the model, and the person comes nearer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from iconface_video.errors import Cancelled, ReferencePhotoError, UsageError
from iconface_video.models.embedded import as_cascade
from iconface_video.personalize.check import Figures, HeldOutViews, hold_out, is_better
from iconface_video.personalize.difference import Wearer, target_weights
from iconface_video.personalize.learning import Batches, PersonLearner
from iconface_video.personalize.person import UNCHECKED_STRENGTH, personalize
from iconface_video.personalize.person_weights import save_person, weights_hash
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.personalize.views import TARGET_VIEW, another_view
from tests.models.tiny_models import tiny_latent_model
from tests.personalize.test_difference import random_factors


def test_the_same_photos_give_the_same_bytes_and_the_model_stays(model, encoder, faces, quick, tmp_path):
    before = weights_hash(model)
    seen = []
    for name in "ab":
        made = personalize(model, faces[:1], quick, lambda done, total: seen.append((done, total)), encoder=encoder)
        save_person(made, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert weights_hash(model) == before
    assert seen == [(1, 2), (2, 2)] * 2
    assert made.facts.base == before
    assert made.facts.strength == UNCHECKED_STRENGTH
    assert any(item.up.any() for item in made.factors.values())


def test_another_seed_gives_other_weights(model, encoder, faces, quick):
    one, other = (personalize(model, faces[:1], replace(quick, seed=seed), encoder=encoder).hash for seed in (0, 1))
    assert one != other


def test_it_stops_when_asked(model, encoder, faces, quick):
    before = weights_hash(model)
    with pytest.raises(Cancelled):
        personalize(model, faces[:1], quick, should_stop=lambda: True, encoder=encoder)
    assert weights_hash(model) == before


def test_a_cascade_learns_in_its_coarse_pass(model, encoder, faces, quick):
    cascade = as_cascade(model).eval()
    made = personalize(cascade, faces[:1], quick, encoder=encoder)
    assert made.factors
    assert all(name.startswith("autoencoder.coarse.") for name in made.factors)


def test_a_step_has_three_losses_and_a_perfect_result_none(model, encoder, faces, quick):
    learner = PersonLearner(model, encoder, [faces[0].crop], faces[0].embedding[None], quick)
    assert {name: value > 0 for name, value in learner.step(0).items()} == dict.fromkeys(
        ("pixel", "identity", "features"), True
    )
    batch = learner.batches.draw()
    perfect = learner._losses(batch.truth, batch.truth, batch.source)
    assert perfect["identity"] < 1e-4
    assert perfect["features"] == 0


def test_the_transformer_takes_part_only_where_it_is_asked_to(model, encoder, faces, quick, monkeypatch):
    def asked(self, *given, **named):
        raise AssertionError("the transformer was asked")

    monkeypatch.setattr(type(model.transformer), "forward", asked)
    monkeypatch.setattr(type(model.transformer), "encode_references", asked)
    for share in (0.0, 1.0):  # of steps in which photos are shown
        chosen = replace(quick, reference_share=share)
        PersonLearner(model, encoder, [faces[0].crop], faces[0].embedding[None], chosen).step(0)
        learner = PersonLearner(model, encoder, [faces[0].crop], faces[0].embedding[None], replace(chosen, transformer=True))
        with pytest.raises(AssertionError, match="was asked"):
            learner.step(0)


def test_the_person_comes_nearer(model, encoder, faces):
    """Of a view that no step saw: likeness to the truth, with the very references that the base gets, too."""
    settings = PersonalizeSettings(steps=12, faces=4, size=64)
    views = HeldOutViews(faces[2].crop, faces[:2], encoder, settings, views=8)
    base = views.figures(views.restored(model))
    embeddings = np.stack([face.embedding for face in faces[:2]])
    learner = PersonLearner(model, encoder, [face.crop for face in faces[:2]], embeddings, settings)
    factors = learner.run(lambda done, total: None, lambda: False)
    wearer = Wearer(model)
    wearer.put_on(factors)
    learnt = views.figures(views.restored(model))
    wearer.take_off()
    assert learnt.likeness > base.likeness + 0.01
    assert learnt.psnr > base.psnr - 1


def test_what_does_harm_is_not_used(model, encoder, faces, quick, monkeypatch):
    """Numbers at random in the place of what was learnt: the base is used, and the report says so."""
    factors = random_factors(model, target_weights(model, quick.weights), size=0.2)
    monkeypatch.setattr(PersonLearner, "run", lambda self, on_step, should_stop: factors)
    made = personalize(model, faces, quick, encoder=encoder)
    assert made.factors == {}
    assert made.facts.strength == 0
    assert "did not help" in made.facts.sentence


def test_the_strength_is_the_one_that_helps_most_and_costs_little(model, encoder, faces, quick, monkeypatch):
    figures = {None: Figures(0.3, 25.0), 1.0: Figures(0.6, 24.0), 0.75: Figures(0.5, 24.9), 0.5: Figures(0.4, 25.0)}
    figures[0.25] = Figures(0.35, 25.1)
    worn: list[float | None] = [None]
    monkeypatch.setattr(Wearer, "put_on", lambda self, factors, strength: worn.append(strength))
    monkeypatch.setattr(HeldOutViews, "restored", lambda self, model: np.zeros(0, np.uint8))
    monkeypatch.setattr(HeldOutViews, "figures", lambda self, restored: figures[worn[-1]])
    made = personalize(model, faces, quick, encoder=encoder)
    assert made.facts.strength == 0.75
    assert made.facts.photos == 2
    assert "0.30 -> 0.50" in made.facts.sentence


def test_more_likeness_may_not_cost_the_picture():
    base = Figures(0.5, 25.0)
    assert is_better(Figures(0.51, 24.81), base)
    assert not is_better(Figures(0.9, 24.79), base)
    assert not is_better(Figures(0.5, 26.0), base)


def test_one_of_several_photos_is_held_out(faces):
    assert hold_out(faces[:1]) == (faces[:1], None)
    assert hold_out(faces[:2]) == (faces[:1], faces[1])
    assert hold_out([*faces, faces[0]]) == ([faces[0], faces[1], faces[0]], faces[2])


def test_no_photo_and_no_such_model(encoder, faces, quick):
    with pytest.raises(ReferencePhotoError, match="no photo"):
        personalize(tiny_latent_model(), [], quick, encoder=encoder)
    with pytest.raises(UsageError, match="does not work on pixels"):
        PersonLearner(tiny_latent_model(), encoder, [faces[0].crop], faces[0].embedding[None], quick)


def test_views_stay_the_face_and_the_same_seed_gives_the_same(face, embed):
    views = [another_view(face.crop, 128, TARGET_VIEW, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    raw = embed(views[1:])
    cosine = raw @ face.direction / np.linalg.norm(raw, axis=1)
    assert (cosine > 0.4).all()
    assert (cosine < 0.98).all()


def test_batches_hold_every_kind_of_damage(faces):
    settings = PersonalizeSettings(faces=40, size=32, empty_share=0.3)
    batches = Batches([face.crop for face in faces], settings, most_references=3)
    drawn = [batches.draw() for _ in range(12)]
    shown = [0 if batch.references is None else len(batch.references) for batch in drawn]
    assert {0, 1} < set(shown) <= {0, 1, 2, 3}
    flat = torch.stack([batch.source.flatten(2).std(-1).amax(-1) == 0 for batch in drawn]).float().mean()
    assert 0.2 < flat < 0.4  # of nothing but a mean color
    assert drawn[0].truth.shape == drawn[0].source.shape == (40, 3, 32, 32)
