"""Cut an aligned crop out of a frame: each plane is brought to the crop by itself, and only the crop becomes RGB."""

from __future__ import annotations

import numpy as np

from iconface_video.faces.align import compose, cut_crop, source_box
from iconface_video.types import Float32, Float64, Frame, UInt8
from iconface_video.video.components import Component, components_of, rgb_from_codes


def cut_from_frame(frame: Frame, crop_from_frame: Float64, size: int) -> UInt8:
    """(size, size, 3) RGB. The same frame and transform always give the same bytes: render cuts again what restore cut."""
    codes = [_cut_component(frame, component, crop_from_frame, size) for component in components_of(frame)]
    return np.rint(np.clip(rgb_from_codes(frame, codes), 0, 1) * np.float32(255)).astype(np.uint8)


def _cut_component(frame: Frame, component: Component, crop_from_frame: Float64, size: int) -> Float32:
    """(size, size) codes of one plane, not rounded."""
    plane = frame.planes[component.plane]
    matrix = compose(crop_from_frame, component.frame_from_plane)
    x0, y0, x1, y1 = source_box(matrix, size, (plane.shape[1], plane.shape[0]))
    part = plane[y0:y1, x0:x1].astype(np.float32)
    return np.asarray(cut_crop(part, matrix, size, origin=(x0, y0)), np.float32)
