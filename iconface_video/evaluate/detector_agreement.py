"""How far two face detectors agree: which faces both find, how their boxes overlap, how far their landmarks are apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import CheckpointError, InputError
from iconface_video.faces.detector import Detector
from iconface_video.types import Detection, Float32, UInt8

MATCH_OVERLAP = 0.3
"""IoU from which two boxes are one face: detectors draw the forehead and the ears differently."""
MIN_SCORE = 0.5
"""Findings below count for neither."""


class YuNet:
    """YuNet (Wu et al. 2023) through OpenCV: the detector to compare with. Its file is not part of the package."""

    name = "yunet"

    def __init__(self, path: Path, min_score: float = MIN_SCORE, detection_size: int = 640) -> None:
        """detection_size: px of the longer side at which it looks at larger pictures.

        Raises InputError for a missing file, CheckpointError for one that OpenCV cannot use.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file; --yunet needs YuNet's ONNX file (face_detection_yunet_*.onnx)")
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score)
        except cv2.error as error:
            raise CheckpointError(f"{path}: OpenCV cannot use it as YuNet ({str(error).strip().splitlines()[-1]})") from error
        self._size = detection_size

    def detect(self, rgb: UInt8) -> list[Detection]:
        """Faces in (h, w, 3) RGB, best first."""
        height, width = rgb.shape[:2]
        factor = min(1.0, self._size / max(height, width))
        small = max(1, round(width * factor)), max(1, round(height * factor))
        picture = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        if factor < 1:
            picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        self._network.setInputSize(small)
        _, rows = self._network.detect(picture)
        back = np.array([width / small[0], height / small[1]])
        found = [] if rows is None else [_detection(row, back, (width, height)) for row in rows]
        return sorted(found, key=lambda item: -item.score)


def _detection(row: Float32, back: np.ndarray, extent: tuple[int, int]) -> Detection:
    """x, y, width, height, then five points (the viewer's left eye first), then the score."""
    corners = np.array([row[:2], row[:2] + row[2:4]]) * back
    box = np.clip(corners, 0, extent).reshape(4).astype(np.float32)
    return Detection(box, float(row[14]), (row[4:14].reshape(5, 2) * back).astype(np.float32))


def overlap(a: Float32, b: Float32) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0


@dataclass
class Agreement:
    """Counts over pictures, and figures of each face that both found."""

    pictures: int = 0
    first_found: int = 0
    """Faces that the first detector found."""
    second_found: int = 0
    overlaps: list[float] = field(default_factory=list)
    """IoU of each face that both found."""
    distances: list[float] = field(default_factory=list)
    """Mean landmark distance of each such face, % of the eye distance."""

    def add(self, first: Sequence[Detection], second: Sequence[Detection]) -> None:
        """The findings of both in one picture."""
        self.pictures += 1
        self.first_found += len(first)
        self.second_found += len(second)
        for a, b in match(first, second):
            self.overlaps.append(overlap(a.box, b.box))
            eyes = float(np.linalg.norm(b.landmarks[0] - b.landmarks[1]))
            self.distances.append(100 * float(np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean()) / max(eyes, 1e-6))

    @property
    def both(self) -> int:
        """Faces that both found."""
        return len(self.overlaps)

    @property
    def share_of_second(self) -> float:
        """How many of the second one's faces the first found as well; NaN where there are none."""
        return self.both / self.second_found if self.second_found else float("nan")

    @property
    def share_of_first(self) -> float:
        return self.both / self.first_found if self.first_found else float("nan")


def match(first: Sequence[Detection], second: Sequence[Detection]) -> list[tuple[Detection, Detection]]:
    """Pairs of one face, best overlap first, each detection once."""
    pairs = [(overlap(a.box, b.box), i, j) for i, a in enumerate(first) for j, b in enumerate(second)]
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    found = []
    for value, i, j in sorted(pairs, key=lambda item: -item[0]):
        if value >= MATCH_OVERLAP and i not in taken_first and j not in taken_second:
            taken_first.add(i)
            taken_second.add(j)
            found.append((first[i], second[j]))
    return found


def compare(first: Detector, second: Detector, pictures: Iterable[UInt8], min_score: float = MIN_SCORE) -> Agreement:
    """Run both over pictures (h, w, 3); findings below `min_score` do not count."""
    agreement = Agreement()
    for picture in pictures:
        found = [[item for item in detector.detect(picture) if item.score >= min_score] for detector in (first, second)]
        agreement.add(found[0], found[1])
    return agreement
