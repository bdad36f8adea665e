"""Alignment: the similarity that brings five landmarks to the FFHQ template, and cutting the crop it describes.

A crop window has four parameters, ``(log-scale, angle, x, y)``, that describe the map from display to the 512-px template::

    M = [[s cos a, -s sin a, x],
         [s sin a,  s cos a, y]],   s = exp(log-scale)

It maps display px to px of the 512-px template frame. Crops of any size S show the same window: pixel *edges* scale by
S / 512, pixel centres by ``(p + 0.5) S / 512 - 0.5``.

Cut an aligned crop out of a frame: each plane is brought to the crop by itself, and only the crop becomes RGB.
"""

from __future__ import annotations

from math import ceil, floor, hypot, sqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from iconface_video.types import Float32, Float64, Frame, UInt8, VideoInfo
from iconface_video.video.components import Component, components_of, rgb_from_codes
from iconface_video.video.display_light import as_shown

TEMPLATE_SIZE = 512
"""px: the frame in which the template and the crop parameters are given."""

TEMPLATE_512: Float64 = np.array(
    [(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)], dtype=np.float64
)
"""(5, 2) where eyes, nose tip and mouth corners stand in the FFHQ frame at 512 px."""
TEMPLATE_512.flags.writeable = False

_MARGIN_PX = 4
"""Source pixels read beyond a crop's edge, so that interpolation never sees the border of the box."""


def estimate_parameters(landmarks: ArrayLike, weights: ArrayLike | None = None) -> Float64:
    """Least-squares similarity (never a reflection) from landmarks to the template.

    The closed form of Umeyama 1991 in the plane: with points as complex numbers about their means, scale and turn are
    ``sum(conj(p) q) / sum(|p|^2)``.

    landmarks: (..., 5, 2) display px.  weights: (..., 5) of the points, None for equal ones.
    Returns (..., 4): log-scale, angle (rad), x, y. Raises ValueError when the landmarks fall on one point.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape[-2:] != (5, 2):
        raise ValueError(f"landmarks are (..., 5, 2), got {points.shape}")
    share = np.ones(points.shape[:-1]) if weights is None else np.asarray(weights, dtype=np.float64)
    share = share / share.sum(axis=-1, keepdims=True)
    source = points[..., 0] + 1j * points[..., 1]
    target = TEMPLATE_512[:, 0] + 1j * TEMPLATE_512[:, 1]
    source_mean = (share * source).sum(axis=-1, keepdims=True)
    target_mean = (share * target).sum(axis=-1, keepdims=True)
    centered = source - source_mean
    spread = (share * np.abs(centered) ** 2).sum(axis=-1)
    turn = (share * centered.conj() * (target - target_mean)).sum(axis=-1)
    if np.any(spread < 1e-12) or np.any(np.abs(turn) < 1e-12):
        raise ValueError("landmarks fall on one point (or mirror the template): no similarity brings them to it")
    turn = turn / spread
    shift = target_mean[..., 0] - turn * source_mean[..., 0]
    return np.stack([np.log(np.abs(turn)), np.angle(turn), shift.real, shift.imag], axis=-1)


def matrix_from_parameters(parameters: ArrayLike) -> Float64:
    """(..., 4) parameters -> (..., 2, 3) template512_from_display."""
    log_scale, angle, x, y = np.moveaxis(np.asarray(parameters, dtype=np.float64), -1, 0)
    cos, sin = np.exp(log_scale) * np.cos(angle), np.exp(log_scale) * np.sin(angle)
    return np.stack([np.stack([cos, -sin, x], axis=-1), np.stack([sin, cos, y], axis=-1)], axis=-2)


def widened(parameters: ArrayLike, scale: float) -> Float64:
    """Parameters (..., 4) of the window `scale` times as wide about its middle."""
    found = np.array(parameters, dtype=np.float64)
    if scale != 1:
        middle = TEMPLATE_SIZE / 2
        found[..., 0] -= np.log(scale)
        found[..., 2:] = middle + (found[..., 2:] - middle) / scale
    return found


def compose(outer: ArrayLike, inner: ArrayLike) -> Float64:
    """``outer @ inner`` of two (2, 3) affines: first `inner`, then `outer`."""
    after, before = np.asarray(outer, dtype=np.float64), np.asarray(inner, dtype=np.float64)
    return _affine(after[:, :2] @ before[:, :2], after[:, :2] @ before[:, 2] + after[:, 2])


def invert(matrix: ArrayLike) -> Float64:
    """Inverse of a (2, 3) affine. Written out: LAPACK takes ten times as long over so small a matrix."""
    (a, b, x), (c, d, y) = np.asarray(matrix, dtype=np.float64).tolist()
    whole = a * d - b * c
    if whole == 0:
        raise np.linalg.LinAlgError("Singular matrix")
    return np.array([[d / whole, -b / whole, (b * y - d * x) / whole], [-c / whole, a / whole, (c * x - a * y) / whole]])


def _affine(linear: NDArray[Any], shift: NDArray[Any]) -> Float64:
    """(2, 2) and (2,) as (2, 3); a dozen are made for every face of every frame, and numpy's own stacking is slow."""
    matrix = np.empty((2, 3))
    matrix[:, :2], matrix[:, 2] = linear, shift
    return matrix


def transform_points(matrix: ArrayLike, points: ArrayLike) -> Float64:
    """Apply a (2, 3) affine to (..., 2) points."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ m[:, :2].T + m[:, 2]


def scaling(factor_x: float, factor_y: float | None = None) -> Float64:
    """(2, 3) that resizes a picture: pixel edges scale by the factors, so centres go to ``(p + 0.5) f - 0.5``."""
    fx, fy = factor_x, factor_x if factor_y is None else factor_y
    return np.array([[fx, 0.0, 0.5 * fx - 0.5], [0.0, fy, 0.5 * fy - 0.5]])


def crop_from_display(parameters: ArrayLike, size: int) -> Float64:
    """(4,) parameters -> (2, 3) affine from display px to px of a crop of `size` px."""
    return compose(scaling(size / TEMPLATE_SIZE), matrix_from_parameters(parameters))


def crop_from_frame(parameters: ArrayLike, size: int, info: VideoInfo) -> Float64:
    """(4,) parameters -> (2, 3) affine from frame px (stored: turned, perhaps with non-square pixels) to crop px."""
    return compose(crop_from_display(parameters, size), info.display_from_frame)


def source_box(matrix: ArrayLike, size: int | tuple[int, int], picture_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a picture that a crop reads, clipped to the picture: x0, y0, x1, y1 with exclusive edges.

    matrix: (2, 3) crop_from_picture.  size: of the crop, one side or (width, height).  picture_size: (width, height) px.
    Never empty: a crop that lies wholly outside gets the nearest pixels of the picture.
    """
    width, height = picture_size
    found = _window(matrix, (size, size) if isinstance(size, int) else size)
    margin = _MARGIN_PX + max(1.0, _source_per_crop_px(matrix))
    (left, top), (right, bottom) = (found.min(axis=0) - margin).tolist(), (found.max(axis=0) + margin).tolist()
    (x0, x1), (y0, y1) = (
        _within(floor(low), ceil(high) + 1, most) for low, high, most in ((left, right, width), (top, bottom, height))
    )
    return x0, y0, x1, y1


def _within(low: int, high: int, most: int) -> tuple[int, int]:
    """[low, high) clipped to [0, most), never empty."""
    begin = min(max(low, 0), most - 1)
    return begin, min(max(high, begin + 1), most)


def cut_crop(
    rgb: NDArray[Any], matrix: ArrayLike, size: int | tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> NDArray[Any]:
    """Cut a crop out of a picture, anti-aliased where it shrinks.

    rgb: (h, w, 3) or (h, w), uint8 or float32.  matrix: (2, 3) crop_from_picture.  size: one side or (width, height).
    origin: (x, y) in the picture of `rgb`'s first pixel, when only a box of the picture was converted (`source_box`).
    Shrinking averages areas first (what is left to the interpolation is a scale of about one); enlarging is bicubic.
    Beyond the picture it is mirrored (the edge pixel is not repeated); a window that reaches out further than the mirror
    does gets the edge pixels repeated.
    Returns (height, width[, 3]) of rgb's dtype; float32 results are clipped to the input's range.
    """
    if rgb.dtype not in (np.uint8, np.float32) or rgb.ndim not in (2, 3):
        raise ValueError(f"a picture to cut from is uint8 or float32, (h, w[, 3]), got {rgb.dtype} {rgb.shape}")
    crop_size = (size, size) if isinstance(size, int) else size
    here = compose(matrix, [[1.0, 0.0, origin[0]], [0.0, 1.0, origin[1]]])
    x0, y0, x1, y1 = source_box(here, crop_size, (rgb.shape[1], rgb.shape[0]))
    part = rgb[y0:y1, x0:x1]
    here = compose(here, [[1.0, 0.0, x0], [0.0, 1.0, y0]])
    part, part_from_box = _shrink(part, here)
    here = compose(here, invert(part_from_box))
    crop = cv2.warpAffine(part, here, crop_size, flags=cv2.INTER_CUBIC, borderMode=_border(here, crop_size, part.shape))
    if rgb.dtype == np.float32:
        np.clip(crop, float(part.min()), float(part.max()), out=crop)
    return crop


def crop_to_show(rgb: UInt8, matrix: ArrayLike, size: int, beyond: int = 64) -> UInt8:
    """As `cut_crop`, for people to look at: beyond the picture there is a grey, not the face once more in a mirror.

    rgb: (h, w, 3).  beyond: the grey level.  Returns (size, size, 3).
    """
    crop = np.asarray(cut_crop(rgb, matrix, size), np.uint8)
    inside = cv2.warpAffine(
        np.ones(rgb.shape[:2], np.uint8), np.asarray(matrix, np.float64), (size, size), flags=cv2.INTER_NEAREST
    )
    crop[inside == 0] = beyond
    return crop


def _window(matrix: ArrayLike, crop_size: tuple[int, int]) -> Float64:
    """(4, 2) corners of the crop, in the picture."""
    right, bottom = crop_size[0] - 0.5, crop_size[1] - 0.5
    return transform_points(invert(matrix), [(-0.5, -0.5), (right, -0.5), (-0.5, bottom), (right, bottom)])


def _border(matrix: Float64, crop_size: tuple[int, int], shape: tuple[int, ...]) -> int:
    """OpenCV's border mode: it mirrors again and again for places far outside, which takes minutes."""
    corners = _window(matrix, crop_size)
    side = np.array([shape[1], shape[0]])
    reach = np.maximum(-corners.min(axis=0), corners.max(axis=0) - side + 1) + _MARGIN_PX
    return int(cv2.BORDER_REFLECT_101 if (reach < side - 1).all() else cv2.BORDER_REPLICATE)


def _source_per_crop_px(matrix: ArrayLike) -> float:
    """How many source px the crop's pixel spans along its worst direction."""
    (a, b), (c, d) = np.asarray(matrix, dtype=np.float64)[:, :2].tolist()
    # Of the singular values, the larger one divided by their product.
    squares = a * a + b * b + c * c + d * d
    apart = hypot(a * a + b * b - c * c - d * d, 2 * (a * c + b * d))
    return sqrt((squares + apart) / 2) / abs(a * d - b * c)


def _shrink(picture: NDArray[Any], matrix: Float64) -> tuple[NDArray[Any], Float64]:
    """Area-average the picture so far that `matrix` has a scale of about one along each of the picture's axes."""
    height, width = picture.shape[:2]
    scale_x, scale_y = np.minimum(np.linalg.norm(matrix[:, :2], axis=0), 1.0)
    small = max(1, round(width * scale_x)), max(1, round(height * scale_y))
    if small == (width, height):
        return picture, scaling(1.0)
    shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return shrunk, scaling(small[0] / width, small[1] / height)


def cut_from_frame(frame: Frame, crop_from_frame: Float64, size: int) -> UInt8:
    """(size, size, 3) RGB as a screen shows it (`video.display_light`). The same frame and transform always give the same bytes:
    render cuts again what restore cut.
    """
    return as_shown(cut_codes(frame, crop_from_frame, size), frame.color)


def cut_codes(frame: Frame, crop_from_frame: Float64, size: int) -> Float32:
    """(size, size, 3) the video's own R'G'B', 0..1 inside the gamut."""
    codes = [_cut_component(frame, component, crop_from_frame, size) for component in components_of(frame)]
    return rgb_from_codes(frame, codes)


def _cut_component(frame: Frame, component: Component, crop_from_frame: Float64, size: int) -> Float32:
    """(size, size) codes of one plane, not rounded."""
    plane = frame.planes[component.plane]
    matrix = compose(crop_from_frame, component.frame_from_plane)
    x0, y0, x1, y1 = source_box(matrix, size, (plane.shape[1], plane.shape[0]))
    part = plane[y0:y1, x0:x1].astype(np.float32)
    return np.asarray(cut_crop(part, matrix, size, origin=(x0, y0)), np.float32)
