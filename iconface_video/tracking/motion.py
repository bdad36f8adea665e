"""How a face moved since the frame before, seen in the picture itself: finer than landmarks, which err on their own in each frame.

Dense optical flow (DIS) over the face's box, and the similarity that most of it follows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.types import Float32, Float64, UInt8

_SIDE = 96
"""px to which the box's longer side is brought: enough for a twentieth of a px, quick, and grain is averaged out."""
_GRAIN_SIGMA = 1.2
_MARGIN = 0.1
"""Share of the box's size looked at around it."""
_ROBUST_PX = 0.4
"""Distance from the common motion at which a place counts half: lips and lids move on their own."""
_ROUNDS = 4
_NEAR_PX = 2.0
"""Nearer than this the flow needs no guess."""
_PASSES = 2
"""The flow of what the first pass left over: it falls short of turns and growth."""
_LEAST_GAIN, _NOTHING_PX = 0.9, 0.3
"""The motion must explain at least a tenth of the difference between the two patches, or it is none; where it is next to nothing
(px of the patch), there is nothing to explain."""


def face_motion(before: UInt8 | None, picture: UInt8, box: Float32, guess: Float64 | None = None) -> Float64 | None:
    """(4,) growth (log), turn (rad), and shift of the box's middle (x, y in px of the picture) since the frame before.

    before, picture: (h, w, 3) RGB of one size; before None: there was no frame.  box: (4,) of the face in `picture`.
    guess: (2,) px by which the landmarks moved; from there the flow takes over, which does not reach far.
    None where nothing is known: pictures of different size, a box that is too small, or a motion that does not bring them together
    (a flash, another face). Pictures that are the same give zeros.
    """
    if before is None or before.shape != picture.shape:
        return None
    jump = np.zeros(2) if guess is None or np.abs(guess).max() < _NEAR_PX else np.rint(guess)
    patches = _patches(before, picture, box, jump)
    if patches is None:
        return None
    old, new, scale = patches
    if np.array_equal(old, new):
        return np.array([0.0, 0.0, *jump])
    dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    texture, turn, shift, carried = _texture(old), 1 + 0j, 0j, new
    for _ in range(_PASSES):
        flow = np.asarray(dense.calc(old, carried, np.zeros((*old.shape, 2), np.float32)), np.float32)
        more_turn, more_shift = _similarity(flow, texture)
        turn, shift = turn * more_turn, turn * more_shift + shift
        carried = _carried_back(new, turn, shift)
    if not _explains(old, new, carried) and abs(shift) > _NOTHING_PX:
        return None
    return np.array([np.log(abs(turn)), np.angle(turn), jump[0] + shift.real / scale, jump[1] + shift.imag / scale])


def _patches(before: UInt8, picture: UInt8, box: Float32, jump: Float64) -> tuple[UInt8, UInt8, float] | None:
    """The box in both pictures, `jump` earlier in the older one: grey, smooth, at `_SIDE` px; and px of the patch per px."""
    margin = _MARGIN * (box[2:] - box[:2])
    side = np.array(picture.shape[1::-1])
    x0, y0 = (int(value) for value in np.floor(np.maximum.reduce([box[:2] - margin, np.zeros(2), jump])))
    x1, y1 = (int(value) for value in np.ceil(np.minimum.reduce([box[2:] + margin, side, side + jump])))
    back_x, back_y = int(jump[0]), int(jump[1])
    if x1 - x0 < 12 or y1 - y0 < 12:
        return None
    scale = _SIDE / max(x1 - x0, y1 - y0)
    size = max(16, round(scale * (x1 - x0))), max(16, round(scale * (y1 - y0)))
    found = []
    parts = before[y0 - back_y : y1 - back_y, x0 - back_x : x1 - back_x], picture[y0:y1, x0:x1]
    for part in parts:
        grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        found.append(np.asarray(cv2.GaussianBlur(small, (0, 0), _GRAIN_SIGMA), np.uint8))
    return found[0], found[1], scale


def _places(shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """Px as complex numbers about the patch's middle."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    return (x - (width - 1) / 2) + 1j * (y - (height - 1) / 2)


def _texture(patch: UInt8) -> Float64:
    """(h, w) how much there is to be seen: squared slope, inside the ellipse that fits the patch."""
    slope_x, slope_y = (cv2.Scharr(patch, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1)))
    path = _places(patch.shape)
    inside = (path.real / (patch.shape[1] / 2)) ** 2 + (path.imag / (patch.shape[0] / 2)) ** 2 <= 1
    return np.asarray(np.minimum(slope_x**2 + slope_y**2, 100.0) * inside + 1e-6, np.float64)


def _similarity(flow: Float32, weights: Float64) -> tuple[complex, complex]:
    """Turn (complex: growth and angle) and shift of the middle that most of the flow follows: iterated least squares."""
    path = _places(flow.shape[:2])
    moved = flow[..., 0] + 1j * flow[..., 1]
    trust, turn, shift = weights, 1 + 0j, 0j
    for _ in range(_ROUNDS):
        share = trust / trust.sum()
        middle, mean = (share * path).sum(), (share * moved).sum()
        off = path - middle
        growth = (share * off.conj() * (moved - mean)).sum() / max(float((share * np.abs(off) ** 2).sum()), 1e-9)
        turn, shift = 1 + growth, mean - growth * middle
        miss = np.abs(moved - (turn - 1) * path - shift)
        trust = weights / (1 + (miss / _ROBUST_PX) ** 2)
    return complex(turn), complex(shift)


def _carried_back(new: UInt8, turn: complex, shift: complex) -> UInt8:
    """The newer patch as it would look had the face not moved."""
    where = turn * _places(new.shape) + shift + complex((new.shape[1] - 1) / 2, (new.shape[0] - 1) / 2)
    maps = where.real.astype(np.float32), where.imag.astype(np.float32)
    return np.asarray(cv2.remap(new, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _explains(old: UInt8, new: UInt8, carried: UInt8) -> bool:
    """Whether the motion accounts for the difference of the two patches."""
    rows, columns = old.shape[0] // 6, old.shape[1] // 6
    inner = np.s_[rows:-rows, columns:-columns]
    left, was = (float(cv2.absdiff(other, old)[inner].mean()) for other in (carried, new))
    return left <= _LEAST_GAIN * was
