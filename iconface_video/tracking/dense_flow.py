"""Optical flow at every place between two crops of one face, and what is carried along it."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np

from iconface_video.types import Float32, UInt8

Picture = TypeVar("Picture", Float32, UInt8)

_MEAN_OF_THREE = np.full((1, 3), 1 / 3, np.float32)
_NO_MAP = np.zeros(0, np.float32)
"""Second map of cv2.remap where the first holds x and y."""


def flow_estimator(descent_steps: int = 16, patch_stride: int = 4, finest_scale: int = 1) -> cv2.DISOpticalFlow:
    """DIS (Kroeger et al. 2016), "fast" but down to half of the pictures' size: as exact as "medium" for half its time. With "fast"
    itself, which stops at a quarter, averaging made clean moving faces softer.

    patch_stride: px between its patches of 8 px. finest_scale: 0 for pictures that are halved already.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    estimator.setFinestScale(finest_scale)
    estimator.setGradientDescentIterations(descent_steps)
    estimator.setPatchStride(patch_stride)
    estimator.setVariationalRefinementIterations(2)
    return estimator


def sampled(picture: Picture, flow: Float32, interpolation: int = cv2.INTER_CUBIC, grid: Float32 | None = None) -> Picture:
    """Backward warp: the picture (S, S, C) at (x + flow), flow (S, S, 2) px; edges repeated.

    grid: (h, w, 2) the places x of a flow (h, w, 2) that is known at some only.
    """
    where = (_grid(flow.shape[0]) if grid is None else grid) + flow
    moved = cv2.remap(picture, where, _NO_MAP, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, picture.dtype)


def enlarged(field: Float32, size: int) -> Float32:
    """Flow (F, F, 2) in px, scaled along, or a weight (F, F), from the flow's size to the crop's."""
    factor = size / field.shape[0]
    if factor == 1:
        return field
    large = np.asarray(cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    return large * np.float32(factor) if field.ndim == 3 else large


def mean_difference(one: Float32, other: Float32) -> Float32:
    """(h, w, 3) twice -> (h, w): mean absolute difference of the channels."""
    return mean_of_channels(np.asarray(cv2.absdiff(one, other), np.float32))


def mean_of_channels(picture: Float32) -> Float32:
    """(h, w, 3) -> (h, w)."""
    return np.asarray(cv2.transform(picture, _MEAN_OF_THREE), np.float32)


def quantile(values: Float32, share: float) -> float:
    """The value below which this share of all lies; numpy's own, which interpolates, takes three times as long."""
    place = int(share * values.size)
    return float(np.partition(values, place, axis=None)[place])


@lru_cache(maxsize=8)
def _grid(size: int) -> Float32:
    return np.stack(np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)), axis=-1)
