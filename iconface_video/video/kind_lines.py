"""Traces of a signal that came line by line: noise and jitter of whole lines, late and narrow color, fields, torn lowest lines."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32, Float64

_LATEST_PX = 24
"""Of a 720 px wide picture: how late color is looked for, to both sides."""


_LEAST_MOTION = 5000.0
"""Sum of squared changes below which nothing moves that fields could be told by."""


def lines_of(light: Float32, color: Float32) -> dict[str, float]:
    """Measures of a run: light (n, h, w), color (n, h, w, 2)."""
    across = light.shape[2] / 720
    lag, agreement = _color_lag(light, color, across)
    return {
        "color_lag": lag,
        "color_agreement": agreement,
        "color_narrow": _narrowness(color, max(2, round(5 * across)), max(2, round(5 * across))),
        "light_narrow": _narrowness(light[..., None], max(1, round(2 * across)), 2),
        "line_noise": _line_noise(light),
        "line_jitter": _line_jitter(light),
        "fields": _fields(light),
        "overshoot": _overshoot(light, across),
        "torn": _torn(light),
    }


def _color_lag(light: Float32, color: Float32, across: float) -> tuple[float, float]:
    """How far color lies to the right of light, in px of 720, and how well the two agree there (correlation)."""
    reach = max(2, round(_LATEST_PX * across))
    sigma = max(1.0, 5 * across)
    found: Float64 = np.zeros(2 * reach + 1)
    power = [0.0, 0.0]
    for picture, tint in zip(light[::3], color[::3]):
        edge = _edges(picture, sigma)
        colored = cv2.magnitude(_edges(tint[..., 0], sigma), _edges(tint[..., 1], sigma))
        edge, colored = np.abs(edge), colored
        edge, colored = (part - part.mean(axis=1, keepdims=True) for part in (edge, colored))
        inner = slice(reach, edge.shape[1] - reach)
        for place, lag in enumerate(range(-reach, reach + 1)):
            moved = colored[:, reach + lag : edge.shape[1] - reach + lag]
            found[place] += float((edge[:, inner] * moved).sum())
        power[0] += float((edge[:, inner] ** 2).sum())
        power[1] += float((colored[:, inner] ** 2).sum())
    found /= np.sqrt(power[0] * power[1]) + 1e-6
    best = int(np.clip(found.argmax(), 1, 2 * reach - 1))
    left, middle, right = found[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(best - reach + (0.5 * (left - right) / bend if bend < -1e-9 else 0.0)) / across, float(found.max())


def _edges(plane: Float32, sigma: float) -> Float32:
    smooth = cv2.GaussianBlur(plane, (0, 0), sigmaX=sigma, sigmaY=1.5)
    return np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), np.float32)


def _narrowness(planes: Float32, lag_x: int, lag_y: int) -> float:
    """log2 of the detail down over the detail across: high where the signal along the lines was narrow."""
    down = across = 1e-3
    for picture in planes[::3]:
        down += float(((picture[2 * lag_y :] - 2 * picture[lag_y:-lag_y] + picture[: -2 * lag_y]) ** 2).mean())
        across += float(((picture[:, 2 * lag_x :] - 2 * picture[:, lag_x:-lag_x] + picture[:, : -2 * lag_x]) ** 2).mean())
    return float(np.log2(down / across))


def _line_noise(light: Float32) -> float:
    """log2 of how much whole rows brighten and darken from frame to frame over how much whole columns do."""
    rows, columns = [], []
    for before, after in zip(light[:-1:2], light[1::2]):
        change = np.clip(after - before, -20, 20)
        rows.append(_rough(change.mean(axis=1)))
        columns.append(_rough(change.mean(axis=0)))
    noise = 0.05
    return float(np.log2((np.median(rows) + noise) / (np.median(columns) * _share(light) + noise)))


def _share(light: Float32) -> float:
    """Columns have fewer px to average than rows: their mean is noisier by this root."""
    return float(np.sqrt(light.shape[1] / light.shape[2]))


def _rough(values: Float32) -> float:
    """Deviation of what differs from the neighbours two places away (of the same field)."""
    return float(np.median(np.abs(values[2:-2] - (values[:-4] + values[4:]) / 2))) * 1.2


def _line_jitter(light: Float32) -> float:
    """log2 of how roughly rows are displaced between two frames over how roughly columns are (by the gradient's equation)."""
    rows, columns = [], []
    for before, after in zip(light[:-1:2], light[1::2]):
        change = np.clip(after - before, -24, 24)
        mean = (before + after) / 2
        rows.append(_displaced(change, mean))
        columns.append(_displaced(np.ascontiguousarray(change.T), np.ascontiguousarray(mean.T)))
    return float(np.log2((np.median(rows) + 0.01) / (np.median(columns) + 0.01)))


def _displaced(change: Float32, picture: Float32) -> float:
    slope = cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=0.125)
    slope = np.where(np.abs(slope) > 3, slope, 0)
    weight = (slope**2).sum(axis=1)
    moved = (slope * change).sum(axis=1) / np.maximum(weight, 1e-3)
    usable = weight > 0.3 * np.median(weight[weight > 0]) if (weight > 0).any() else weight > 0
    rough = np.abs(moved[2:-2] - (moved[:-4] + moved[4:]) / 2)
    rough = rough[usable[2:-2] & usable[:-4] & usable[4:]]
    return float(np.median(rough)) if rough.size > 20 else 0.0


def _fields(light: Float32) -> float:
    """How much later than even rows odd ones are, in frames: 0 for whole frames, about +-0.5 for fields (odd ones later: top first).

    What an odd row differs from the mean of its neighbours is regressed on how its px change in time, where they do. Noise of
    the frame itself is in the first alone, structure of the scene is as often this way as that.
    """
    product = power = 1e-3
    for before, here, after in zip(light[:-2:2], light[1:-1:2], light[2::2]):
        rate = (after - before)[1:-1:2] / 2
        smooth = cv2.blur(rate, (5, 1))
        later = here[1:-1:2] - (here[0:-2:2] + here[2::2])[: len(rate)] / 2
        usable = (np.abs(smooth) > 3) & (np.abs(later) < 60)
        product += float((later * smooth)[usable].sum())
        power += float((smooth**2)[usable].sum())
    return product / power if power > _LEAST_MOTION else 0.0


def _overshoot(light: Float32, across: float) -> float:
    """How much edges along the lines overshoot more than edges down do: gradients that are followed by their opposite."""
    lags = range(max(2, round(2 * across)), round(9 * across) + 2)
    found = []
    for picture in light[:: max(1, len(light) // 3)]:
        lowest = []
        for plane in (picture, picture.T):
            slope = np.diff(cv2.blur(plane, (1, 3)), axis=1)
            slope = np.where(cv2.dilate(np.abs(slope), np.ones((1, 2 * len(lags) + 1))) > 12, slope, 0)
            power = float((slope**2).sum()) + 1e-3
            lowest.append(min(float((slope[:, lag:] * slope[:, :-lag]).sum()) / power for lag in lags))
        found.append(lowest[1] - lowest[0])
    return float(np.median(found))


def _torn(light: Float32) -> float:
    """log2 of how much the lowest lines change from frame to frame over how much those somewhat above do."""
    height = light.shape[1]
    low, above = max(2, round(0.012 * height)), max(6, round(0.08 * height))
    found = []
    for before, after in zip(light[:-1:2], light[1::2]):
        change = cv2.absdiff(after, before).mean(axis=1)
        found.append((float(change[-low:].mean()) + 0.3) / (float(np.median(change[-above : -2 * low])) + 0.3))
    return float(np.log2(np.median(found)))
