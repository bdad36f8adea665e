"""How a model wants its crops cut: in the FFHQ frame, or wider about its middle, and with what beyond the picture's edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from iconface_video.faces.align import widened
from iconface_video.types import Float64, UInt8


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
