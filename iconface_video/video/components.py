"""A frame's planes as pictures of their own: where their samples lie, and what their codes mean in RGB.

Resampling and color conversion are both linear, so either may come first. Whoever brings a part of a frame to another scale
does it plane by plane and converts what is left: chroma is never enlarged first, nor thousands of pixels converted that are
averaged away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from iconface_video.types import Float32, Float64, Frame
from iconface_video.video.color import Box, Coding, coding_of


@dataclass(frozen=True, eq=False)
class Component:
    """One plane but alpha."""

    plane: int
    """Its index in ``Frame.planes``."""
    shift: tuple[int, int]
    """log2 of its subsampling, across and down."""
    frame_from_plane: Float64
    """(2, 3): where its samples lie, frame px."""
    codes_from_rgb: Float32
    """(3,) code steps for each unit (black to white) of R, G and B."""
    limits: tuple[float, float] | None
    """Codes of black and white; None for chroma."""
    top: int
    """Largest code."""

    def box(self, box: Box) -> Box:
        """A box of the frame, with its edges between chroma samples, in this plane's px."""
        across, down = self.shift
        x0, y0, x1, y1 = box
        return x0 >> across, y0 >> down, -(-x1 >> across), -(-y1 >> down)


def components_of(frame: Frame) -> tuple[Component, ...]:
    """In the order of the planes: Y; Y, Cb, Cr; or G, B, R."""
    return _components(coding_of(frame))


@cache
def _components(coding: Coding) -> tuple[Component, ...]:
    layout = coding.layout
    top = 2**layout.depth - 1
    same = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    limits = (coding.luma_offset, coding.luma_offset + coding.luma_scale)
    if layout.is_rgb:
        shares = np.eye(3, dtype=np.float32)[[1, 2, 0]] * np.float32(coding.luma_scale)
        return tuple(Component(index, (0, 0), same, row, limits, top) for index, row in enumerate(shares))
    luma = Component(0, (0, 0), same, coding.ycc_from_rgb[0] * np.float32(coding.luma_scale), limits, top)
    if layout.is_gray:
        return (luma,)
    across, down = (1 << shift for shift in layout.chroma_shift)
    sites = np.array([[across, 0.0, coding.siting[0]], [0.0, down, coding.siting[1]]])
    rows = coding.ycc_from_rgb * np.float32(coding.chroma_scale)
    return (luma, *(Component(index, layout.chroma_shift, sites, rows[index], None, top) for index in (1, 2)))


def rgb_from_codes(frame: Frame, codes: Sequence[Float32]) -> Float32:
    """Codes of every component at the same places, (h, w) each, which need not be whole -> (h, w, 3) RGB, 0..1 inside the gamut."""
    coding = coding_of(frame)
    if coding.layout.is_rgb:
        green, blue, red = (part / np.float32(coding.luma_scale) for part in codes)
        return np.dstack((red, green, blue))
    luma = (codes[0] - np.float32(coding.luma_offset)) / np.float32(coding.luma_scale)
    if coding.layout.is_gray:
        return np.dstack((luma, luma, luma))
    chroma = ((part - np.float32(coding.chroma_offset)) / np.float32(coding.chroma_scale) for part in codes[1:])
    return np.asarray(cv2.transform(cv2.merge([luma, *chroma]), coding.rgb_from_ycc), np.float32)
