"""Motion of a face between two pictures, on motion that is known; and what smoothing makes of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from iconface_video.faces.align import TEMPLATE_512, estimate_parameters, invert, matrix_from_parameters, transform_points
from iconface_video.tracking.motion import face_motion
from iconface_video.tracking.smoothing import smooth_parameters

WIDTH, HEIGHT = 320, 240
BOX = np.float32([100, 50, 200, 190])
MIDDLE = (149.5, 119.5)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.resize(astronaut()[0:280, 40:413], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def moved(scene: np.ndarray, dx: float = 0, dy: float = 0, growth: float = 0, turn: float = 0) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(MIDDLE, -np.degrees(turn), np.exp(growth))
    matrix[:, 2] += (dx, dy)
    return cv2.warpAffine(scene, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def noisy(scene: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    return np.clip(scene + np.random.default_rng(seed).normal(0, deviation, scene.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("dx", "dy"), [(0.4, 0.0), (-1.5, 2.0), (4.0, -3.0)])
def test_a_shift_is_found_to_a_tenth_of_a_pixel(scene, dx, dy):
    found = face_motion(scene, moved(scene, dx, dy), BOX)
    np.testing.assert_allclose(found[2:], (dx, dy), atol=0.1)
    np.testing.assert_allclose(found[:2], 0, atol=0.004)


def test_growth_and_turn_are_found(scene):
    found = face_motion(scene, moved(scene, 1, 0, growth=0.02, turn=0.03), BOX)
    np.testing.assert_allclose(found[:2], (0.02, 0.03), atol=0.004)


def test_a_far_jump_needs_the_landmarks_guess(scene):
    after = moved(scene, 24, -14)
    box = BOX + np.float32([24, -14, 24, -14])
    found = face_motion(scene, after, box, np.array([21.6, -12.0]))
    np.testing.assert_allclose(found[2:], (24, -14), atol=0.2)


def test_the_same_face_in_noise_does_not_move(scene):
    for seed in range(4):
        found = face_motion(noisy(scene, 8, seed), noisy(scene, 8, seed + 10), BOX)
        assert np.abs(found[2:]).max() < 0.15


def test_a_mouth_that_opens_is_no_motion_of_the_face(scene):
    opened = scene.copy()
    opened[150:170, 130:170] = 20
    found = face_motion(scene, opened, BOX)
    assert found is None or np.abs(found[2:]).max() < 0.4  # of a face 100 px wide


def test_what_is_not_known_is_told(scene):
    assert face_motion(None, scene, BOX) is None
    assert face_motion(scene[:-2], scene, BOX) is None
    assert face_motion(scene, scene, np.float32([10, 10, 15, 15])) is None
    other = np.random.default_rng(0).integers(0, 255, scene.shape).astype(np.uint8)
    assert face_motion(other, scene, BOX) is None
    np.testing.assert_array_equal(face_motion(scene, scene, BOX), 0)


# ---- smoothing with it


def test_uneven_motion_is_followed_to_the_frame():
    """A head that moves only in some frames, as in a film of irregular repeats that damage has hidden from the repeat test."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(60) < 0.4, 0.0, rng.normal(0, 5, 60))[:, None] * [1.0, 0.6]
    position = np.cumsum(steps, axis=0)
    display_from_template = invert(matrix_from_parameters([np.log(2.5), 0.0, -300.0, -200.0]))
    truth = transform_points(display_from_template, TEMPLATE_512)[None] + position[:, None]
    landmarks = truth + rng.normal(0, 1.0, truth.shape)
    seen = np.concatenate([np.zeros((60, 2)), steps + rng.normal(0, 0.05, steps.shape)], axis=1)
    times, scores, detected = np.arange(60) / 25, np.full(60, 0.9), np.ones(60, bool)

    def wrong(parameters) -> float:
        ideal = matrix_from_parameters(estimate_parameters(truth))
        mine = matrix_from_parameters(parameters)
        off = [transform_points(m, p) - transform_points(i, p) for m, i, p in zip(mine, ideal, truth)]
        return float(np.sqrt((np.diff(off, n=2, axis=0) ** 2).sum(axis=-1).mean()))

    raw = wrong(estimate_parameters(landmarks))
    assert wrong(smooth_parameters(times, landmarks, scores, detected)) > 0.6 * raw  # landmarks alone cannot tell
    assert wrong(smooth_parameters(times, landmarks, scores, detected, motion=seen)) < 0.25 * raw


def test_a_wrong_motion_is_outvoted_by_the_landmarks():
    """The flow reports a jump that never was: what is left over is treated as the face's motion and caught up with."""
    display_from_template = invert(matrix_from_parameters([np.log(2.5), 0.0, -300.0, -200.0]))
    points = np.repeat(transform_points(display_from_template, TEMPLATE_512)[None], 50, axis=0)
    points = points + np.random.default_rng(1).normal(0, 0.5, points.shape)
    seen = np.zeros((50, 4))
    seen[25, 2] = 8.0
    found = smooth_parameters(np.arange(50) / 25, points, np.full(50, 0.9), np.ones(50, bool), motion=seen)
    ideal = estimate_parameters(points.mean(axis=0))
    middle = np.array([transform_points(invert(matrix_from_parameters(p)), TEMPLATE_512).mean(axis=0) for p in found])
    truth = transform_points(invert(matrix_from_parameters(ideal)), TEMPLATE_512).mean(axis=0)
    off = np.linalg.norm(middle - truth, axis=1)
    assert np.delete(off, range(20, 31)).max() < 0.7
    assert off.max() < 5
