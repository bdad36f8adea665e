"""The part of a frame that a crop reads, and cutting it (`faces.cut`)."""

from __future__ import annotations

from iconface_video.faces.align import source_box
from iconface_video.faces.cut import cut_from_frame
from iconface_video.types import Float64, Frame
from iconface_video.video.color import grow_box

__all__ = ["crop_box", "cut_from_frame"]


def crop_box(frame: Frame, crop_from_frame: Float64, size: int) -> tuple[int, int, int, int]:
    """The part of the frame that a crop reads: x0, y0, x1, y1, frame px."""
    return grow_box(frame, source_box(crop_from_frame, size, (frame.width, frame.height)))
