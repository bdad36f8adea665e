"""How much a face's picture says about the person: size, sharpness, pose, and one quality from 0 to 1."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from iconface_video.types import Float64, UInt8

QUALITY_CROP_SIZE = 256
"""px: sharpness is measured on aligned crops of this size, or the figures of two faces could not be compared."""

FACE_MODEL: Float64 = np.array([(-1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.1, 1.0), (-0.85, 2.1, 0.12), (0.85, 2.1, 0.12)])
"""(5, 3) eyes, nose tip, mouth corners of an average face in half eye distances: right, down, towards the viewer."""
FACE_MODEL.flags.writeable = False

_SMALL_PX, _LARGE_PX = 24.0, 224.0
_SHARP = 14.0
"""Laplacian deviation at which a 256-px aligned face counts as sharp enough for everything."""
_YAW_TOLERANCE, _PITCH_TOLERANCE = 40.0, 35.0


class Pose(NamedTuple):
    """Degrees; each entry a number or an array, as the landmarks were."""

    yaw: Float64
    """Positive: the face looks to the viewer's right."""
    pitch: Float64
    """Positive: the face looks down."""
    roll: Float64
    """Positive: the head is turned clockwise as the viewer sees it."""


def pose(landmarks: ArrayLike) -> Pose:
    """Head pose from five landmarks: weak-perspective fit (POS of DeMenthon and Davis 1995) to an average face.

    landmarks: (..., 5, 2) px. A rough measure: ten degrees off is normal, as noses differ.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    across = points[..., 1, :] - points[..., 0, :] + points[..., 4, :] - points[..., 3, :]
    roll = np.arctan2(across[..., 1], across[..., 0])
    centered = points - points.mean(axis=-2, keepdims=True)
    cos, sin = np.cos(roll)[..., None], np.sin(roll)[..., None]
    upright = np.stack(
        [cos * centered[..., 0] + sin * centered[..., 1], cos * centered[..., 1] - sin * centered[..., 0]], axis=-1
    )
    model = FACE_MODEL - FACE_MODEL.mean(axis=0)
    rows = np.swapaxes(np.linalg.pinv(model) @ upright, -1, -2)  # (..., 2, 3): scaled first two rows of the rotation
    rows = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
    forward = np.cross(rows[..., 0, :], rows[..., 1, :])[..., 2]
    # The rotation's third column says where the face's "towards the viewer" points.
    right, down = rows[..., 0, 2], rows[..., 1, 2]
    return Pose(
        yaw=np.degrees(np.arctan2(right, np.abs(forward))),
        pitch=np.degrees(np.arctan2(down, np.hypot(right, forward))),
        roll=np.degrees(roll),
    )


def sharpness(crop: UInt8) -> float:
    """Standard deviation of the Laplacian over the central half of a grey aligned face, in grey levels.

    crop: (S, S, 3) RGB or (S, S) grey, uint8; anything but `QUALITY_CROP_SIZE` is resized to it first.
    """
    grey = _grey(crop)
    if grey.shape[0] != QUALITY_CROP_SIZE:
        shrinks = grey.shape[0] > QUALITY_CROP_SIZE
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        grey = np.asarray(cv2.resize(grey, (QUALITY_CROP_SIZE, QUALITY_CROP_SIZE), interpolation=how), np.uint8)
    edge = QUALITY_CROP_SIZE // 4
    return laplacian_deviation(grey, np.s_[edge:-edge, edge:-edge])


def laplacian_deviation(picture: UInt8, region: Any = ...) -> float:
    """What every measure of sharpness stands on: standard deviation of the grey picture's Laplacian, in grey levels.

    picture: (h, w, 3) RGB or (h, w) grey, uint8.  region: what of it counts, as numpy indexes; the whole where none is given.
    Figures of pictures of different sizes cannot be compared: `sharpness` can.
    """
    return float(cv2.Laplacian(_grey(picture), cv2.CV_32F)[region].std())


def _grey(picture: UInt8) -> UInt8:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def quality(face_px: ArrayLike, sharp: ArrayLike, landmarks: ArrayLike, score: ArrayLike) -> Float64:
    """Usefulness as evidence of who it is, 0..1: the product of size, sharpness, frontal pose and detector score.

    face_px: (...) box height.  sharp: (...) `sharpness`.  landmarks: (..., 5, 2) px.  score: (...) 0..1.
    The product's parts are softened by a square root, except the score, so that one middling part does not sink the rest.
    """
    size = np.clip(np.log(np.asarray(face_px, dtype=np.float64) / _SMALL_PX) / np.log(_LARGE_PX / _SMALL_PX), 0.0, 1.0)
    clear = 1.0 - np.exp(-np.asarray(sharp, dtype=np.float64) / (0.5 * _SHARP))
    head = pose(landmarks)
    frontal = np.exp(-((head.yaw / _YAW_TOLERANCE) ** 2) - (head.pitch / _PITCH_TOLERANCE) ** 2)
    return np.sqrt(size * clear * frontal) * np.clip(np.asarray(score, dtype=np.float64), 0.0, 1.0)
