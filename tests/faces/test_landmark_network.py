"""The shipped landmark network on a real face: points where the parts of the face are, wherever and however the face stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from iconface_video.degrade import degrade
from iconface_video.errors import CheckpointError
from iconface_video.faces.align import crop_from_display, cut_crop, estimate_parameters
from iconface_video.faces.detector import CenterFace
from iconface_video.faces.landmark_network import (
    EYES,
    LandmarkNetwork,
    eye_distance,
    find_landmarks,
    five_points,
    load_landmark_network,
    save_landmark_network,
)


@pytest.fixture(scope="module")
def network() -> LandmarkNetwork:
    return load_landmark_network()


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    """(256, 256, 3) RGB in the FFHQ frame, and the detector's five points in it, shares of the side."""
    picture = data.astronaut()
    landmarks = CenterFace(512).detect(picture)[0].landmarks
    matrix = crop_from_display(estimate_parameters(landmarks), 256)
    points = landmarks @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(cut_crop(picture, matrix, 256), np.uint8), (points + 0.5) / 256


def test_eyes_and_mouth_are_where_the_detector_sees_them(network, face):
    crop, five = face
    points = find_landmarks(network, [crop])[0]
    eye = float(eye_distance(points[None])[0])
    assert points.shape == (468, 2)
    distances = np.linalg.norm(five_points(points[None])[0] - five, axis=1) / eye
    assert (distances[[0, 1]] < 0.12).all()
    assert (distances[[2, 3, 4]] < 0.25).all()


def test_points_follow_a_face_that_is_moved_mirrored_or_damaged(network, face):
    crop, _ = face
    clean = find_landmarks(network, [crop])[0]
    eye = float(eye_distance(clean[None])[0])
    moved = cut_crop(crop, np.array([[1.0, 0, 10], [0, 1, -6]]), 256)
    damaged = degrade(crop, 10.0, np.random.default_rng(1))
    mirrored = np.ascontiguousarray(crop[:, ::-1])
    shifted, bad, other_way = find_landmarks(network, [moved, damaged, mirrored])
    assert np.linalg.norm(shifted - clean - np.array([10, -6]) / 256, axis=1).mean() < 0.05 * eye
    assert np.linalg.norm(bad - clean, axis=1).mean() < 0.1 * eye
    swapped = [other_way[list(corners)].mean(0) for corners in reversed(EYES)]
    for corners, seen in zip(EYES, swapped):
        assert (
            np.linalg.norm([1 - seen[0] - clean[list(corners)].mean(0)[0], seen[1] - clean[list(corners)].mean(0)[1]])
            < 0.08 * eye
        )


def test_size_and_company_of_a_crop_change_nothing(network, face):
    crop, _ = face
    small = cut_crop(crop, np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]), 128)
    one, half, again = find_landmarks(network, [crop, small, crop])
    np.testing.assert_allclose(one, again, atol=1e-5)
    assert np.abs(one - half).max() < 0.01
    assert find_landmarks(network, []).shape == (0, 468, 2)


def test_what_is_no_landmark_network_is_refused_by_name(tmp_path: Path, network):
    wrong = tmp_path / "points.safetensors"
    with pytest.raises(CheckpointError, match=r"points\.safetensors"):
        load_landmark_network(wrong)
    wrong.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"points\.safetensors"):
        load_landmark_network(wrong)
    copied = save_landmark_network(network, tmp_path / "copy.safetensors")
    assert load_landmark_network(copied).mean.equal(network.mean)
