"""Cut a track's crop out of a frame: only the box that it needs becomes RGB."""

from __future__ import annotations

import numpy as np

from iconface_video.faces.align import cut_crop, source_box
from iconface_video.types import Float64, Frame, UInt8
from iconface_video.video.color import grow_box, to_rgb


def crop_box(frame: Frame, crop_from_frame: Float64, size: int) -> tuple[int, int, int, int]:
    """The part of the frame that a crop reads: x0, y0, x1, y1, frame px."""
    return grow_box(frame, source_box(crop_from_frame, size, (frame.width, frame.height)))


def cut_from_frame(frame: Frame, crop_from_frame: Float64, size: int) -> UInt8:
    """(size, size, 3) RGB. The same frame and transform always give the same bytes: render cuts again what restore cut."""
    box = crop_box(frame, crop_from_frame, size)
    return np.asarray(cut_crop(to_rgb(frame, box), crop_from_frame, size, origin=box[:2]), dtype=np.uint8)
