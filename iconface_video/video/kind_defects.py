"""What is in one frame alone, or runs down all of them: streaks along a line, specks, upright scratches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.types import Float32, UInt8

_LEAST_STEP = 22.0
"""Grey levels by which a defect differs from what was there before and is there after."""
_RESTLESS, _AROUND = 12.0, 21
"""Grey levels of change, and the side in px of the square around a speck in which all else must be still."""
_MOST_SPECKS = 12
"""Counted in one frame: more are motion that was mistaken, or as clear as can be."""


def defects_of(light: Float32) -> dict[str, float]:
    """Measures of a run: light (n, h, w). Counts are per frame."""
    height, width = light.shape[1:]
    streaks: list[int] = []
    specks: list[int] = []
    for before, here, after in zip(light, light[1:], light[2:]):
        dark, bright = _alone_in_time(before, here, after)
        streaks.append(sum(_streaks(mask, width) for mask in (dark, bright)))
        restless = cv2.boxFilter(
            (cv2.absdiff(here, before) > _RESTLESS).astype(np.float32), -1, (_AROUND, _AROUND), normalize=False
        )
        specks.append(min(_MOST_SPECKS, sum(_specks(mask, restless, height) for mask in (dark, bright))))
    return {
        "streaks": float(np.mean(streaks)) if streaks else 0.0,
        "specks": float(np.mean(specks)) if specks else 0.0,
        "scratch": _scratch(light),
    }


def _alone_in_time(before: Float32, here: Float32, after: Float32) -> tuple[UInt8, UInt8]:
    """Masks (h, w) of what is darker, and of what is brighter, than both neighbours in time, which agree with each other."""
    before, after = _aligned(before, here), _aligned(after, here)
    low, high = cv2.min(before, after), cv2.max(before, after)
    # What an edge may do when it is displaced by a px: the neighbourhood's range is no defect.
    low_near, high_near = cv2.erode(low, np.ones((3, 3))), cv2.dilate(high, np.ones((3, 3)))
    agree = cv2.blur(high - low, (7, 7)) < 9
    dark, bright = (low_near - here > _LEAST_STEP) & agree, (here - high_near > _LEAST_STEP) & agree
    return dark.astype(np.uint8), bright.astype(np.uint8)


def _aligned(other: Float32, here: Float32) -> Float32:
    """The neighbour moved by the whole picture's motion."""
    height, width = here.shape
    small = [cv2.resize(p, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for p in (other, here)]
    (x, y), _ = cv2.phaseCorrelate(small[0], small[1], cv2.createHanningWindow((width // 2, height // 2), cv2.CV_32F))
    if max(abs(x), abs(y)) < 0.1 or max(abs(x), abs(y)) > 0.05 * width:
        return other
    move = np.array([[1, 0, 2 * x], [0, 1, 2 * y]], np.float64)
    return np.asarray(cv2.warpAffine(other, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _parts(mask: UInt8) -> NDArray[np.int32]:
    """(n, 5) x, y, width, height, area of connected parts."""
    stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[2]
    return np.asarray(stats[1:], np.int32)


def _streaks(mask: UInt8, width: int) -> int:
    """Parts that are long along the lines and hardly higher than one."""
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((1, 5), np.uint8))
    parts = _parts(np.asarray(joined, np.uint8))
    return int(((parts[:, 2] >= max(8, 0.014 * width)) & (parts[:, 3] <= 3) & (parts[:, 2] >= 5 * parts[:, 3])).sum())


def _specks(mask: UInt8, restless: Float32, height: int) -> int:
    """Compact parts around which all is still: a mouth or an eye that moves has neighbours that move, too."""
    parts = _parts(mask)
    least = max(3, round(5 * (height / 576) ** 2))
    x, y, w, h, area = parts.T
    compact = (w <= 4 * h) & (h <= 4 * w) & (w < height / 8) & (area >= least)
    lonely = restless[np.minimum(y + h // 2, mask.shape[0] - 1), np.minimum(x + w // 2, mask.shape[1] - 1)] < 3 * area + 12
    return int((compact & lonely).sum())


def _scratch(light: Float32) -> float:
    """How far the most upright line stands out: its column's median bend over the deviation of all columns' medians."""
    bends = []
    for picture in light[:: max(1, len(light) // 4)]:
        blurred = cv2.blur(picture, (1, 9))
        bend = blurred[:, 2:-2] - (blurred[:, :-4] + blurred[:, 4:]) / 2
        typical = cv2.blur(np.abs(bend), (25, 1)) + 1.0
        bends.append(np.median(bend / typical, axis=0))
    columns = np.abs(np.stack(bends)).max(axis=1)
    return float(np.median(columns))
