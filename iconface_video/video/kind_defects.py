"""What is in one frame alone, or runs down all of them: streaks along a line, specks, upright scratches."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32

_LEAST_STEP = 22.0
"""Grey levels by which a defect differs from what was there before and is there after."""


def defects_of(light: Float32) -> dict[str, float]:
    """Measures of a run: light (n, h, w). Counts are per frame of 720 x 576."""
    height, width = light.shape[1:]
    streaks: list[int] = []
    specks: list[tuple[int, int]] = []
    for before, here, after in zip(light, light[1:], light[2:]):
        alone = _alone_in_time(before, here, after)
        streaks.append(sum(_streaks(alone[sign], width) for sign in (0, 1)))
        specks.append((_specks(alone[0], height), _specks(alone[1], height)))
    dark, bright = np.median(np.array(specks), axis=0) if specks else (0.0, 0.0)
    return {
        "streaks": float(np.mean(streaks)) if streaks else 0.0,
        "specks": float(np.mean([min(a + b, 40) for a, b in specks])) if specks else 0.0,
        "specks_dark": float(dark),
        "specks_bright": float(bright),
        "scratch": _scratch(light),
    }


def _alone_in_time(before: Float32, here: Float32, after: Float32) -> tuple[np.ndarray, np.ndarray]:
    """Masks (h, w) of what is darker, and of what is brighter, than both neighbours in time, which agree with each other."""
    before, after = _aligned(before, here), _aligned(after, here)
    low, high = cv2.min(before, after), cv2.max(before, after)
    # What an edge may do when it is displaced by a px: the neighbourhood's range is no defect.
    low_near, high_near = cv2.erode(low, np.ones((3, 3))), cv2.dilate(high, np.ones((3, 3)))
    agree = cv2.blur(high - low, (7, 7)) < 9
    return (low_near - here > _LEAST_STEP) & agree, (here - high_near > _LEAST_STEP) & agree


def _aligned(other: Float32, here: Float32) -> Float32:
    """The neighbour moved by the whole picture's motion."""
    height, width = here.shape
    small = [cv2.resize(p, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for p in (other, here)]
    (x, y), _ = cv2.phaseCorrelate(small[0], small[1], cv2.createHanningWindow((width // 2, height // 2), cv2.CV_32F))
    if max(abs(x), abs(y)) < 0.1 or max(abs(x), abs(y)) > 0.05 * width:
        return other
    move = np.array([[1, 0, 2 * x], [0, 1, 2 * y]], np.float64)
    return np.asarray(cv2.warpAffine(other, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _parts(mask: np.ndarray) -> np.ndarray:
    """(n, 5) x, y, width, height, area of connected parts."""
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    return np.asarray(stats[1:])


def _streaks(mask: np.ndarray, width: int) -> int:
    """Parts that are long along the lines and hardly higher than one."""
    joined = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, 5), np.uint8))
    parts = _parts(joined)
    return int(((parts[:, 2] >= max(8, 0.014 * width)) & (parts[:, 3] <= 3) & (parts[:, 2] >= 5 * parts[:, 3])).sum())


def _specks(mask: np.ndarray, height: int) -> int:
    """Compact parts."""
    parts = _parts(mask)
    least = max(3, round(5 * (height / 576) ** 2))
    compact = (parts[:, 2] <= 4 * parts[:, 3]) & (parts[:, 3] <= 4 * parts[:, 2]) & (parts[:, 2] < height / 8)
    return int((compact & (parts[:, 4] >= least)).sum())


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
