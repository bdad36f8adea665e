"""Two videos in one picture (beside each other, above each other, parted by a divider, or in turns), their names on it, and the choice
of moments worth a still while both stream by: where they differ most, or at given times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iconface_video.render.compare_settings import CompareSettings
from iconface_video.render.fit import Canvas
from iconface_video.types import Float32, Frame
from iconface_video.video.color import blend_rgb, grow_box

_HEIGHT_SHARE, _LEAST_PX = 0.036, 12
_PLATE = 0.6
_HDR_TRANSFERS = (16, 18)
"""PQ and HLG: full scale there is a searchlight; letters get about the light of paper instead."""


def label_height(frame_height: int) -> int:
    """Of the letters, px."""
    return max(_LEAST_PX, round(frame_height * _HEIGHT_SHARE))


@lru_cache(maxsize=32)
def _plate(text: str, letters_px: int, most_px: int, aspect: Fraction) -> tuple[Float32, Float32]:
    """(h, w) lightness and (h, w) weight of a label, no wider than `most_px`."""
    font = ImageFont.load_default(letters_px)
    pad = max(3, letters_px // 2)
    text = shortened(text, lambda part: font.getlength(part) + 2 * pad <= most_px * float(aspect))
    width, height = int(font.getlength(text)) + 2 * pad, int(letters_px * 1.35) + pad
    drawn = Image.new("L", (width, height), 0)
    ImageDraw.Draw(drawn).text((pad, height / 2), text, fill=255, font=font, anchor="lm")
    plate = Image.new("L", (width, height), 0)
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, width - 1, height - 1), radius=pad, fill=255)
    letters, ground = (np.asarray(layer, np.float32) / 255 for layer in (drawn, plate))
    weight = np.maximum(letters, np.float32(_PLATE) * ground)
    light = np.divide(letters, weight, out=np.zeros_like(letters), where=weight > 0)
    if aspect != 1:
        size = (max(1, round(width / float(aspect))), height)
        light, weight = (np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_AREA)) for layer in (light, weight))
    return light, weight


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """The text, or its beginning and end around an ellipsis, so that `fits(text)`."""
    if fits(text):
        return text
    for kept in range(len(text) - 1, 1, -1):
        part = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if fits(part):
            return part
    return text[:1]


def put_label(
    frame: Frame, text: str, left: int, right: int, *, at_right: bool = False, aspect: Fraction = Fraction(1)
) -> Frame:
    """The frame with a label at the top of the part left..right (px), at its left or right end; unchanged where it is too narrow.

    aspect: shape of one pixel, width to height.
    """
    letters = label_height(frame.height)
    margin = letters // 2
    room = right - left - 2 * margin
    if not text or room < 3 * letters:
        return frame
    light, weight = _plate(text, letters, room, aspect)
    height, width = weight.shape
    height = min(height, frame.height - margin)
    if height <= 0 or width > room:
        return frame
    x = right - margin - width if at_right else left + margin
    box = grow_box(frame, (x, margin, x + width, margin + height))
    whole_light, whole_weight = (np.zeros((box[3] - box[1], box[2] - box[0]), np.float32) for _ in range(2))
    rows, columns = slice(margin - box[1], margin - box[1] + height), slice(x - box[0], x - box[0] + width)
    whole_light[rows, columns], whole_weight[rows, columns] = light[:height], weight[:height]
    white = np.float32(0.6 if frame.color.transfer in _HDR_TRANSFERS else 1.0)
    return blend_rgb(frame, box, np.repeat((white * whole_light)[..., None], 3, axis=2), whole_weight)


_LEAST_TOLERANCE = Fraction(1, 1000)
"""Matroska counts milliseconds: a frame may seem to begin so much later than in the file that it was made from."""


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
        half = self._settings.period_seconds / 2
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
            share = 0.5 + 0.5 * math.cos(2 * math.pi * seconds / self._settings.period_seconds)
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
