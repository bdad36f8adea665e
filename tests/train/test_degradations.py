"""The online mix: what it promises about strength, determinism and size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.degrade import damaged_in_part, degrade, sample_strength
from iconface_video.degrade import operations as op
from iconface_video.degrade.picture import final_px
from iconface_video.errors import UsageError


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The astronaut's face, about the FFHQ frame, (128, 128, 3)."""
    return cv2.resize(data.astronaut()[10:250, 105:345], (128, 128), interpolation=cv2.INTER_AREA)


def mean_psnr(face: np.ndarray, strength: float, **options: float) -> float:
    damaged = [degrade(face, strength, np.random.default_rng(seed), **options) for seed in range(40)]
    return float(np.mean([cv2.PSNR(face, picture) for picture in damaged]))


@pytest.mark.parametrize("strength", [0.0, 3.0, 9.0, 16.0, 20.0])
def test_same_generator_state_same_picture(face, strength):
    first = degrade(face, strength, np.random.default_rng(5))
    again = degrade(face, strength, np.random.default_rng(5))
    other = degrade(face, strength, np.random.default_rng(6))
    assert first.shape == face.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_input_is_left_alone(face):
    before = face.copy()
    for seed in range(20):
        degrade(face, 12.0, np.random.default_rng(seed), old_video=1.0)
    assert np.array_equal(face, before)


def test_damage_grows_with_strength(face):
    figures = [mean_psnr(face, strength) for strength in (0, 3, 6, 12, 18)]
    assert figures == sorted(figures, reverse=True)
    assert figures[0] > 35
    assert figures[-1] < 24


def test_severe_strengths_reach_the_published_shrinking():
    """16x to 32x of a 512-px face at strength 16, about 12 px left at 20."""
    assert final_px(16, 1.0) == pytest.approx(512 / 32)
    assert 512 / 32 <= final_px(9, 1.0) <= 512 / 8
    assert 9 <= np.mean([final_px(20, share) for share in np.linspace(0, 1, 11)]) <= 24
    assert final_px(0, 1.0) == 512


def test_a_small_picture_of_a_large_face_keeps_more_of_itself(face):
    """128 px seen in a 512-px crop end at as many px as the large crop would; seen at 128 px they lose four times more."""
    assert mean_psnr(face, 8, seen_px=512) > mean_psnr(face, 8, seen_px=128) + 2


def test_odd_sizes_and_tiny_pictures_survive():
    rng = np.random.default_rng(0)
    for shape in [(37, 53, 3), (8, 8, 3), (129, 64, 3)]:
        picture = rng.integers(0, 256, shape).astype(np.uint8)
        for seed in range(10):
            assert degrade(picture, 20, np.random.default_rng(seed), old_video=1.0).shape == shape


def test_grey_noise_and_codec_do_not_move_the_mean(face):
    rng = np.random.default_rng(1)
    noisy = op.add_noise(face, 10, "gaussian", True, rng).astype(float) - face
    inside = (face > 40) & (face < 215)
    assert abs(noisy[inside].mean()) < 0.5
    assert 8 < noisy[inside].std() < 12
    assert np.corrcoef(noisy[..., 0][inside.all(-1)], noisy[..., 2][inside.all(-1)])[0, 1] > 0.95
    assert abs(op.block_codec(face, 60, (3, 5)).astype(float).mean() - face.mean()) < 1.5


def test_red_stays_red_through_jpeg():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(op.jpeg(red, 95).astype(int) - red).max() < 12


def test_sinc_kernel_is_a_low_pass_that_rings():
    kernel = op.sinc_kernel(np.pi / 2, 8)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel.min() < 0
    response = np.abs(np.fft.fft2(kernel, (64, 64)))
    assert response[0, 4] > 0.9  # well below the cutoff of a quarter of the sampling rate
    assert response[0, 28] < 0.1


def test_strengths_come_in_the_papers_shares():
    rng = np.random.default_rng(0)
    drawn = np.array([sample_strength(rng) for _ in range(4000)])
    shares = [(drawn < 3).mean(), ((drawn >= 3) & (drawn < 8)).mean(), (drawn >= 8).mean()]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    assert drawn.max() <= 16
    assert min(sample_strength(rng, (0, 0, 1)) for _ in range(100)) >= 8


@pytest.mark.parametrize("strength", [-0.1, 20.5, float("nan")])
def test_strength_outside_range_names_the_range(face, strength):
    with pytest.raises(UsageError, match=r"must be within \[0, 20\]"):
        degrade(face, strength, np.random.default_rng(0))


def test_float_pictures_are_refused(face):
    with pytest.raises(UsageError, match=r"uint8 \(H, W, 3\), got float32"):
        degrade(face.astype(np.float32), 3, np.random.default_rng(0))


def test_wrong_bucket_weights_are_refused():
    with pytest.raises(UsageError, match="three numbers"):
        sample_strength(np.random.default_rng(0), (1, 0))


def test_damage_in_part_leaves_other_places_alone(face):
    damaged = degrade(face, 14.0, np.random.default_rng(0))
    shares = []
    for seed in range(6):
        mixed = damaged_in_part(face, damaged, np.random.default_rng(seed)).astype(int)
        far = np.abs(damaged.astype(int) - face).max(2) > 12  # where one can tell
        is_clean, is_damaged = (np.abs(mixed - picture).max(2) <= 1 for picture in (face, damaged))
        shares.append(is_damaged[far].mean())
        assert is_clean[far].mean() + is_damaged[far].mean() > 0.5
        assert is_clean[far].mean() > 0.05
    assert 0.2 < np.mean(shares) < 0.8
