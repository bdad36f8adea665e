"""Verification figures on similarities whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.errors import InputError
from iconface_video.lab.evaluate.networks import Pairs, area, best_threshold, fold_accuracy, rank_correlation, rate_at, roc

SAME = np.array([True, False] * 50)


def test_separable_pairs_are_all_right():
    similarity = np.where(SAME, 0.6, 0.2) + np.linspace(0, 0.1, 100)
    assert fold_accuracy(similarity, SAME).tolist() == [1.0] * 10
    assert 0.3 <= best_threshold(similarity, SAME) <= 0.6
    assert area(*roc(similarity, SAME)) == pytest.approx(1)
    assert rate_at(*roc(similarity, SAME), 0.01) == 1


def test_chance_is_half():
    similarity = np.random.default_rng(0).random(2000)
    same = np.array([True, False] * 1000)
    assert fold_accuracy(similarity, same).mean() == pytest.approx(0.5, abs=0.05)
    assert area(*roc(similarity, same)) == pytest.approx(0.5, abs=0.05)


def test_roc_of_four_pairs_by_hand():
    false, true = roc(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
    assert true.tolist() == [0, 0.5, 0.5, 1, 1]
    assert false.tolist() == [0, 0, 0.5, 0.5, 1]
    assert area(false, true) == pytest.approx(0.75)


def test_pairs_are_balanced_and_right():
    labels = np.array([0, 0, 0, 1, 1, 2])
    pairs = Pairs.balanced(labels, np.random.default_rng(0))
    assert pairs.same.sum() == 4  # three of person 0, one of person 1
    assert len(pairs.same) == 8
    assert ((labels[pairs.first] == labels[pairs.second]) == pairs.same).all()
    with pytest.raises(InputError, match="two people"):
        Pairs.balanced(np.zeros(5, np.int64), np.random.default_rng(0))


def test_rank_correlation_sees_order_alone():
    assert rank_correlation(np.array([1.0, 2, 4, 100]), np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(1)
    assert rank_correlation(np.array([4.0, 3, 2, 1]), np.array([1.0, 2, 3, 4])) == pytest.approx(-1)
