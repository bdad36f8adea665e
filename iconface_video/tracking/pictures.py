"""The two pictures that the survey makes of a frame: a small upright one for the detector, and aligned face crops."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.faces.align import (
    compose,
    crop_from_frame,
    cut_crop,
    estimate_parameters,
    invert,
    scaling,
    transform_points,
)
from iconface_video.faces.cut import cut_from_frame
from iconface_video.types import Detection, Float32, Float64, Frame, UInt8, VideoInfo
from iconface_video.video.color import to_small_rgb

_SAME_PICTURE_LEVELS = 0.6
"""Mean difference, in grey levels, up to which two pictures of a face are one; grain alone makes more."""


def detection_picture(frame: Frame, info: VideoInfo, longer_side: int) -> tuple[UInt8, Float64]:
    """The whole frame, upright, with square pixels, and no larger than the detector wants it.

    Returns (h, w, 3) RGB and the (2, 3) affine that leads from its pixels to display space.
    """
    width, height = info.display_size
    factor = min(1.0, longer_side / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    picture_from_display = scaling(size[0] / width, size[1] / height)
    rgb = to_small_rgb(frame, max(1, round(max(frame.width, frame.height) * factor)))
    small_from_frame = scaling(rgb.shape[1] / frame.width, rgb.shape[0] / frame.height)
    picture_from_small = compose(compose(picture_from_display, info.display_from_frame), invert(small_from_frame))
    if size != (rgb.shape[1], rgb.shape[0]) or not np.allclose(picture_from_small, np.eye(2, 3), atol=1e-6):
        rgb = cut_crop(rgb, picture_from_small, size).astype(np.uint8, copy=False)
    return rgb, invert(picture_from_display)


def in_display(found: Detection, display_from_picture: Float64) -> Detection:
    """A detection of the small picture, in display space. (Boxes have edges, landmarks pixel centres.)"""
    corners = transform_points(display_from_picture, found.box.reshape(2, 2) - 0.5) + 0.5
    landmarks = transform_points(display_from_picture, found.landmarks)
    return Detection(corners.reshape(4).astype(np.float32), found.score, landmarks.astype(np.float32))


def is_repeated(box: Float32, before: UInt8 | None, picture: UInt8) -> bool:
    """Whether a face's part of the detector's picture is the same as in the frame before, but for the codec's breath.

    box: (4,) in the picture.  before: the previous frame's picture; None: there was none.
    """
    if before is None or before.shape != picture.shape:
        return False
    x0, y0, x1, y1 = (int(value) for value in (*np.floor(box[:2]), *np.ceil(box[2:])))
    part = slice(max(y0, 0), max(y1, 1)), slice(max(x0, 0), max(x1, 1))
    return float(cv2.absdiff(before[part], picture[part]).mean()) < _SAME_PICTURE_LEVELS


def aligned_crop(frame: Frame, info: VideoInfo, found: Detection, size: int) -> UInt8:
    """(size, size, 3) RGB of a face in the FFHQ frame, by its raw landmarks in display space."""
    return cut_from_frame(frame, crop_from_frame(estimate_parameters(found.landmarks), size, info), size)
