"""SCRFD (Guo et al. 2021) through the package `insightface`: opt-in, since its model packs are for non-commercial use."""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np

from iconface_video.errors import UsageError
from iconface_video.types import Detection, UInt8

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
