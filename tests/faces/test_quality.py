"""Quality measures: they must order faces as a person would, and poses as they were turned."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from iconface_video.faces.align import crop_from_display, cut_crop, estimate_parameters
from iconface_video.faces.detector import CenterFace
from iconface_video.faces.quality import pose, quality, sharpness

# A head measured apart from the module's own model: mm, right, down, towards the viewer (anthropometric means).
HEAD_MM = np.array([(-31, 0, 0), (31, 0, 0), (0, 36, 29), (-26, 66, 6), (26, 66, 6)], dtype=float)


def seen(yaw: float, pitch: float, roll: float, scale: float = 1.3) -> np.ndarray:
    """Landmarks of the head turned by scipy: down, then right, then clockwise."""
    turn = Rotation.from_euler("xyz", [-pitch, yaw, roll], degrees=True)
    return turn.apply(HEAD_MM)[:, :2] * scale + (300, 200)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (-45, 0, 0), (0, 20, 0), (0, -20, 0), (20, 10, 40), (-25, 5, -100)])
def test_pose_is_found_within_ten_degrees(angles):
    head = pose(seen(*angles))
    assert head.yaw == pytest.approx(angles[0], abs=10)
    assert head.pitch == pytest.approx(angles[1], abs=12)
    assert head.roll == pytest.approx(angles[2], abs=10)


def test_yaw_changes_sign_with_the_mirror(portrait):
    found = CenterFace(480, threads=1).detect(portrait.rgb)[0].landmarks
    mirrored = np.stack([511 - found[:, 0], found[:, 1]], axis=1)[[1, 0, 2, 4, 3]]
    assert pose(mirrored).yaw == pytest.approx(-pose(found).yaw, abs=1e-3)
    assert abs(pose(found).yaw) < 20
    assert abs(pose(found).roll) < 8


def test_pose_takes_whole_tracks():
    many = np.stack([seen(yaw, 0, 0) for yaw in (-30, 0, 30)])
    assert (np.diff(pose(many).yaw) > 15).all()


def face_at(portrait, shrink: float, blur: float) -> np.ndarray:
    small = cv2.resize(portrait.rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), blur) if blur else small
    landmarks = (portrait.landmarks + 0.5) * shrink - 0.5
    return cut_crop(small, crop_from_display(estimate_parameters(landmarks), 256), 256)


def test_blur_and_smallness_lower_the_sharpness(portrait):
    full, blurred, small = (sharpness(face_at(portrait, *how)) for how in [(1, 0), (1, 3), (0.3, 0)])
    assert full > 2 * blurred
    assert full > 2 * small


def test_sharpness_does_not_depend_on_the_crops_size(portrait):
    """A crop cut at 512 px and one cut at 256 px of the same face read alike."""
    parameters = estimate_parameters(portrait.landmarks)
    at = {size: sharpness(cut_crop(portrait.rgb, crop_from_display(parameters, size), size)) for size in (256, 512)}
    assert at[512] == pytest.approx(at[256], rel=0.15)


def test_hair_and_background_do_not_count(portrait):
    crop = face_at(portrait, 1, 0)
    busy = crop.copy()
    busy[:60] = np.random.default_rng(0).integers(0, 256, busy[:60].shape, np.uint8)
    assert sharpness(busy) == sharpness(crop)


def test_quality_prefers_large_sharp_frontal_and_certain():
    frontal, turned = seen(0, 0, 0), seen(50, 0, 0)
    best = quality(200, 15, frontal, 0.95)
    assert 0.7 < best <= 1
    for worse in (
        quality(40, 15, frontal, 0.95),
        quality(200, 2, frontal, 0.95),
        quality(200, 15, turned, 0.95),
        quality(200, 15, frontal, 0.4),
    ):
        assert 0 <= worse < 0.85 * best


def test_quality_takes_arrays_and_stays_within_its_range():
    many = quality([5, 60, 5000], [0, 9, 500], np.stack([seen(0, 0, 0)] * 3), [0, 0.5, 1])
    assert many.shape == (3,)
    assert (many[:-1] <= many[1:]).all()
    assert many[0] == 0
    assert many[2] <= 1
