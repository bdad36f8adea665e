"""Likeness and places of a face."""

from __future__ import annotations

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from iconface_video.errors import UsageError
from iconface_video.faces.detector import CenterFace, overlap
from iconface_video.identity.anchors import best_first
from iconface_video.lab.evaluate.identity_metrics import (
    Gallery,
    cosine,
    cosine_to_each,
    detected_landmarks,
    landmark_error,
    make_discriminator,
)
from iconface_video.lab.evaluate.networks import YuNet, _detection, compare, match
from iconface_video.types import Detection
from tests.evaluate.conftest import portrait


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace(256, threads=1)


@pytest.mark.parametrize("name", ["dlib", "embedded"])
def test_a_face_is_like_itself_and_less_like_its_blur(name):
    if name == "dlib" and not all(find_spec(package) for package in ("dlib", "face_recognition_models")):
        pytest.skip("the extra 'evaluate' is not installed")
    face, other = portrait(0, 1, 1, 128), portrait(8, 0.9, 0.6, 128)
    blur = cv2.GaussianBlur(face, (0, 0), 6)
    judge = make_discriminator(name, [other, portrait(-5, 1.1, 0.8, 128)[:, ::-1].copy()])
    truth, same, blurred = judge.embed([face]), judge.embed([face.copy()]), judge.embed([blur])
    assert cosine(truth, same)[0] == pytest.approx(1, abs=1e-4)
    assert cosine(truth, blurred)[0] < 0.95
    assert cosine_to_each(truth, [np.concatenate([same, blurred])])[0] < 1
    assert np.isnan(cosine_to_each(truth, [np.zeros((0, truth.shape[1]), np.float32)])[0])


def test_an_unknown_judge_is_refused():
    with pytest.raises(UsageError, match="Did you mean 'dlib'"):
        make_discriminator("dlip", [])


def test_landmark_error_is_a_share_of_the_eye_distance():
    truth = np.array([[(10.0, 10), (30, 10), (20, 20), (12, 30), (28, 30)]])
    assert landmark_error(truth + (3, 4), truth, truth[:, :2])[0] == pytest.approx(5 / 20)
    assert np.isnan(landmark_error(np.full_like(truth, np.nan), truth, truth[:, :2])[0])


def test_a_picture_without_a_face_has_no_landmarks(detector):
    found = detected_landmarks(detector, [portrait(0, 1, 1, 128), np.full((128, 128, 3), 90, np.uint8)])
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert found[0][0, 0] < found[0][1, 0], "the viewer's left eye is first"


def detection(x: float, y: float, side: float = 10.0) -> Detection:
    points = np.array([(x + 2, y + 3), (x + 8, y + 3), (x + 5, y + 5), (x + 3, y + 8), (x + 7, y + 8)], np.float32)
    return Detection(np.array([x, y, x + side, y + side], np.float32), 0.9, points)


def test_overlap_of_boxes():
    assert overlap(detection(0, 0).box, detection(5, 0).box) == pytest.approx(50 / 150)
    assert overlap(detection(0, 0).box, detection(20, 0).box) == 0


def test_matching_takes_each_face_once():
    first, second = [detection(0, 0), detection(2, 0)], [detection(2, 0)]
    assert match(first, second) == [(first[1], second[0])]


class Fixed:
    """A detector that always finds the same."""

    name = "fixed"

    def __init__(self, found: list[Detection]) -> None:
        self.found = found

    def detect(self, rgb: np.ndarray) -> list[Detection]:
        return self.found


def test_agreement_counts_and_measures():
    moved = Detection(detection(0, 0).box, 0.9, detection(0, 0).landmarks + np.float32(0.6))
    found = compare(Fixed([moved, detection(50, 50)]), Fixed([detection(0, 0)]), [np.zeros((100, 100, 3), np.uint8)] * 3)
    assert (found.first_found, found.second_found, found.both) == (6, 3, 3)
    assert (found.share_of_second, found.share_of_first) == (1.0, 0.5)
    assert found.distances == pytest.approx([100 * 0.6 * 2**0.5 / 6] * 3, rel=1e-4)  # the eyes are 6 px apart


def test_the_detector_agrees_with_itself(detector):
    found = compare(detector, detector, [portrait(0, 1, 1, 192)])
    assert found.both == 1
    assert found.overlaps == pytest.approx([1])
    assert found.distances == pytest.approx([0])


def test_yunet_rows_are_read_in_order():
    row = np.array([10, 20, 30, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.75], np.float32)
    found = _detection(row, np.array([2.0, 2.0]), (60, 200))
    assert found.box.tolist() == [20, 40, 60, 120]  # the right edge clipped from 80
    assert found.landmarks.tolist() == [[2, 4], [6, 8], [10, 12], [14, 16], [18, 20]]
    assert found.score == pytest.approx(0.75)


def test_a_missing_yunet_file_is_said(tmp_path):
    with pytest.raises(OSError, match="--yunet needs YuNet's ONNX file"):
        YuNet(tmp_path / "yunet.onnx")


class FourColors:
    """Embeds a picture of one color as that color."""

    name = description = "colors"

    def embed(self, crops):
        colors = np.stack([crop[0, 0] for crop in crops]).astype(np.float32)
        return colors / np.linalg.norm(colors, axis=1, keepdims=True)


def one_color(*rgb: int) -> np.ndarray:
    return np.full((4, 4, 3), rgb, np.uint8)


def test_a_face_is_taken_for_the_nearest_person():
    photos = {"red": [one_color(250, 0, 0), one_color(250, 40, 0)], "green": [one_color(0, 250, 0)], "": [one_color(9, 9, 9)]}
    gallery = Gallery.of(photos, FourColors())
    assert gallery.names == ("red", "green")
    seen = FourColors().embed([one_color(200, 10, 0), one_color(200, 90, 0), one_color(90, 200, 0), one_color(0, 9, 0)])
    wrong = gallery.mistaken(seen, ["red", "green", "red", "blue"])
    assert wrong[:3].tolist() == [0, 1, 1]
    assert np.isnan(wrong[3])  # nobody knows blue here
    assert Gallery.of({"red": photos["red"]}, FourColors()) is None


def test_best_first_is_by_the_norm():
    assert best_first([np.full(512, value, np.float32) for value in (1, 3, 2)]) == [1, 2, 0]
