"""Paste restored faces into a frame: the residual goes back through the inverse transform, on the smallest box.

What is pasted is the *change* (restored minus source crop), added to the frame's own samples: what resampling the crop lost
and the bits beyond eight that the frame has stay in the picture, and where the model changed nothing, nothing changes. It is added
to each plane in the plane's own codes and at its own resolution: the frame is never converted to RGB and back.

How much of each crop pixel is pasted: soft masks in crop space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.faces.align import compose, invert, source_box
from iconface_video.types import Float32, Float64, Frame
from iconface_video.video.color import Box, grow_box
from iconface_video.video.components import Component, components_of


@dataclass(frozen=True, eq=False)
class FacePatch:
    """One face's change, ready to be pasted."""

    residual: Float32
    """(S, S, 3) restored minus source in the video's own R'G'B', full scale 1."""
    mask: Float32
    """(S, S) 0..1."""
    crop_from_frame: Float64
    """(2, 3) affine, frame px -> crop px."""
    luma_only: bool = False
    """The frame's chroma samples stay bit for bit: for black and white. The residual is the same in all channels then."""


def paste(frame: Frame, patches: Sequence[FacePatch], strength: float = 1.0) -> Frame:
    """The frame with the patches blended in.

    Samples where no mask reaches are the input's, bit for bit; with strength 0, or without patches, it is the frame itself.
    """
    if strength <= 0:
        return frame
    for patch in patches:
        frame = _paste_one(frame, patch, strength)
    return frame


def _paste_one(frame: Frame, patch: FacePatch, strength: float) -> Frame:
    rows, columns = (np.flatnonzero((patch.mask > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return frame
    # The smallest box: around the used part of the crop, not around the crop.
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    residual, mask = patch.residual[y0:y1, x0:x1], patch.mask[y0:y1, x0:x1]
    matrix = compose([[1, 0, -x0], [0, 1, -y0]], patch.crop_from_frame)
    if not _reaches_frame(matrix, (x1 - x0, y1 - y0), frame):
        return frame
    box = grow_box(frame, source_box(matrix, (x1 - x0, y1 - y0), (frame.width, frame.height)))
    planes = list(frame.planes)
    at: Box | None = None
    for component in components_of(frame):
        if component.limits is None and patch.luma_only:
            continue
        if at != component.box(box):  # planes of one resolution have their samples at the same places
            at = component.box(box)
            crop_from_box = compose(compose(matrix, component.frame_from_plane), [[1, 0, at[0]], [0, 1, at[1]]])
            extent = at[2] - at[0], at[3] - at[1]
            weight = np.clip(warp_back(mask, crop_from_box, extent) * np.float32(strength), 0.0, 1.0)
        change = warp_back((residual @ component.codes_from_rgb)[..., None], crop_from_box, extent)
        planes[component.plane] = _changed(planes[component.plane], component, at, change, weight)
    return replace(frame, planes=tuple(planes))


def _changed(plane: NDArray[Any], component: Component, box: Box, change: Float32, weight: Float32) -> NDArray[Any]:
    """A copy of the plane with the change (h, w), in its own code steps, added to its box as far as the weight (h, w) says."""
    x0, y0, x1, y1 = box
    mixed = plane.copy()
    part = mixed[y0:y1, x0:x1]
    old = part.astype(np.float32)
    if component.limits is not None:
        # The change must not lead beyond black and white; what the frame itself has beyond (YCbCr can) stays.
        black, white = component.limits
        change += old
        np.maximum(change, np.minimum(old, black), out=change)
        np.minimum(change, np.maximum(old, white), out=change)
        change -= old
    change *= weight
    change += old
    part[...] = np.clip(np.rint(change, out=change), 0, component.top, out=change)
    return mixed


def _reaches_frame(crop_from_frame: Float64, size: tuple[int, int], frame: Frame) -> bool:
    corners = np.array([(0, 0), (size[0], 0), (0, size[1]), size], dtype=np.float64)
    found = corners @ invert(crop_from_frame)[:, :2].T + invert(crop_from_frame)[:, 2]
    low, high = found.min(axis=0), found.max(axis=0)
    return bool(high[0] >= 0 and high[1] >= 0 and low[0] <= frame.width - 1 and low[1] <= frame.height - 1)


def warp_back(picture: Float32, crop_from_box: Float64, size: tuple[int, int]) -> Float32:
    """Crop space -> a box of the frame.

    Enlarging is bicubic (bilinear would soften the face in the frame); shrinking is low-passed first, or fine detail would
    alias and shimmer as the face moves. Pictures of one channel (masks) are always bilinear: a mask must not overshoot.

    picture: (h, w[, C]).  crop_from_box: (2, 3) affine.  size: (width, height) of the box. Outside the crop: 0.
    """
    if picture.ndim == 3:
        picture = _low_pass(picture, crop_from_box)
    flags = cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(picture, crop_from_box, size, flags=flags | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(warped, np.float32)


def _low_pass(picture: Float32, crop_from_box: Float64) -> Float32:
    """Gaussian whose sigma brings the crop's sampling to the frame's: sqrt(scale^2 - 1) / 2 crop px per frame px."""
    sigmas = []
    for axis in range(2):
        scale = float(np.linalg.norm(crop_from_box[axis, :2]))  # crop px along this crop axis per frame px
        sigmas.append(0.5 * max(scale**2 - 1, 0.0) ** 0.5)
    if max(sigmas) < 0.2:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigmas[0], 1e-3), sigmaY=max(sigmas[1], 1e-3)), np.float32)


ELLIPSE_CENTER = (0.5, 0.53)
"""x, y as shares of the crop: a little under the middle, where the FFHQ frame has the face."""
ELLIPSE_RADII = (0.44, 0.465)
"""Where the mask has fallen to zero. Inside the crop, so that its border is never seen."""


@lru_cache(maxsize=16)
def crop_mask(size: int, shape: Literal["ellipse", "square"], feather: float) -> Float32:
    """(size, size) weights: 1 over the face, falling smoothly to 0 before the crop's border.

    feather: width of the soft rim as a share of the crop. The result is shared between calls and read-only.
    """
    centers = (np.arange(size) + 0.5) / size
    y, x = centers[:, None], centers[None, :]
    if shape == "ellipse":
        # Distance to the rim, in shares of the crop, to first order: (1 - r) times the local radius.
        (cx, cy), (rx, ry) = ELLIPSE_CENTER, ELLIPSE_RADII
        radius = np.hypot((x - cx) / rx, (y - cy) / ry)
        inside = (1 - radius) * min(rx, ry)
    else:
        inside = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) - 1.0 / size
    mask = _smoothstep(inside / feather).astype(np.float32)
    mask.flags.writeable = False
    return mask


def _smoothstep(t: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, level at both ends: no visible edge where the rim begins or ends."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)
