"""What the survey does for faces smaller than it looks for by default: it looks closer, on a steadier picture, and believes less.

Measured by benchmarks/small_faces.py. None of it happens, and none of it costs anything, at the default `min_face_px`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from iconface_video.settings import SMALLEST_FACE_PX, SurveySettings, default_of
from iconface_video.types import UInt8

_SEEN_PX = 28.0
"""Height at which the detector should see the smallest face that is wanted; its own cells are 4 px."""
_LARGEST_PX = 1280
"""Longer side up to which that is paid for: four times the default's time."""
_BEGIN, _CONTINUE = 0.8, 0.6
"""Shares of `min_score` and `low_score` from which a small face begins and continues a track: its scores are lower. A pheasant's head and a
caterpillar under a tape's noise reach .38."""
_BOX_ERROR = 0.15
"""Share of its height by which the box of a face of 16 px errs: a face that is large enough is not to be left alone for it."""
_NOISE_LEVELS = 12.0
"""Mean difference between two frames' pictures around a place, in grey levels: up to here it is noise, and from twice of it on, motion."""
_AROUND_PX = 9


def wants_small_faces(settings: SurveySettings) -> bool:
    """Whether faces are asked for that are smaller than the default's smallest."""
    return settings.min_face_px < float(default_of(SurveySettings, "min_face_px"))


def settings_for_small_faces(settings: SurveySettings, display_size: tuple[int, int]) -> SurveySettings:
    """The settings as they are or, where small faces are wanted, with a larger detection size, lower scores, and room for the boxes' errors.

    display_size: (width, height) of the video in px. A larger `detection_size` than would be chosen stays.
    """
    if not wants_small_faces(settings):
        return settings
    wanted = round(max(display_size) * _SEEN_PX / settings.min_face_px)
    return replace(
        settings,
        detection_size=max(settings.detection_size, min(wanted, _LARGEST_PX)),
        min_score=_BEGIN * settings.min_score,
        low_score=_CONTINUE * settings.low_score,
        min_face_px=max(SMALLEST_FACE_PX, (1 - _BOX_ERROR) * settings.min_face_px),
    )


def steadied(picture: UInt8, neighbours: Sequence[UInt8 | None]) -> UInt8:
    """The mean of a frame's picture and those before and after it, each where it differs by no more than noise does.

    picture: (h, w, 3) RGB.  neighbours: None, or of another size, where there is none. What moves stays as the picture has it.
    """
    total, weights = picture.astype(np.float32), np.ones((*picture.shape[:2], 1), np.float32)
    for other in neighbours:
        if other is None or other.shape != picture.shape:
            continue
        change = cv2.cvtColor(cv2.absdiff(picture, other), cv2.COLOR_RGB2GRAY).astype(np.float32)
        around = cv2.blur(change, (_AROUND_PX, _AROUND_PX))
        weight = np.clip(2.0 - around / _NOISE_LEVELS, 0.0, 1.0)[..., None].astype(np.float32)
        total += weight * other
        weights += weight
    return np.rint(total / weights).astype(np.uint8)
