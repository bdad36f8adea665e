"""Bringing frames of different videos into one form, so that they can stand side by side, sample by sample where possible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np

from iconface_video.types import ColorTags, Float32, Frame, VideoInfo
from iconface_video.video.color import Box, blend_rgb, is_full_range, matrix_code, to_rgb_float
from iconface_video.video.planes import PlaneLayout, layout_of

_SAME_SHAPE = 0.01
"""Pictures whose shapes differ by less than this share are stretched to each other instead of getting bars."""


@dataclass(frozen=True)
class Canvas:
    """The form: upright, of one size, format and color coding."""

    width: int
    height: int
    sample_aspect_ratio: Fraction
    pix_fmt: str
    color: ColorTags

    @property
    def layout(self) -> PlaneLayout:
        return layout_of(self.pix_fmt)

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) with square pixels."""
        return max(1, round(self.width * float(self.sample_aspect_ratio))), self.height


def make_canvas(a: VideoInfo, b: VideoInfo) -> Canvas:
    """The first video's form and depth, at the larger one's size. Turned ones are turned upright, odd edges are cut off, a video
    in color beside one in grey brings its own format along.
    """
    source = b if layout_of(a.pix_fmt).is_gray and not layout_of(b.pix_fmt).is_gray else a
    pix_fmt = source.pix_fmt.replace("yuva", "yuv").replace("gbrap", "gbrp")
    layout = layout_of(pix_fmt)
    across, down = (1 << shift for shift in layout.chroma_shift)
    width, height, aspect = _larger_size(a, b)
    color = source.color
    if height != a.height and not layout.is_rgb:  # another number of lines must not mean another matrix
        color = replace(color, space=matrix_code(color, source.height))
    # Encoders of 4:2:0 take even sizes only; 2 is right for all of them.
    return Canvas(width // max(2, across) * max(2, across), height // max(2, down) * max(2, down), aspect, pix_fmt, color)


def _larger_size(a: VideoInfo, b: VideoInfo) -> tuple[int, int, Fraction]:
    """Width, height and shape of a pixel: A's own, or A's picture as large as fits into a larger B."""
    width, height = a.display_size
    larger_width, larger_height = b.display_size
    factor = min(larger_width / width, larger_height / height)
    own = (a.width, a.height, a.sample_aspect_ratio) if a.rotation == 0 else (width, height, Fraction(1))
    if factor <= 1 + _SAME_SHAPE:
        return own
    if abs(larger_width * height / (larger_height * width) - 1) < _SAME_SHAPE:
        is_upright = b.rotation == 0
        return (b.width, b.height, b.sample_aspect_ratio) if is_upright else (larger_width, larger_height, Fraction(1))
    return round(own[0] * factor), round(own[1] * factor), own[2]


class Fitter:
    """Frames of one video -> the canvas. Frames that fit already pass untouched (but for cut edges)."""

    def __init__(self, info: VideoInfo, canvas: Canvas) -> None:
        self._info = info
        self._canvas = canvas
        self._target = _target_size(info, canvas)

    @property
    def changes_shape(self) -> bool:
        """Whether bars are needed: the pictures' shapes differ."""
        return self._target != (self._canvas.width, self._canvas.height)

    @property
    def scales(self) -> bool:
        """Whether pictures are scaled (cutting an odd edge off is no scaling)."""
        width, height = self._upright_size()
        return abs(width - self._target[0]) > 1 or abs(height - self._target[1]) > 1

    def _upright_size(self) -> tuple[int, int]:
        info = self._info
        if info.rotation == 0 and info.sample_aspect_ratio == self._canvas.sample_aspect_ratio:
            return info.width, info.height
        return info.display_size

    def fit(self, frame: Frame) -> Frame:
        """The frame on the canvas, with its own times."""
        if self._passes(frame):
            planes = frame.planes[: self._canvas.layout.plane_count]
            return _cut(replace(frame, planes=planes, pix_fmt=self._canvas.pix_fmt), self._canvas)
        return self._converted(frame)

    def _passes(self, frame: Frame) -> bool:
        canvas, layout = self._canvas, layout_of(frame.pix_fmt)
        same_coding = (
            replace(layout, has_alpha=False, pix_fmt="") == replace(canvas.layout, pix_fmt="")
            and matrix_code(frame.color, frame.height) == matrix_code(canvas.color, canvas.height)
            and is_full_range(frame.color, layout) == is_full_range(canvas.color, canvas.layout)
        )
        is_upright = self._info.rotation == 0 and not self._info.is_mirrored
        return same_coding and is_upright and not self.scales and not self.changes_shape

    def _converted(self, frame: Frame) -> Frame:
        canvas = self._canvas
        rgb = to_rgb_float(frame, (0, 0, frame.width, frame.height))
        turned = np.rot90(rgb, -self._info.rotation // 90)
        rgb = np.ascontiguousarray(turned[:, ::-1] if self._info.is_mirrored else turned)
        width, height = self._target
        shrinks = rgb.shape[1] > width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.float32)
        left, top = (canvas.width - width) // 2, (canvas.height - height) // 2
        whole = np.zeros((canvas.height, canvas.width, 3), np.float32)
        whole[top : top + height, left : left + width] = np.clip(rgb, 0, 1)
        return painted(frame, canvas, whole)


def _target_size(info: VideoInfo, canvas: Canvas) -> tuple[int, int]:
    """Where the video's picture goes on the canvas: as large as fits, in its own shape; canvas px."""
    width, height = info.display_size
    most_width, most_height = canvas.display_size
    if abs(width * most_height / (height * most_width) - 1) < _SAME_SHAPE:
        return canvas.width, canvas.height
    scale = min(most_width / width, most_height / height)
    return max(1, round(width * scale / float(canvas.sample_aspect_ratio))), max(1, round(height * scale))


def painted(frame: Frame, canvas: Canvas, rgb: Float32) -> Frame:
    """A canvas that shows `rgb`, float32 (height, width, 3) 0..1, with the frame's times."""
    layout = canvas.layout
    planes = tuple(
        np.zeros(layout.plane_shape(index, canvas.width, canvas.height), layout.dtype) for index in range(layout.plane_count)
    )
    blank = replace(
        frame, planes=planes, pix_fmt=canvas.pix_fmt, width=canvas.width, height=canvas.height, color=canvas.color, side_data=()
    )
    everywhere = np.ones((canvas.height, canvas.width), np.float32)
    return blend_rgb(blank, (0, 0, canvas.width, canvas.height), rgb, everywhere)


def _cut(frame: Frame, canvas: Canvas) -> Frame:
    """The canvas's part of a frame that is as large, or larger by an odd edge."""
    return cropped(replace(frame, color=canvas.color, side_data=()), (0, 0, canvas.width, canvas.height))


def cropped(frame: Frame, box: Box) -> Frame:
    """A box of the frame, whose corners fall between chroma samples, as a frame of its own."""
    layout, (x0, y0, x1, y1) = layout_of(frame.pix_fmt), box
    planes = []
    for index, plane in enumerate(frame.planes):
        across, down = layout.chroma_shift if index in (1, 2) and not layout.is_rgb else (0, 0)
        planes.append(plane[y0 >> down : -(-y1 >> down), x0 >> across : -(-x1 >> across)])
    return replace(frame, planes=tuple(planes), width=x1 - x0, height=y1 - y0)
