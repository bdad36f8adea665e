"""Anchors against IConFace eq. 3-4 written out plainly, and the choice of evidence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from iconface_video.identity.anchors import CropCandidate, aggregate, choose_crops, make_anchor, self_anchor
from iconface_video.settings import AnchorSettings


def plain_anchor(sources: list[list[float]], temperature: float) -> tuple[list[float], list[float]]:
    """Eq. 3-4 with loops, from the paper's formula."""
    norms = [math.sqrt(sum(v * v for v in z)) for z in sources]
    exponentials = [math.exp(math.log(q) / temperature) for q in norms]
    weights = [e / sum(exponentials) for e in exponentials]
    mixed = [sum(w * z[i] / q for w, z, q in zip(weights, sources, norms)) for i in range(len(sources[0]))]
    length = math.sqrt(sum(v * v for v in mixed))
    return [v / length for v in mixed], weights


@pytest.mark.parametrize("count", [1, 2, 3, 11])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equations_3_and_4(count, temperature):
    rng = np.random.default_rng(count)
    sources = rng.normal(size=(count, 512)) * rng.uniform(0.5, 30, size=(count, 1)) + 1
    found = aggregate(sources, temperature)
    direction, weights = plain_anchor(sources.tolist(), temperature)
    np.testing.assert_allclose(found.direction, direction, atol=1e-6)
    np.testing.assert_allclose(found.weights, weights, atol=1e-6)
    assert found.reliability == pytest.approx(sum(w * np.linalg.norm(z) for w, z in zip(weights, sources)), rel=1e-5)


def test_at_temperature_one_weights_are_the_norms():
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(3, 512))
    sources *= (np.array([1.0, 2.0, 5.0]) / np.linalg.norm(sources, axis=1))[:, None]
    np.testing.assert_allclose(aggregate(sources, 1.0).weights, [1 / 8, 2 / 8, 5 / 8], atol=1e-6)


def test_the_temperature_runs_from_the_best_source_to_all_alike():
    sources = np.diag([1.0, 3.0, 2.0] + [0.0] * 509)[:3]
    assert aggregate(sources, 0.01).weights.argmax() == 1
    assert aggregate(sources, 0.01).weights.max() > 0.999
    np.testing.assert_allclose(aggregate(sources, 100).weights, [1 / 3] * 3, atol=0.01)


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        (np.zeros((0, 512)), r"\(n, 512\) with n >= 1, got \(0, 512\)"),
        (np.ones((2, 128)), r"got \(2, 128\)"),
        (np.full((1, 512), np.nan), "not finite"),
        (np.stack([np.ones(512), -np.ones(512)]), "cancel out"),
    ],
)
def test_refusals(sources, sentence):
    with pytest.raises(ValueError, match=sentence):
        aggregate(sources)


def test_anchor_uses_every_source_but_shows_only_the_best_pictures():
    pictures = [np.full((64, 64, 3), value, np.uint8) for value in range(5)]
    embeddings = np.random.default_rng(0).normal(size=(5, 512))
    anchor = make_anchor(embeddings, pictures, AnchorSettings(max_references=2), "user")
    assert anchor.origin == "user"
    assert len(anchor.weights) == 5
    assert [int(picture[0, 0, 0]) for picture in anchor.references] == [0, 1]


def test_fallback_is_the_faces_own_direction_without_pictures():
    own = np.random.default_rng(0).normal(size=(1, 512))
    anchor = self_anchor(own, AnchorSettings())
    np.testing.assert_allclose(anchor.direction, own[0] / np.linalg.norm(own), atol=1e-6)
    assert (anchor.origin, anchor.references) == ("self", ())


def candidate(seconds: float, quality: float, yaw: float = 0.0, group: int = 0) -> CropCandidate:
    return CropCandidate(int(seconds * 1000), seconds, quality, np.array([yaw, 0.0], np.float32), None, group)


def test_choice_is_best_first_then_spread_over_pose_and_time():
    pool = [candidate(0.04 * i, 0.8) for i in range(100)] + [candidate(2.0, 0.7, yaw=35.0), candidate(3.96, 0.9)]
    chosen = choose_crops(pool, 4)
    assert chosen[0].quality == 0.9
    assert 35.0 in [item.pose[0] for item in chosen]
    times = sorted(item.seconds for item in chosen if item.quality == 0.8)
    assert len(times) == 2
    assert times[1] - times[0] > 1.0


def test_choice_leaves_out_what_is_much_worse_than_the_best():
    pool = [candidate(0, 0.9), candidate(5, 0.3, yaw=60), candidate(9, 0.05)]
    assert [item.quality for item in choose_crops(pool, 8)] == [0.9]
    assert choose_crops([candidate(0, 0.05)], 3) == []
    assert choose_crops([], 3) == []


def test_choice_is_the_same_whatever_the_order_of_candidates():
    rng = np.random.default_rng(0)
    pool = [candidate(t, q, y) for t, q, y in zip(range(30), rng.uniform(0.4, 0.9, 30), rng.uniform(-40, 40, 30))]
    shuffled = [pool[i] for i in rng.permutation(30)]
    assert choose_crops(pool, 5) == choose_crops(shuffled, 5)
