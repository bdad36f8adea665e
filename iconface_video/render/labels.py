"""Names on pictures: white letters on a dark, soft-cornered plate."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iconface_video.types import Float32, Frame
from iconface_video.video.color import blend_rgb, grow_box

_HEIGHT_SHARE, _LEAST_PX = 0.036, 12
_PLATE = 0.6
_HDR_TRANSFERS = (16, 18)
"""PQ and HLG: full scale there is a searchlight; letters get about the light of paper instead."""


def label_height(frame_height: int) -> int:
    """Of the letters, px."""
    return max(_LEAST_PX, round(frame_height * _HEIGHT_SHARE))


@lru_cache(maxsize=32)
def _plate(text: str, letters_px: int, most_px: int, aspect: Fraction) -> tuple[Float32, Float32]:
    """(h, w) lightness and (h, w) weight of a label, no wider than `most_px`."""
    font = ImageFont.load_default(letters_px)
    pad = max(3, letters_px // 2)
    text = shortened(text, lambda part: font.getlength(part) + 2 * pad <= most_px * float(aspect))
    width, height = int(font.getlength(text)) + 2 * pad, int(letters_px * 1.35) + pad
    drawn = Image.new("L", (width, height), 0)
    ImageDraw.Draw(drawn).text((pad, height / 2), text, fill=255, font=font, anchor="lm")
    plate = Image.new("L", (width, height), 0)
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, width - 1, height - 1), radius=pad, fill=255)
    letters, ground = (np.asarray(layer, np.float32) / 255 for layer in (drawn, plate))
    weight = np.maximum(letters, np.float32(_PLATE) * ground)
    light = np.divide(letters, weight, out=np.zeros_like(letters), where=weight > 0)
    if aspect != 1:
        size = (max(1, round(width / float(aspect))), height)
        light, weight = (np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_AREA)) for layer in (light, weight))
    return light, weight


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """The text, or its beginning and end around an ellipsis, so that `fits(text)`."""
    if fits(text):
        return text
    for kept in range(len(text) - 1, 1, -1):
        part = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if fits(part):
            return part
    return text[:1]


def put_label(
    frame: Frame, text: str, left: int, right: int, *, at_right: bool = False, aspect: Fraction = Fraction(1)
) -> Frame:
    """The frame with a label at the top of the part left..right (px), at its left or right end; unchanged where it is too narrow.

    aspect: shape of one pixel, width to height.
    """
    letters = label_height(frame.height)
    margin = letters // 2
    room = right - left - 2 * margin
    if not text or room < 3 * letters:
        return frame
    light, weight = _plate(text, letters, room, aspect)
    height, width = weight.shape
    height = min(height, frame.height - margin)
    if height <= 0 or width > room:
        return frame
    x = right - margin - width if at_right else left + margin
    box = grow_box(frame, (x, margin, x + width, margin + height))
    whole_light, whole_weight = (np.zeros((box[3] - box[1], box[2] - box[0]), np.float32) for _ in range(2))
    rows, columns = slice(margin - box[1], margin - box[1] + height), slice(x - box[0], x - box[0] + width)
    whole_light[rows, columns], whole_weight[rows, columns] = light[:height], weight[:height]
    white = np.float32(0.6 if frame.color.transfer in _HDR_TRANSFERS else 1.0)
    return blend_rgb(frame, box, np.repeat((white * whole_light)[..., None], 3, axis=2), whole_weight)
