"""Metrics against values that can be computed by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from iconface_video.errors import InputError
from iconface_video.lab.evaluate.niqe import fit_niqe
from iconface_video.lab.evaluate.picture_metrics import face_psnr, face_ssim, sharpness_share


def flat(value: int, size: int = 64) -> np.ndarray:
    return np.full((1, size, size, 3), value, np.uint8)


def test_psnr_of_a_constant_difference():
    assert face_psnr(flat(110), flat(100))[0] == pytest.approx(20 * math.log10(255 / 10), abs=1e-3)


def test_psnr_looks_at_the_face_alone():
    spoiled = flat(100)
    spoiled[:, :6] = 255  # above the face
    spoiled[:, :, :6] = 255
    assert face_psnr(spoiled, flat(100))[0] > 70
    spoiled[:, 35, 32] = 255
    assert face_psnr(spoiled, flat(100))[0] < 50


def test_ssim_of_flat_pictures_is_its_luminance_term():
    a, b, c = 100, 140, (0.01 * 255) ** 2
    assert face_ssim(flat(a), flat(b))[0] == pytest.approx((2 * a * b + c) / (a * a + b * b + c), abs=1e-4)
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert face_ssim(noise, noise)[0] == pytest.approx(1)


def test_sharpness_scales_with_contrast():
    grating = np.zeros((1, 64, 64, 3), np.uint8)
    grating[:, :, ::4] = 200
    assert sharpness_share(grating // 2, grating)[0] == pytest.approx(0.5, abs=0.01)


def textures(seed: int, count: int, size: int = 64) -> list[np.ndarray]:
    """Pieces of a photograph."""
    from skimage import data

    photo, rng = data.astronaut(), np.random.default_rng(seed)
    places = rng.integers(0, 512 - size, (count, 2))
    return [np.ascontiguousarray(photo[y : y + size, x : x + size]) for y, x in places]


def test_niqe_ranks_damaged_pictures_behind_clean_ones():
    model, rng = fit_niqe(textures(1, 40)), np.random.default_rng(3)
    clean = textures(2, 12)
    blurred = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in clean]
    noisy = [np.clip(picture + rng.normal(0, 25, picture.shape), 0, 255).astype(np.uint8) for picture in clean]
    scores = [float(np.mean([model.score(picture) for picture in group])) for group in (clean, blurred, noisy)]
    assert scores[1] > 1.2 * scores[0]
    assert scores[2] > 1.2 * scores[0]


def test_niqe_refuses_too_few_pictures_and_another_size():
    with pytest.raises(InputError, match="NIQE needs"):
        fit_niqe(textures(1, 1))
    with pytest.raises(ValueError, match="fitted on 64 px"):
        fit_niqe(textures(1, 40)).score(np.zeros((32, 32, 3), np.uint8))
