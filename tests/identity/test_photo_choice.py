"""Which photos a frame is shown: the nearest in pose and expression, whatever their size, and without flicker."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from iconface_video.identity.anchors import make_anchor
from iconface_video.identity.photo_choice import nearest_photos, shape_distances, shown_photos, varied
from iconface_video.settings import AnchorSettings
from tests.identity.test_evidence import make_track

FRONTAL = np.array([(193, 240), (319, 240), (257, 314), (201, 371), (313, 371)], np.float32)


def turned(amount: float) -> np.ndarray:
    """The face with its nose moved sideways, as when the head turns."""
    face = FRONTAL.copy()
    face[2, 0] += amount
    face[:, 0] -= 0.3 * amount
    return face


def elsewhere(face: np.ndarray, scale: float = 3.0, angle: float = 0.4) -> np.ndarray:
    """The same face, somewhere else in another picture."""
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    return np.asarray(face @ np.array([[c, s], [-s, c]]) + (900, -40), np.float32)


def test_distance_knows_shape_not_place_size_or_turn_in_the_picture():
    photos = np.stack([elsewhere(turned(40)), elsewhere(FRONTAL), turned(-40)])
    found = shape_distances(np.stack([FRONTAL, turned(40)]), photos)
    assert found.shape == (2, 3)
    assert found[0, 1] == pytest.approx(0, abs=1e-5)
    assert found[1, 0] == pytest.approx(0, abs=1e-5)
    assert found[0, 0] == pytest.approx(found[0, 2], rel=1e-3)
    assert found[1, 2] > found[1, 1] > 0.01
    assert np.isfinite(shape_distances(np.zeros((1, 5, 2), np.float32), photos)).all()


def test_a_head_that_turns_is_shown_the_photos_that_look_the_same_way():
    photos = np.stack([elsewhere(turned(x)) for x in (-60, -50, -40, 0, 5, 40, 50, 60)])
    path = np.stack([turned(x) for x in np.linspace(-50, 50, 80)])
    shown = nearest_photos(path, photos, 3)
    assert shown[0] == (0, 1, 2)
    assert shown[-1] == (5, 6, 7)
    changes = sum(before != after for before, after in pairwise(shown))
    assert 1 <= changes <= 6


def test_landmarks_that_tremble_do_not_make_the_photos_change():
    rng = np.random.default_rng(3)
    photos = np.stack([elsewhere(turned(x)) for x in (-20, -10, 0, 1, 2, 10, 20)])
    still = np.stack([turned(5)] * 100) + rng.normal(0, 3, (100, 5, 2)).astype(np.float32)
    assert len(set(nearest_photos(still, photos, 3))) <= 2


def test_more_photos_than_are_kept_are_thinned_out_to_the_sure_and_the_varied():
    points = np.stack([*(turned(0.1 * k) for k in range(20)), turned(60)])
    kept = varied(points, [1.0] * 19 + [5.0, 1.0], 3)
    assert kept[0] == 19
    assert 20 in kept
    assert varied(points, [1.0] * 21, 40) == sorted(
        set(varied(points, [1.0] * 21, 40)), key=varied(points, [1.0] * 21, 40).index
    )
    assert varied(points[:0], [], 3) == []


def test_an_anchor_shows_all_where_there_is_nothing_to_choose():
    rows = np.abs(np.random.default_rng(1).normal(size=(6, 512))).astype(np.float32)
    pictures = [np.full((8, 8, 3), k, np.uint8) for k in range(6)]
    points = np.stack([turned(10.0 * k) for k in range(6)])
    track = replace(make_track(0, 0, 30), landmarks=np.stack([turned(50)] * 30))
    anchor = make_anchor(rows, pictures, AnchorSettings(), "user", points)
    chosen = shown_photos(track, anchor)
    assert len(anchor.references) == 6
    assert chosen is not None
    assert {int(anchor.references[k][0, 0, 0]) for k in chosen[0]} == {3, 4, 5}
    first = make_anchor(rows, pictures, AnchorSettings(reference_pool=0), "user", points)
    assert [int(picture[0, 0, 0]) for picture in first.references] == [0, 1, 2]
    assert shown_photos(track, first) is None
    assert make_anchor(rows, pictures, AnchorSettings(max_references=0), "user", points).references == ()
    assert shown_photos(track, make_anchor(rows, pictures, AnchorSettings(), "user")) is None
    assert shown_photos(track, make_anchor(rows[:3], pictures[:3], AnchorSettings(), "user", points[:3])) is None
