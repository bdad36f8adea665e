"""More views of few photos: the head turned a little, moved and grown, another expression, another light.

A network that sees one photo for a hundred steps learns that photo; seen like this it learns the face. The amounts are those
of the trial that worked: corners moved by 7 % of the side (a perspective, as of a turned head), a coarse elastic field of 2 %
(expression), a few degrees, a few per cent of size, gamma, gain and colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.types import Float32, UInt8

_ELASTIC_CELLS = 4


@dataclass(frozen=True)
class ViewAmounts:
    """Standard deviations. Lengths are shares of the picture's side."""

    corners: float
    elastic: float
    turn: float = 0.06
    """rad."""
    scale: float = 0.05
    """ln."""
    gamma: float = 0.15
    """ln."""
    gain: float = 0.15
    """ln, of light."""
    color: float = 0.05
    """ln, of each channel."""


TARGET_VIEW = ViewAmounts(corners=0.07, elastic=0.02)
"""Of faces that are to be restored."""
REFERENCE_VIEW = ViewAmounts(corners=0.03, elastic=0.01)
"""Of photos that are shown as references: as a run shows them, they are photos, hardly bent."""


def another_view(photo: UInt8, size: int, amounts: ViewAmounts, rng: np.random.Generator) -> UInt8:
    """photo (S, S, 3) RGB, S up to about twice `size` -> (size, size, 3). Same generator state, same result."""
    side = photo.shape[0]
    x, y = _places(size, amounts, rng)
    scale = side / size
    look = [np.asarray((axis + 0.5) * scale - 0.5, np.float32) for axis in (x, y)]
    seen = cv2.remap(photo, look[0], look[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        seen = seen[:, ::-1]
    gain = np.exp(rng.normal(0, amounts.gain)) * np.exp(rng.normal(0, amounts.color, 3))
    gamma = np.exp(rng.normal(0, amounts.gamma))
    # One table a channel: a power of each pixel would take longer than all the rest.
    table = 255 * (np.arange(256)[:, None] / 255.0) ** gamma * gain
    lit = cv2.LUT(np.ascontiguousarray(seen), np.clip(np.rint(table), 0, 255).astype(np.uint8)[None])
    return np.asarray(lit, np.uint8)


def _places(size: int, amounts: ViewAmounts, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """Where each pixel of the new view looks in the old one, px of `size`."""
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    middle = np.float32(size / 2)
    moved = corners + rng.normal(0, amounts.corners * size, (4, 2)) * (0.6, 0.4)  # heads turn further than they nod
    turn, zoom = rng.normal(0, amounts.turn), np.exp(rng.normal(0, amounts.scale))
    rotation = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = ((moved - middle) @ rotation.T + middle).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(moved, corners)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    away = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    field = rng.normal(0, amounts.elastic * size, (_ELASTIC_CELLS, _ELASTIC_CELLS, 2)).astype(np.float32)
    bent = cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)
    looked = [(matrix[n, 0] * x + matrix[n, 1] * y + matrix[n, 2]) / away + bent[..., n] for n in range(2)]
    return looked[0].astype(np.float32), looked[1].astype(np.float32)
