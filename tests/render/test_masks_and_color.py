from __future__ import annotations

import cv2
import numpy as np
import pytest

from iconface_video.faces.align import TEMPLATE_512
from iconface_video.render.match import match_color
from iconface_video.render.paste import crop_mask


@pytest.mark.parametrize("shape", ["ellipse", "square"])
@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("feather", [0.02, 0.25, 0.5])
def test_mask_is_soft_and_ends_inside_the_crop(shape, size, feather):
    mask = crop_mask(size, shape, feather)
    assert mask.shape == (size, size)
    assert mask.dtype == np.float32
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert rim.max() == 0
    assert 0.9 < mask.max() <= 1
    steepest = max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1))
    assert steepest < 1.7 / (feather * size)
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-6)


def test_the_default_mask_shows_eyes_nose_and_mouth_in_full():
    mask = crop_mask(512, "ellipse", 0.25)
    for x, y in TEMPLATE_512.round().astype(int):
        assert mask[y, x] > 0.93


def test_mask_has_the_same_shape_at_every_size():
    small, large = crop_mask(128, "ellipse", 0.25), crop_mask(512, "ellipse", 0.25)
    np.testing.assert_allclose(cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA), small, atol=0.01)


def test_a_color_cast_of_the_model_is_taken_out():
    residual = np.zeros((128, 128, 3), np.float32) + np.array([0.2, -0.1, 0.05], np.float32)
    assert np.abs(match_color(residual)).max() < 1e-5


def test_shading_is_taken_out_detail_is_kept():
    x = np.arange(256, dtype=np.float32)
    shading = np.broadcast_to((0.1 * np.cos(np.pi * x / 256))[None, :, None], (256, 256, 3))
    detail = np.broadcast_to((0.1 * np.sin(2 * np.pi * x / 12))[None, :, None], (256, 256, 3))
    middle = slice(64, 192)
    assert match_color(np.ascontiguousarray(shading))[middle, middle].std() < 0.15 * shading[middle, middle].std()
    kept = match_color(np.ascontiguousarray(detail))
    np.testing.assert_allclose(kept[middle, middle], detail[middle, middle], atol=0.01)


def test_no_change_stays_exactly_no_change():
    assert not match_color(np.zeros((128, 128, 3), np.float32)).any()
