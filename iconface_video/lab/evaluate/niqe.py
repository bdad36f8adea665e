"""NIQE: how natural a picture looks without its truth (Mittal, Soundararajan, Bovik 2013), fitted on clean faces of the same kind and size.

Natural pictures, divided by their local mean and contrast, have Gaussian statistics. Each patch gives 36 numbers (the shape of
these values and of the products of neighbours, at two scales); clean patches are a multivariate Gaussian, a picture's patches
another; the distance between both is the figure, lower is more natural. Values compare within one fit only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.special import gamma

from iconface_video.errors import InputError
from iconface_video.types import Float64, UInt8

_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose products are looked at: right, below, both diagonals."""
_SHARP_SHARE = 0.75
"""Clean patches that are less sharp than this share of their picture's sharpest say nothing about what sharp faces look like."""
_MIN_PATCHES = 100
"""Fewer cannot tell 36 numbers' covariance."""


@dataclass(frozen=True, eq=False)
class NiqeModel:
    """The clean faces' statistics."""

    mean: Float64
    """(36,)."""
    covariance: Float64
    """(36, 36)."""
    size: int
    """px of the pictures that it was fitted on; others are refused."""

    def score(self, picture: UInt8) -> float:
        """Of one picture (S, S, 3): square root of d' ((C1 + C2) / 2)^+ d between its patches and the clean ones."""
        if picture.shape[:2] != (self.size, self.size):
            raise ValueError(f"NIQE was fitted on {self.size} px, got {picture.shape[1]}x{picture.shape[0]}")
        features, _ = patch_features(picture)
        difference = features.mean(0) - self.mean
        pooled = (np.cov(features, rowvar=False) + self.covariance) / 2
        return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


def fit_niqe(pictures: list[UInt8]) -> NiqeModel:
    """From clean pictures (S, S, 3) of one size. InputError when they are too few."""
    kept = []
    for picture in pictures:
        features, sharp = patch_features(picture)
        kept.append(features[sharp > _SHARP_SHARE * sharp.max()])
    patches = np.concatenate(kept) if kept else np.zeros((0, 36))
    if len(patches) < _MIN_PATCHES:
        raise InputError(
            f"{len(pictures)} clean faces give {len(patches)} patches, NIQE needs {_MIN_PATCHES}: give more pictures or --skip niqe"
        )
    return NiqeModel(patches.mean(0), np.cov(patches, rowvar=False), pictures[0].shape[0])


def patch_features(picture: UInt8) -> tuple[Float64, Float64]:
    """Features (p, 36) and sharpness (p,) of a picture's patches: a quarter of its side each, overlapping by half."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    side = 2 * max(8, round(grey.shape[0] / 8))
    half = np.asarray(cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA), np.float64)
    fine, contrast = _normalized(grey)
    coarse, _ = _normalized(half)
    starts = range(0, min(grey.shape) - side + 1, side // 2)
    rows, sharp = [], []
    for y in starts:
        for x in starts:
            rows.append(np.concatenate([_statistics(fine, y, x, side), _statistics(coarse, y // 2, x // 2, side // 2)]))
            sharp.append(contrast[y : y + side, x : x + side].mean())
    return np.array(rows), np.array(sharp)


def _normalized(grey: Float64) -> tuple[Float64, Float64]:
    """Mean-subtracted, contrast-normalised values, and the local contrast (Gaussian window of 7 px, deviation 7/6)."""
    mean = cv2.GaussianBlur(grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)
    square = cv2.GaussianBlur(grey * grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)
    contrast = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.asarray((grey - mean) / (contrast + 1)), np.asarray(contrast)


def _statistics(values: Float64, y: int, x: int, side: int) -> Float64:
    """(18,) shape and spread of the patch's values, and shape, mean and both spreads of four neighbours' products."""
    patch = values[y : y + side, x : x + side]
    shape, left, right = _fit_asymmetric(patch)
    found = [shape, (left + right) / 2]
    for down, across in _SHIFTS:
        shape, left, right = _fit_asymmetric(patch * np.roll(patch, (down, across), axis=(0, 1)))
        mean = (right - left) * gamma(2 / shape) / np.sqrt(gamma(1 / shape) * gamma(3 / shape))
        found += [shape, mean, left, right]
    return np.array(found)


@lru_cache(maxsize=1)
def _shape_table() -> tuple[Float64, Float64]:
    """(ratio, shape) of the generalised Gaussian, the ratio gamma(2/a)^2 / (gamma(1/a) gamma(3/a)) rising."""
    shapes = np.arange(0.2, 10.0, 0.001)
    return gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes)), shapes


def _fit_asymmetric(values: Float64) -> tuple[float, float, float]:
    """Shape, left and right spread of an asymmetric generalised Gaussian, by moments (Lasmar et al. 2009)."""
    flat = values.ravel()
    below, above = flat[flat < 0], flat[flat > 0]
    left = np.sqrt((below**2).mean()) if len(below) else 1e-6
    right = np.sqrt((above**2).mean()) if len(above) else 1e-6
    ratio = max(left, 1e-6) / max(right, 1e-6)
    moment = np.abs(flat).mean() ** 2 / max(float((flat**2).mean()), 1e-12)
    corrected = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    ratios, shapes = _shape_table()
    shape = float(np.interp(corrected, ratios, shapes))
    return shape, float(left), float(right)
