"""What a face detector is, and which one the settings ask for."""

from __future__ import annotations

from typing import Protocol

from iconface_video.settings import SurveySettings
from iconface_video.types import Detection, UInt8


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
        from iconface_video.faces.scrfd import Scrfd

        return Scrfd(settings.detection_size, settings.low_score, threads)
    from iconface_video.faces.centerface import CenterFace

    return CenterFace(settings.detection_size, settings.low_score, threads)
