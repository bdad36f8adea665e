"""Two videos in one picture: beside each other, above each other, parted by a divider, or in turns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from iconface_video.render.fit import Canvas
from iconface_video.render.labels import put_label
from iconface_video.settings import Validated, setting
from iconface_video.types import Frame
from iconface_video.video.color import blend_rgb, grow_box

_LEAST_TOLERANCE = Fraction(1, 1000)
"""Matroska counts milliseconds: a frame may seem to begin so much later than in the file that it was made from."""


@dataclass(frozen=True)
class CompareSettings(Validated):
    """How two videos are shown together."""

    mode: Literal["side", "stack", "wipe", "blink"] = setting(
        "side", help="Beside each other, above each other, A left and B right of a divider, or in turns."
    )
    divider: float | None = setting(
        None, low=0, high=1, help="Where the divider of a wipe stands (0 left, 1 right); it moves to and fro when not given."
    )
    period: float = setting(
        4.0, low=0.1, high=600, help="Seconds in which the divider goes and returns, or A and B are shown once."
    )
    moments: int = setting(
        6, low=1, high=60, help="Stills in the HTML page: of each of so many parts, where A and B differ most."
    )


class Pair(NamedTuple):
    """What is shown at one time."""

    a: Frame
    b: Frame
    seconds: Fraction
    """Since A's beginning."""


class Pairing:
    """A's frames with what B shows at their times. Iterate once; memory does not grow with the clips.

    B's frame is the last one that has begun, as a player would show it: B may have another frame rate, or drop frames. Before
    its first and after its last, B stands still.
    """

    def __init__(self, a: Iterable[Frame], b: Iterable[Frame], a_begins: Fraction, b_begins: Fraction, tick: Fraction) -> None:
        """a_begins, b_begins: the times, on each video's own clock, that belong together.  tick: the coarser clock's."""
        self._a, self._b = a, iter(b)
        self._a_begins, self._b_begins = a_begins, b_begins
        self._tolerance = max(tick, _LEAST_TOLERANCE)
        self.held_seconds = Fraction(0)
        """How long, so far, A has gone on after B's last frame began."""

    def __iter__(self) -> Iterator[Pair]:
        current = next(self._b, None)
        following = next(self._b, None)
        if current is None:
            return
        for frame in self._a:
            time = frame.timestamp.seconds - self._a_begins
            while following is not None and self._b_time(following) <= time + self._tolerance:
                current, following = following, next(self._b, None)
            self.held_seconds = max(Fraction(0), time - self._b_time(current)) if following is None else Fraction(0)
            yield Pair(frame, current, time)

    def _b_time(self, frame: Frame) -> Fraction:
        return frame.timestamp.seconds - self._b_begins


class Composer:
    """Makes one frame of two that have the same form."""

    def __init__(self, canvas: Canvas, settings: CompareSettings, labels: tuple[str, str]) -> None:
        self._canvas = canvas
        self._settings = settings
        self._labels = labels

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what comes out, px."""
        across, down = {"side": (2, 1), "stack": (1, 2)}.get(self._settings.mode, (1, 1))
        return across * self._canvas.width, down * self._canvas.height

    def compose(self, a: Frame, b: Frame, seconds: Fraction) -> Frame:
        """The picture at this time, with A's PTS. a, b: on the canvas."""
        mode = self._settings.mode
        if mode in ("side", "stack"):
            return self._joined(self._labeled(a, 0), self._labeled(b, 1), axis=1 if mode == "side" else 0)
        if mode == "wipe":
            return self._wiped(a, b, self._divider_at(float(seconds)))
        half = self._settings.period / 2
        which = int(float(seconds) / half + 1e-9) % 2
        return self._labeled(a, 0) if which == 0 else self._timed(self._labeled(b, 1), a)

    def _labeled(self, frame: Frame, which: int) -> Frame:
        return put_label(frame, self._labels[which], 0, frame.width, aspect=self._canvas.sample_aspect_ratio)

    def _joined(self, a: Frame, b: Frame, axis: int) -> Frame:
        planes = tuple(np.concatenate(pair, axis=axis) for pair in zip(a.planes, b.planes, strict=True))
        width, height = self.size
        return replace(a, planes=planes, width=width, height=height)

    @staticmethod
    def _timed(frame: Frame, like: Frame) -> Frame:
        return replace(frame, pts=like.pts, time_base=like.time_base, duration=like.duration, index=like.index)

    def _divider_at(self, seconds: float) -> int:
        """Column, px, between chroma samples. It begins at the right, where A is seen alone, and rests a little at both ends."""
        share = self._settings.divider
        if share is None:
            share = 0.5 + 0.5 * math.cos(2 * math.pi * seconds / self._settings.period)
        across = 1 << self._canvas.layout.chroma_shift[0]
        return round(share * self._canvas.width / across) * across

    def _wiped(self, a: Frame, b: Frame, column: int) -> Frame:
        layout = self._canvas.layout
        planes = []
        for index, (left, right) in enumerate(zip(a.planes, b.planes, strict=True)):
            across = layout.chroma_shift[0] if index in (1, 2) and not layout.is_rgb else 0
            planes.append(np.concatenate([left[:, : column >> across], right[:, column >> across :]], axis=1))
        frame = _line(replace(a, planes=tuple(planes)), column)
        aspect = self._canvas.sample_aspect_ratio
        frame = put_label(frame, self._labels[0], 0, column, aspect=aspect)
        return put_label(frame, self._labels[1], column, frame.width, at_right=True, aspect=aspect)


def _line(frame: Frame, column: int) -> Frame:
    """A bright line with a dark rim; none where it would stand on the frame's own edge."""
    half = max(1, frame.height // 480)
    if not 0 < column < frame.width:
        return frame
    box = grow_box(frame, (column - 2 * half, 0, column + 2 * half, frame.height))
    x = np.arange(box[0], box[2])
    bright = np.where((x >= column - half) & (x < column + half), np.float32(0.95), np.float32(0.0))
    inside = ((x >= column - 2 * half) & (x < column + 2 * half)).astype(np.float32)
    shape = box[3] - box[1], box[2] - box[0]
    rgb = np.broadcast_to(bright[None, :, None], (*shape, 3))
    weight = np.broadcast_to(inside * np.where(bright > 0, np.float32(1), np.float32(0.5)), shape)
    return blend_rgb(frame, box, np.ascontiguousarray(rgb), np.ascontiguousarray(weight))
