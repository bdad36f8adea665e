"""What a recording's picture tells of its medium: numbers from a few short runs of neighbouring frames.

Every measure has a control beside it where one is at hand: rows against columns, the bottom against the middle, one frame
against its neighbours; so that what the scene shows cancels out. Lengths are told in px of a picture 720 px wide or 576 lines
high, so that a threshold means the same at every size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.types import Float32, Float64, UInt8
from iconface_video.video.kind_defects import defects_of
from iconface_video.video.kind_lines import lines_of

BLOCK = 16
_FLAT_SHARE = 0.2
"""Of the blocks: there the picture itself hardly changes, and what does is noise."""


@dataclass(frozen=True)
class Measures:
    """Medians over the runs. px are those of a picture 720 wide or 576 high; logarithms are of base 2, of a measure over its control."""

    noise: float
    """rms in flat blocks, grey levels."""
    noise_across: float
    """Correlation with the next px along the line; down: with the one below, and the one in the same field's next line."""
    noise_down: float
    noise_down_2: float
    color_noise: float
    """rms of a color difference."""
    color_noise_across: float
    """Correlation over 4 px, as below."""
    color_noise_down: float
    frozen: float
    """Share of flat blocks that do not change at all."""
    weave: float
    """px by which the whole picture's motion sideways changes from frame to frame."""
    jump: float
    """The same up and down."""
    rebound: float
    """How much of a jump the next one takes back: 0.5 where each frame has a place of its own, below 0 in motion."""
    repeats: float
    """Share of frames that are shown again."""
    change: float
    """Mean difference of neighbouring frames, grey levels."""
    flicker: float
    """Median change of the light from frame to frame, percent."""
    tint: float
    """rms by which color differs over the picture."""
    cast: float
    """Color of the shadows, grey levels."""
    black: float
    """The darkest hundredth."""
    level: float
    """The median light."""
    blocks: float
    """Grey levels by which steps at edges of blocks of 8 px are larger than those beside."""
    color_lag: float
    """px by which color lies to the right of light."""
    color_agreement: float
    """Correlation of their edges there."""
    color_narrow: float
    """Logarithm of color's detail down over that across."""
    light_narrow: float
    line_noise: float
    """Logarithm of how whole rows flicker over how columns do."""
    line_jitter: float
    """Logarithm of how single rows move sideways over how columns move up and down."""
    fields: float
    """How much later odd rows are than even ones, frames."""
    overshoot: float
    """Of edges along the lines, more than of those down: correlation."""
    torn: float
    """Logarithm of how the lowest lines change over how those above do."""
    streaks: float
    """Streaks along a line, in one frame alone, a frame."""
    specks: float
    """Compact defects in one frame alone, a frame."""
    scratch: float
    """By how much the most upright thin line stands out."""
    rate: float
    """Frames a second as the file says; 0: it does not."""


def measures_of_runs(runs: Iterable[list[UInt8]], rate: float) -> Measures | None:
    """Medians over runs of RGB pictures (h, w, 3), at least three in each; None where there are no runs."""
    each = [measures_of(run_of(pictures)) for pictures in runs]
    if not each:
        return None
    return Measures(**{name: float(np.median([found[name] for found in each])) for name in each[0]}, rate=rate)


@dataclass(frozen=True, eq=False)
class Run:
    """Neighbouring frames."""

    light: Float32
    """(n, h, w) luma, 0..255."""
    color: Float32
    """(n, h, w, 2) color differences around 0."""

    @property
    def across(self) -> float:
        """px of the picture per px of one 720 px wide."""
        return self.light.shape[2] / 720

    @property
    def down(self) -> float:
        return self.light.shape[1] / 576


def run_of(pictures: list[UInt8]) -> Run:
    """Of RGB pictures (h, w, 3)."""
    ycc = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb) for picture in pictures]).astype(np.float32)
    return Run(np.ascontiguousarray(ycc[..., 0]), ycc[..., 1:] - 128)


def measures_of(run: Run) -> dict[str, float]:
    """All measures of one run of at least three frames."""
    return {
        **_noise(run),
        **_motion(run),
        **_tone(run),
        **_codec(run),
        **lines_of(run.light, run.color),
        **defects_of(run.light),
    }


def _noise(run: Run) -> dict[str, float]:
    """Deviation and correlation of what changes in flat blocks from frame to frame."""
    light, color = [], []
    for t in range(0, len(run.light) - 1, 2):
        flat = _flat_blocks(run.light[t])
        change = (run.light[t + 1] - run.light[t]) / np.float32(np.sqrt(2))
        tint = (run.color[t + 1] - run.color[t]) / np.float32(np.sqrt(2))
        light.append(_blocks(change)[flat])
        color += [_blocks(np.ascontiguousarray(tint[..., k]))[flat] for k in (0, 1)]
    grains, tints = (np.concatenate(part) for part in (light, color))
    grains, tints = (part - part.mean(axis=(1, 2), keepdims=True) for part in (grains, tints))
    return {
        "noise": float(np.median(grains.std(axis=(1, 2)))),
        "noise_across": _correlation(grains, 1, 2),
        "noise_down": _correlation(grains, 1, 1),
        "noise_down_2": _correlation(grains, 2, 1),
        "color_noise": float(np.median(tints.std(axis=(1, 2)))),
        "color_noise_across": _correlation(tints, 4, 2),
        "color_noise_down": _correlation(tints, 4, 1),
        "frozen": float((grains.std(axis=(1, 2)) < 0.15).mean()),
    }


def _flat_blocks(picture: Float32) -> UInt8:
    """(rows, columns) mask of the flattest blocks that are neither black nor white."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 2.0)
    slope = _blocks(cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))).mean(axis=(2, 3))
    level = _blocks(smooth).mean(axis=(2, 3))
    slope = np.where((level > 24) & (level < 232), slope, slope.max() + 1 + slope)
    return np.asarray(slope <= np.quantile(slope, _FLAT_SHARE))


def _blocks(plane: NDArray[np.generic]) -> Float32:
    """(h, w) -> (rows, columns, BLOCK, BLOCK)."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    cut = plane[: rows * BLOCK, : columns * BLOCK]
    return np.asarray(cut.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2), np.float32)


def _correlation(blocks: Float32, lag: int, axis: int) -> float:
    """Of noise with itself `lag` px further along `axis` (1: down, 2: across)."""
    ahead = np.take(blocks, range(lag, BLOCK), axis)
    behind = np.take(blocks, range(BLOCK - lag), axis)
    return float((ahead * behind).mean() / max(float((blocks**2).mean()), 1e-6))


def _motion(run: Run) -> dict[str, float]:
    """How the whole picture moves: unsteady from frame to frame (not merely panned), and repeated."""
    height, width = run.light.shape[1:]
    fields = [np.ascontiguousarray(picture[0::2]) for picture in run.light]
    window = cv2.createHanningWindow((width, fields[0].shape[0]), cv2.CV_32F)
    shifts = np.array([cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(fields)])
    shifts = shifts * [720 / width, 2 * 576 / height]
    small = [cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA) for picture in run.light]
    change = np.array([float(cv2.absdiff(a, b).mean()) for a, b in pairwise(small)])
    is_repeat = (change < 0.2 * np.quantile(change, 0.8)) & (change.max() > 0.3)
    new = shifts[~is_repeat]
    shake = np.abs(np.diff(new, axis=0)) if len(new) > 2 else np.zeros((1, 2))
    return {
        "weave": float(np.median(shake[:, 0])),
        "jump": float(np.median(shake[:, 1])),
        "rebound": _rebound(new[:, 1]),
        "repeats": float(is_repeat.mean()),
        "change": float(np.median(change)),
    }


def _rebound(shifts: Float64) -> float:
    """How much each shift is taken back by the next: about 0.5 where every frame has a place of its own, below 0 in motion."""
    if len(shifts) < 3:
        return 0.0
    own = shifts - np.median(shifts)
    return float(-(own[1:] * own[:-1]).sum() / max(float((own**2).sum()), 0.05))


def _tone(run: Run) -> dict[str, float]:
    """Light and color of the whole, and how its brightness flickers."""
    cells = np.stack([cv2.resize(picture, (24, 16), interpolation=cv2.INTER_AREA) for picture in run.light])
    ratios = np.log(np.maximum(cells[1:], 8) / np.maximum(cells[:-1], 8))
    gain = np.median(ratios.reshape(len(ratios), -1), axis=1)
    color = np.stack([cv2.resize(picture, (24, 16), interpolation=cv2.INTER_AREA) for picture in run.color])
    deep = cells < np.quantile(cells, 0.15)
    return {
        "flicker": float(np.median(np.abs(gain - np.median(gain)))) * 100,
        "tint": float(np.sqrt(((color - np.median(color, axis=(0, 1, 2))) ** 2).sum(axis=-1).mean())),
        "cast": float(np.linalg.norm(color[deep].mean(axis=0))) if deep.any() else 0.0,
        "black": float(np.quantile(run.light[::2, ::4, ::4], 0.01)),
        "level": float(np.median(run.light[::2, ::4, ::4])),
    }


def _codec(run: Run) -> dict[str, float]:
    """Steps at the edges of blocks of 8 px, against those beside them."""
    steps = []
    for picture in run.light[:: max(1, len(run.light) // 3)]:
        for plane in (picture, picture.T):
            jump = np.abs(np.diff(plane, axis=1))
            bend = np.minimum(jump[:, 1:-1], 24) - (np.minimum(jump[:, :-2], 24) + np.minimum(jump[:, 2:], 24)) / 2
            at = (np.arange(bend.shape[1]) + 2) % 8 == 0  # bend[k] belongs to the edge before px k + 2
            steps.append(float(bend[:, at].mean() - bend[:, ~at].mean()))
    return {"blocks": float(np.median(steps))}
