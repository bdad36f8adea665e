"""Measures of steadiness on pictures whose motion, noise and identity are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from iconface_video.faces.quality import laplacian_deviation
from iconface_video.lab.evaluate.picture_metrics import (
    MotionEstimator,
    difference_error,
    flicker,
    flow_difference,
    identity_drift,
    identity_spread,
    jitter,
    second_differences,
    warp_error,
    warped,
)
from iconface_video.lab.evaluate.video_picture import ciede2000, color_drift, seam_score
from iconface_video.lab.train.validation import face_mask
from iconface_video.render.paste import crop_mask
from tests.moved_face import SIZE, moved, still_face

REGION = face_mask(SIZE)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return still_face()


def noisy(picture: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, picture.shape)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


# ---- motion


def test_flow_of_a_translation_is_found(face):
    motion = MotionEstimator().motion(moved(face, 3, -2), face)
    found = np.median(motion.flow[REGION & motion.visible], axis=0)
    np.testing.assert_allclose(found, [-3, 2], atol=0.2)  # backward: where it was before
    assert (motion.visible & REGION).sum() > 0.8 * REGION.sum()


def test_what_is_covered_is_not_visible(face):
    """A bar slides in: behind it nothing of the frame before can be found."""
    covered = face.copy()
    covered[40:90, 50:80] = np.random.default_rng(0).integers(0, 255, (50, 30, 3))
    motion = MotionEstimator().motion(covered, face)
    assert motion.visible[40:90, 50:80].mean() < motion.visible[100:, :].mean() - 0.2


def test_warping_by_a_known_flow_brings_the_picture_back(face):
    flow = np.full((SIZE, SIZE, 2), (4, 0), np.float32)
    inner = np.s_[10:-10, 10:-10]
    np.testing.assert_allclose(warped(moved(face, 4, 0), flow)[inner], face[inner], atol=1)


# ---- errors along the motion


def test_warp_error_is_zero_where_nothing_moves_and_small_for_a_shift(face):
    estimator = MotionEstimator()
    assert warp_error(face, face, estimator.motion(face, face), REGION) == 0
    after = moved(face, 2, 1)
    motion = estimator.motion(after, face)
    still_wrong = warp_error(after, face, estimator.motion(face, face), REGION)
    assert warp_error(after, face, motion, REGION) < 0.1 * still_wrong


def test_warp_error_measures_flicker(face):
    """Independent noise of deviation d in both frames adds 3 * 2 d^2 (three channels, two frames)."""
    motion = MotionEstimator().motion(face, face)
    found = warp_error(noisy(face, 6, 1), noisy(face, 6, 2), motion, REGION)
    assert found == pytest.approx(1000 * 6 * (6 / 255) ** 2, rel=0.1)


def test_flicker_counts_new_noise_and_forgives_blur_and_shared_noise(face):
    after = moved(face, 2, 0)
    motion = MotionEstimator().motion(after, face)
    fresh = flicker(noisy(after, 6, 1), noisy(face, 6, 2), after, face, motion, REGION)
    # The warp of a shift by whole px keeps the variance; what it does at fractions only lowers it.
    assert 0.8 * 6 * 2**0.5 < fresh < 1.1 * 6 * 2**0.5
    blurred = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in (after, face)]
    assert flicker(*blurred, after, face, motion, REGION) < 0.3 * fresh
    stuck = noisy(face, 6, 1)
    assert flicker(moved(stuck, 2, 0), stuck, after, face, motion, REGION) < 0.5 * fresh
    assert flicker(after, face, after, face, motion, REGION) == 0


def test_difference_error_against_the_clean_video(face):
    after = moved(face, 2, 0)
    assert difference_error(after, face, after, face, REGION) == 0
    brighter = np.clip(after.astype(int) + 5, 0, 255).astype(np.uint8)
    assert difference_error(brighter, face, after, face, REGION) == pytest.approx(5, abs=0.3)


def test_flow_difference_is_the_wrong_motion_in_px(face):
    estimator = MotionEstimator()
    clean, stuck = estimator.flow(moved(face, 2, 0), face), estimator.flow(face, face)
    assert flow_difference(stuck, clean, REGION) == pytest.approx(2, abs=0.3)


# ---- geometry


def test_jitter_of_even_motion_is_zero_and_of_a_wobble_known():
    seconds = np.arange(20)[:, None, None]
    even = np.array([1.5, -0.5]) * seconds + np.zeros((1, 5, 1))
    assert np.abs(second_differences(even)).max() < 1e-9
    wobble = even + 0.25 * (-1.0) ** seconds * np.array([1, 0])
    np.testing.assert_allclose(jitter(wobble), 1.0)  # +-a: the second difference is 4 a
    np.testing.assert_allclose(jitter(wobble, wobble), 0)
    np.testing.assert_allclose(jitter(wobble, even), 1.0)


def test_jitter_leaves_out_frames_without_a_face():
    points = np.zeros((10, 5, 2))
    points[4] = np.nan
    found = jitter(points)
    assert np.isnan(found[2:5]).all()
    assert np.isfinite(found).sum() == 5


# ---- identity


def test_identity_drift_and_spread():
    same = np.tile(np.random.default_rng(0).normal(size=64), (6, 1))
    np.testing.assert_allclose(identity_drift(same), 0, atol=1e-12)
    assert identity_spread(same) == pytest.approx(0, abs=1e-12)
    turning = np.stack([np.cos(0.1 * np.arange(6)), np.sin(0.1 * np.arange(6))], axis=1) * 7
    np.testing.assert_allclose(identity_drift(turning), 1 - np.cos(0.1))
    assert identity_spread(turning) > 1 - np.cos(0.1)  # slow drift adds up


# ---- single frames


def test_ciede2000_agrees_with_scikit_image_and_the_published_pairs():
    from skimage.color import deltaE_ciede2000

    pairs = np.array(
        [
            [[50, 2.6772, -79.7751], [50, 0, -82.7485]],
            [[50, 2.5, 0], [73, 25, -18]],
            [[50, 0, 0], [50, -1, 2]],
            [[2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514]],
        ]
    )
    found = ciede2000(pairs[:, 0], pairs[:, 1])
    np.testing.assert_allclose(found, [2.0425, 27.1492, 2.3669, 0.9082], atol=1e-4)
    rng = np.random.default_rng(0)
    one, two = (rng.uniform([0, -80, -80], [100, 80, 80], (500, 3)) for _ in range(2))
    np.testing.assert_allclose(ciede2000(one, two), deltaE_ciede2000(one, two), atol=1e-6)


def test_color_drift_sees_a_cast_and_not_sharpening(face):
    sharper = np.clip(2.0 * face - cv2.GaussianBlur(face, (0, 0), 1.5).astype(float), 0, 255).astype(np.uint8)
    cast = np.clip(face + np.array([12.0, 0.0, -12.0]), 0, 255).astype(np.uint8)
    assert color_drift(face, face, REGION) == pytest.approx(0, abs=1e-6)
    assert color_drift(cast, face, REGION) > 5 * color_drift(sharper, face, REGION)
    assert laplacian_deviation(sharper, REGION) > 1.2 * laplacian_deviation(face, REGION)


def test_a_hard_edge_is_a_seam_and_a_soft_one_is_not(face):
    """The same brighter face, pasted with a hard and with the default rim."""
    brighter = face.astype(np.float32) + 30

    def pasted(feather: float) -> np.ndarray:
        mask = crop_mask(SIZE, "ellipse", feather)[..., None]
        return np.clip(face + mask * (brighter - face), 0, 255).astype(np.uint8)

    assert seam_score(face, face) == 0
    assert seam_score(pasted(0.02), face) > 5 * max(seam_score(pasted(0.25), face), 0.1)
