"""The single operations that the online mix is made of: each takes and gives uint8 (h, w, 3) RGB and is a pure function of its arguments.

Lengths are px of the picture that is given, noise is in grey levels.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from iconface_video.types import Float32, UInt8

_INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)

BlurKind = Literal["iso", "aniso", "generalized", "plateau"]


def blur_kernel(kind: BlurKind, sigma: float, ratio: float, angle: float, beta: float = 1.0) -> Float32:
    """(k, k) kernel, sum 1: a Gaussian with deviations `sigma` and `sigma * ratio` turned by `angle` (rad).

    `beta` shapes the "generalized" (exp of a power) and "plateau" (flat top) kinds of Real-ESRGAN (arXiv 2107.10833, 2.1).
    """
    radius = max(1, int(np.ceil(2.5 * sigma)))
    grid = np.arange(-radius, radius + 1, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    along = (x * np.cos(angle) + y * np.sin(angle)) / sigma
    across = (-x * np.sin(angle) + y * np.cos(angle)) / (sigma * ratio)
    distance = along**2 + across**2
    if kind == "plateau":
        kernel = 1.0 / (1.0 + distance**beta)
    else:
        kernel = np.exp(-0.5 * distance ** (beta if kind == "generalized" else 1.0))
    return (kernel / kernel.sum()).astype(np.float32)


def sinc_kernel(cutoff: float, radius: int) -> Float32:
    """(k, k) circular low pass that rings (Real-ESRGAN eq. 6); `cutoff` in rad per px, within (0, pi]."""
    grid = np.arange(-radius, radius + 1, dtype=np.float64)
    x, y = np.meshgrid(grid, grid)
    distance = np.hypot(x, y) * cutoff
    kernel = np.where(distance < 1e-9, 0.5, _bessel_j1(distance) / np.maximum(distance, 1e-9))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _bessel_j1(x: np.ndarray) -> np.ndarray:
    """Bessel function J1 by its integral over 32 midpoints, good to 1e-6 for the arguments that occur (below 30)."""
    angle = (np.arange(32) + 0.5) * np.pi / 32
    return np.asarray(np.cos(angle - x[..., None] * np.sin(angle)).mean(-1))


def blur(image: UInt8, kernel: Float32) -> UInt8:
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), dtype=np.uint8)


def resize(image: UInt8, width: int, height: int, rng: np.random.Generator) -> UInt8:
    """Any of bilinear, bicubic, area: the three that Real-ESRGAN draws from."""
    method = _INTERPOLATIONS[int(rng.integers(3))]
    return np.asarray(cv2.resize(image, (max(2, width), max(2, height)), interpolation=method), dtype=np.uint8)


def add_noise(
    image: UInt8, deviation: float, kind: Literal["gaussian", "poisson", "speckle"], grey: bool, rng: np.random.Generator
) -> UInt8:
    """Noise of about `deviation` grey levels at middle grey; poisson grows with the root of the light, speckle with the light itself."""
    height, width = image.shape[:2]
    noise = rng.standard_normal((height, width, 1 if grey else 3), dtype=np.float32) * np.float32(deviation)
    if kind != "gaussian":
        light = image.astype(np.float32) * np.float32(1 / 128)
        noise = noise * (np.sqrt(light) if kind == "poisson" else light)
    return to_uint8(image + noise)


def jpeg(image: UInt8, quality: int, subsampled: bool = True) -> UInt8:
    """Through JPEG; 4:2:0 when `subsampled`, else 4:4:4."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if subsampled else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    # OpenCV takes BGR; the order matters, as JPEG works on light and color.
    data = cv2.imencode(".jpg", image[:, :, ::-1], flags)[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # our own bytes
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def comb(image: UInt8, shift: float, drop: float) -> UInt8:
    """Interlace combing: the odd lines were taken 1/50 s later, `shift` px to the right and `drop` px down."""
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, shift], [0, 1, drop]], dtype=np.float64)
    later = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    combed = image.copy()
    combed[1::2] = later[1::2]
    return combed


def bleed_chroma(image: UInt8, width_px: float, shift: float, drop: float) -> UInt8:
    """Colour smeared over `width_px` along the line and displaced against the light: what tape formats do to chroma."""
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    height, width = image.shape[:2]
    color = ycc[:, :, 1:]
    if width_px >= 1:
        color = cv2.blur(color, (2 * int(width_px / 2) + 1, 1))
    matrix = np.array([[1, 0, shift], [0, 1, drop]], dtype=np.float64)
    ycc[:, :, 1:] = cv2.warpAffine(color, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def jitter_lines(image: UInt8, offsets: Float32) -> UInt8:
    """Each line moved sideways by its own (h,) offset in px: an unstable time base."""
    height, width = image.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :] + offsets.astype(np.float32)[:, None]
    y = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
    return np.asarray(
        cv2.remap(image, x, np.ascontiguousarray(y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
    )


def add_grain(image: UInt8, deviation: float, size: float, rng: np.random.Generator) -> UInt8:
    """Film grain: correlated over `size` px, mostly grey, strongest in the middle tones."""
    height, width = image.shape[:2]
    coarse = (max(2, round(height / size)), max(2, round(width / size)))
    grain = cv2.resize(rng.standard_normal(coarse, dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    tone = image.astype(np.float32)
    weight = tone * (255 - tone) * np.float32(4 / 255**2) * np.float32(0.8) + np.float32(0.2)
    return to_uint8(tone + (grain * np.float32(deviation))[:, :, None] * weight)


def fade(image: UInt8, contrast: float, lift: float, cast: Float32) -> UInt8:
    """Faded stock: contrast shrinks to `contrast`, blacks rise by `lift` grey levels, each channel is multiplied by `cast` (3,)."""
    table = np.arange(256, dtype=np.float32)[:, None] * np.float32(contrast) * cast.astype(np.float32)[None, :] + np.float32(
        lift
    )
    return np.asarray(cv2.LUT(image, to_uint8(table)[None]), dtype=np.uint8)


def band(image: UInt8, levels: int) -> UInt8:
    """Only `levels` steps of light and of each colour remain."""
    step = 255.0 / (levels - 1)
    table = to_uint8(np.round(np.arange(256) / step) * step)
    ycc = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb), table)
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def block_codec(image: UInt8, quality: int, offset: tuple[int, int]) -> UInt8:
    """Looks like a video codec's blocks: 4:2:0 JPEG whose grid starts at `offset` px, the crop being cut anywhere in a frame."""
    top, left = offset
    padded = np.pad(image, ((top, 0), (left, 0), (0, 0)), mode="edge")
    return np.ascontiguousarray(jpeg(padded, quality)[top:, left:])


def to_uint8(values: np.ndarray) -> UInt8:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
