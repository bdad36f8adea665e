"""Between pictures as bytes and pictures as networks take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iconface_video.types import UInt8


def to_tensor(pictures: UInt8 | Sequence[UInt8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 (..., H, W, 3) RGB, or a list of pictures of one size -> float32 (..., 3, H, W) in [-1, 1].

    Channels stay last in memory, which convolutions on the CPU like.
    """
    # torch neither takes read-only arrays (a stored crop) nor negative strides (a flipped one).
    own = np.require(np.asarray(pictures), requirements=["C", "W"])
    return torch.from_numpy(own).to(device).movedim(-1, -3).float() / 127.5 - 1


def to_uint8(pictures: Tensor) -> UInt8:
    """(..., 3, H, W) in [-1, 1], clipped and rounded to nearest -> uint8 (..., H, W, 3) RGB."""
    scaled = ((pictures.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(scaled.movedim(-3, -1).cpu().numpy())
