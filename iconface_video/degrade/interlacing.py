"""Interlaced at its source: the two fields of a frame show two moments.

A camera of the interlaced age never took a frame: it took 50 (or 59.94) fields a second, each with every other line. The
second field of a frame is half a frame later than the first. `interlaced` makes that of a clip that has whole frames, by
moving what moves halfway; `weave_fields` takes a clip of twice the rate, whose every frame gives one field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, Frames
from iconface_video.types import Float32, UInt8

_FLOW_SIDE = 288
"""px of the picture in which motion is looked for: halfway between two frames it need not be known any better."""
_STILL = 0.5
"""Grey levels of mean difference below which two frames show the same moment."""
_DISAGREE = 16
"""Grey levels, mean of 5 x 5 px, above which two moved frames show different things."""


@dataclass(frozen=True)
class Interlaced:
    """The effect: `interlaced`, as a step of its own."""

    top_first: bool = True

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        return interlaced(frames, self.top_first)


def interlaced(frames: Iterator[UInt8], top_first: bool = True) -> Iterator[UInt8]:
    """(h, w, 3) frames -> as many, woven: one field's lines from the frame's own moment, the other's from half a frame later.

    The last frame has no next one: both of its fields are of one moment.
    """
    later = 1 if top_first else 0
    here: UInt8 | None = None
    for frame in frames:
        if here is not None:
            yield _woven(here, halfway(here, frame, later, 2), later)
        here = frame
    if here is not None:
        yield here


def weave_fields(frames: Iterator[UInt8], top_first: bool = True) -> Iterator[UInt8]:
    """(h, w, 3) frames, one a field, e.g. 50 a second -> half as many woven frames; an odd last one is left out."""
    for first in frames:
        second = next(frames, None)
        if second is None:
            return
        later = 1 if top_first else 0
        yield _woven(first, second[later::2], later)


def halfway(before: UInt8, after: UInt8, first_row: int = 0, step: int = 1) -> UInt8:
    """The (h, w, 3) picture in the middle between two frames: both are moved half of the way to each other and averaged.

    Of its rows only every `step`-th from `first_row` on. Dense motion by inverse search (Kroeger et al., arXiv 1603.03590, as
    OpenCV has it). Where the two do not agree after their move (something was covered), the earlier one counts.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after)]
    if float(cv2.absdiff(*grey).mean()) < _STILL:
        return before[first_row::step]
    height, width = grey[0].shape
    share = min(1.0, _FLOW_SIDE / max(height, width))
    # The search takes patches of 8 px on several scales: a picture of a few rows has no room for them.
    size = (max(32, round(width * share)), max(32, round(height * share)))
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in grey]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow = search.calc(small[0], small[1], np.zeros((*small[0].shape, 2), np.float32))
    half = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)[first_row::step]
    half_x, half_y = half[:, :, 0] * np.float32(width / size[0] / 2), half[:, :, 1] * np.float32(height / size[1] / 2)
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(first_row, height, step, dtype=np.float32)[:, None]
    early, late = _moved(before, x - half_x, y - half_y), _moved(after, x + half_x, y + half_y)
    mean = np.asarray(cv2.addWeighted(early, 0.5, late, 0.5, 0), dtype=np.uint8)
    differ = cv2.cvtColor(cv2.absdiff(early, late), cv2.COLOR_RGB2GRAY)
    covered = np.asarray(cv2.boxFilter(differ, -1, (5, 5))) > _DISAGREE
    mean[covered] = early[covered]
    return mean


def _moved(picture: UInt8, x: Float32, y: Float32) -> UInt8:
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _woven(first: UInt8, second: UInt8, later: int) -> UInt8:
    """second: the other field's lines alone, those from `later` on."""
    woven = first.copy()
    woven[later::2] = second
    return woven
