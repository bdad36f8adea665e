"""A photo of a face as another one of the same face: moved, relit, softened, without color."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32, UInt8

SOFT_SIGMA_SHARE = (1 / 1000, 1 / 160)
"""Sigma of a soft truth's blur as a share of its side, least and most."""


def jittered(image: UInt8, size: int, rng: np.random.Generator, *, shift: float, turn: float, scale: float) -> UInt8:
    """Resize to `size` under a small random similarity. shift: share of the side; turn: degrees; scale: log."""
    side = image.shape[0]
    if side >= 1.5 * size:
        side = max(size, round(side / (side // size)))
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    zoom = float(np.exp(rng.normal(0, scale))) * size / side
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), float(rng.normal(0, turn)), zoom)
    matrix[:, 2] += (size - side) / 2 + rng.normal(0, shift, 2) * size
    how = cv2.INTER_AREA if zoom < 0.7 else cv2.INTER_CUBIC
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=how, borderMode=cv2.BORDER_REFLECT_101))


def relit(image: UInt8, rng: np.random.Generator, amount: float) -> UInt8:
    """Another light: gain and offset per channel, gamma."""
    gain = np.exp(rng.normal(0, amount)) * np.exp(rng.normal(0, amount * 0.4, 3))
    values = np.arange(256, dtype=np.float32)[:, None] / 255
    table = 255 * np.clip(values ** np.exp(rng.normal(0, amount)) * gain + rng.normal(0, amount * 0.15), 0, 1)
    return np.asarray(cv2.LUT(image, table.astype(np.uint8).reshape(256, 1, 3)))


def small_move(rng: np.random.Generator, size: int) -> Float32:
    """(2, 3) px: what a face does between two frames."""
    middle = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), float(rng.normal(0, 0.7)), float(np.exp(rng.normal(0, 0.007))))
    shift = np.array([[0, 0, 1], [0, 0, 1]]) * rng.normal(0, 0.012, (2, 1)) * size
    return np.asarray(matrix + shift, np.float32)


def softened(picture: UInt8, rng: np.random.Generator) -> UInt8:
    sigma = float(rng.uniform(*SOFT_SIGMA_SHARE)) * picture.shape[0]
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def grey(image: UInt8) -> UInt8:
    """Black and white, three equal channels."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
