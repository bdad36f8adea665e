"""Choosing moments worth a still while two videos stream by: where they differ most, or at given times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from iconface_video.render.compare import Pair
from iconface_video.types import Float32, Frame

_SMALL_SIDE = 160
"""px of the longer side at which two pictures are compared: faces count, grain does not."""
_UNKNOWN_LENGTH_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class Moment:
    """One chosen pair."""

    pair: Pair
    difference: float
    """Mean absolute difference of the small luma pictures, in codes."""


class MomentPicker:
    """Of each of `count` equal parts of the time, the pair that differs most; or the pairs at the times asked for.

    Holds one pair a moment, never more.
    """

    def __init__(self, count: int, first: Fraction, seconds: float | None, at: Sequence[Fraction] = ()) -> None:
        """first: where the shown stretch begins.  seconds: its length; None: not known.  at: times; `count` is ignored then."""
        self._count, self._first, self._at = count, first, sorted(at)
        self._length = seconds if seconds and seconds > 0 else _UNKNOWN_LENGTH_SECONDS
        self._best: dict[int, Moment] = {}
        self._asked = 0

    def push(self, pair: Pair) -> None:
        """Look at a pair. Frames must be on one canvas."""
        if self._at:
            while self._asked < len(self._at) and pair.seconds >= self._at[self._asked]:
                self._best[self._asked] = Moment(pair, _difference(pair))
                self._asked += 1
            return
        part = min(self._count - 1, max(0, int(float(pair.seconds - self._first) / self._length * self._count)))
        moment = Moment(pair, _difference(pair))
        if part not in self._best or moment.difference > self._best[part].difference:
            self._best[part] = moment

    @property
    def moments(self) -> list[Moment]:
        """In order of time; fewer than asked for where the clip ended before."""
        return [self._best[part] for part in sorted(self._best)]


def _difference(pair: Pair) -> float:
    return float(np.abs(_small_luma(pair.a) - _small_luma(pair.b)).mean())


def _small_luma(frame: Frame) -> Float32:
    plane = np.asarray(frame.planes[0], np.float32)  # green where the format is RGB: as good
    scale = min(1.0, _SMALL_SIDE / max(plane.shape))
    size = max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
