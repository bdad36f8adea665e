"""Traces of a signal that came line by line: noise and jitter of whole lines, late and narrow color, fields, torn lowest lines."""

from __future__ import annotations

import cv2
import numpy as np

from iconface_video.types import Float32, Float64

_LATEST_PX = 24
"""Of a 720 px wide picture: how late color is looked for, to both sides."""
_TEAR_PX = 22


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
        "comb": _comb(light),
        "torn": _torn(light, across),
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


def _comb(light: Float32) -> float:
    """log2 of how much rows differ from the next over how much they do from the next but one, where the picture moves.

    Rows that are nearer are more alike, unless they are of another moment.
    """
    near = far = 1.0
    for before, picture in zip(light[:-1:2], light[1::2]):
        change = cv2.absdiff(picture, before)
        moving = cv2.blur(change, (15, 15))[1:-1] > max(4.0, 2 * float(np.median(change)))
        near += float((((picture[1:-1] - picture[2:]) ** 2) * moving).sum())
        far += float((((picture[:-2] - picture[2:]) ** 2) * moving).sum())
    return float(np.log2(near / far))


def _torn(light: Float32, across: float) -> float:
    """Share of the lowest lines that lie aside of the lines above them, less the same share in the middle."""
    height = light.shape[1]
    rows = max(6, round(20 * height / 576))
    reach = max(3, round(_TEAR_PX * across))
    least = max(2, round(3 * across))
    low, middle = [], []
    for picture in light[:: max(1, len(light) // 4)]:
        for start, into in ((height - rows, low), (height // 2, middle)):
            upper = picture[start - rows : start]
            into.append(_aside(picture[start : start + rows], upper, reach, least))
    return float(np.mean(low) - np.mean(middle))


def _aside(lines: Float32, above: Float32, reach: int, least: int) -> float:
    """Share of `lines` that fit the mean of those `above` clearly better when moved sideways by `least` px or more."""
    model = _fine(above[-8:].mean(axis=0)[None])[0]
    moved = np.lib.stride_tricks.sliding_window_view(model, len(model) - 2 * reach)
    inner = _fine(lines)[:, reach:-reach]
    power = np.linalg.norm(inner, axis=1)[:, None] * np.linalg.norm(moved, axis=1)[None]
    scores = inner @ moved.T / (power + 1e-6)
    best = scores.argmax(axis=1)
    fit = scores.max(axis=1)
    return float(((np.abs(best - reach) >= least) & (fit > 0.5) & (fit > scores[:, reach] + 0.15)).mean())


def _fine(lines: Float32) -> Float32:
    """Without the slow course along a line."""
    return lines - cv2.blur(lines, (31, 1))
