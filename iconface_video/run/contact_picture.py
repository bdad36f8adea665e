"""The contact sheet as one picture, to be looked at without a browser."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iconface_video.identity.people_summary import PersonSummary, timecode
from iconface_video.run.contact_sheet import ContactSheet
from iconface_video.types import UInt8

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GROUND, _INK, _SOFT, _LINE, _BAR = (248, 247, 244), (29, 28, 26), (93, 90, 84), (216, 213, 206), (47, 111, 178)
_PICTURES = 8
"""In one row: the best; the HTML page has them all."""
_SIDE, _GAP, _MARGIN = 128, 10, 28
_WIDTH = 2 * _MARGIN + _PICTURES * _SIDE + (_PICTURES - 1) * _GAP
_HEAD, _ROW = 84, 56 + _SIDE + 22 + 34
_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc", "LiberationSans-Regular.ttf")


def draw(sheet: ContactSheet) -> UInt8:
    """(h, 1150, 3) RGB: one row of pictures and a timeline for each person."""
    height = _HEAD + max(1, len(sheet.people)) * _ROW + _MARGIN // 2
    picture = Image.new("RGB", (_WIDTH, height), _GROUND)
    pen = ImageDraw.Draw(picture)
    _write(pen, (_MARGIN, 20), f"Who is in {sheet.clip}", 24, _INK)
    _write(pen, (_MARGIN, 52), sheet.headline, 15, _SOFT)
    for index, person in enumerate(sheet.people):
        _draw_person(picture, pen, _HEAD + index * _ROW, sheet, person)
    return np.asarray(picture)


def _draw_person(picture: Image.Image, pen: ImageDraw.ImageDraw, top: int, sheet: ContactSheet, person: PersonSummary) -> None:
    pen.line([(_MARGIN, top), (_WIDTH - _MARGIN, top)], fill=_LINE)
    title = person.title + (f"  (person {person.person + 1})" if person.name and person.person is not None else "")
    _write(pen, (_MARGIN, top + 8), title + ("  - skipped" if person.is_skipped else ""), 18, _INK)
    _write(pen, (_MARGIN, top + 32), person.facts, 13, _SOFT)
    best = sorted(sorted(person.moments, key=lambda item: -item.quality)[:_PICTURES], key=lambda item: item.pts)
    for column, moment in enumerate(best):
        x, y = _MARGIN + column * (_SIDE + _GAP), top + 56
        crop = Image.fromarray(np.ascontiguousarray(sheet.crop(moment))).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        picture.paste(crop.convert("L").convert("RGB") if person.is_skipped else crop, (x, y))
        _write(pen, (x, y + _SIDE + 3), f"track {moment.number}  {timecode(moment.seconds)}", 11, _SOFT, _SIDE)
    _draw_timeline(pen, top + 56 + _SIDE + 26, sheet, person)


def _draw_timeline(pen: ImageDraw.ImageDraw, top: int, sheet: ContactSheet, person: PersonSummary) -> None:
    length, width = max(sheet.seconds, 1e-3), _WIDTH - 2 * _MARGIN
    pen.rectangle([_MARGIN, top, _MARGIN + width, top + 8], fill=_LINE)
    for first, last in person.spans:
        left, right = (_MARGIN + width * moment / length for moment in (first, last))
        pen.rectangle([left, top, max(left + 2, right), top + 8], fill=_BAR)


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, color: Color, width: int = _WIDTH - 2 * _MARGIN
) -> None:
    """A line that is cut off with dots where it is too long."""
    font, spell = _font(size)
    text = spell(text)
    while len(text) > 1 and pen.textlength(text, font=font) > width:
        text = text.removesuffix("...")[:-1].rstrip() + "..."
    pen.text(place, text, font=font, fill=color)


@lru_cache(maxsize=8)
def _font(size: int) -> tuple[Font, Callable[[str], str]]:
    """A font of the system; without one Pillow's own, for which letters lose their accents."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size), str
        except OSError:
            continue
    return ImageFont.load_default(size), _plain_letters


def _plain_letters(text: str) -> str:
    """ "Zoë" -> "Zoe"; what has no plain form becomes a question mark."""
    split = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in split if not unicodedata.combining(letter)).encode("ascii", "replace").decode()
