"""How a model wants its crops cut: in the FFHQ frame, or wider about its middle, and with what beyond the picture's edge.

How a face sits inside its crop: the map from a frame's crop to the track's canonical face, for noise that sticks to it.

The part of a frame that a crop reads, and cutting it (`faces.align`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from iconface_video.faces.align import (
    TEMPLATE_512,
    TEMPLATE_SIZE,
    cut_from_frame,
    matrix_from_parameters,
    source_box,
    transform_points,
    widened,
)
from iconface_video.types import Float64, Frame, Track, UInt8
from iconface_video.video.color import grow_box


@dataclass(frozen=True)
class Framing:
    """The default is the FFHQ frame, mirrored beyond the picture."""

    scale: float = 1.0
    """How much wider than the FFHQ frame."""
    border: tuple[int, int, int] | None = None
    """RGB beyond the picture's edge; None: mirrored."""

    def parameters(self, of_ffhq: ArrayLike) -> Float64:
        """Crop parameters (..., 4) of the FFHQ frame -> those of this one."""
        return widened(of_ffhq, self.scale)

    def with_border(self, crop: UInt8, crop_from_picture: Float64, picture_size: tuple[int, int]) -> UInt8:
        """The crop (S, S, 3) with what lies outside of the picture in the border's color. picture_size: (width, height) px."""
        if self.border is None:
            return crop
        width, height = picture_size
        size = crop.shape[0]
        y, x = np.mgrid[:size, :size].astype(np.float32)
        inverse = cv2.invertAffineTransform(crop_from_picture)
        at_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        at_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        outside = (at_x < -0.5) | (at_x > width - 0.5) | (at_y < -0.5) | (at_y > height - 0.5)
        if not outside.any():
            return crop
        filled = crop.copy()
        filled[outside] = self.border
        return filled


def framing_of(model: object) -> Framing:
    """The model's own; stand-ins that say nothing have the FFHQ frame."""
    found = getattr(model, "framing", None)
    return found if isinstance(found, Framing) else Framing()


SMOOTHING_FRAMES = 4
"""Sigma of the average over time: the map must follow a turning head, not the detector's jitter."""


def canonical_from_crop(track: Track, row: int, samples: int, framing_scale: float = 1.0) -> Float64:
    """(2, 3) affine from sample centres of the row's crop to sample centres of the canonical face.

    The crop is a similarity of a smoothed track; what it leaves over (turning, nodding, residual motion) is the affine map
    that brings the landmarks, seen in the crop, to the template. samples: side of the noise field.  framing_scale: how much wider than the FFHQ frame
    crop and canonical face are (`restore.framing`).
    """
    reach = 3 * SMOOTHING_FRAMES
    rows = np.arange(max(0, row - reach), min(len(track), row + reach + 1))
    weights = np.exp(-0.5 * ((rows - row) / SMOOTHING_FRAMES) ** 2)
    points = np.stack([transform_points(matrix_from_parameters(track.parameters[i]), track.landmarks[i]) for i in rows])
    seen = np.einsum("n,npk->pk", weights / weights.sum(), points)
    source = np.column_stack([seen, np.ones(len(seen))])
    affine = np.linalg.lstsq(source, TEMPLATE_512, rcond=None)[0].T
    middle = np.full(2, TEMPLATE_SIZE / 2)
    affine[:, 2] = (affine[:, :2] @ middle + affine[:, 2] - middle) / framing_scale + middle - affine[:, :2] @ middle
    # From px of the 512 template to samples: edges scale, centres by (p + 0.5) s - 0.5.
    scale = samples / TEMPLATE_SIZE
    shift = (1 - scale) / (2 * scale)  # p512 = p / scale + shift, in both spaces
    linear = affine[:, :2]
    moved = scale * (affine[:, 2] + linear @ np.full(2, shift) - shift)
    return np.column_stack([linear, moved])


__all__ = ["crop_box", "cut_from_frame"]


def crop_box(frame: Frame, crop_from_frame: Float64, size: int) -> tuple[int, int, int, int]:
    """The part of the frame that a crop reads: x0, y0, x1, y1, frame px."""
    return grow_box(frame, source_box(crop_from_frame, size, (frame.width, frame.height)))
