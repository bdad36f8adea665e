"""The contact sheet: who is in a clip, as one HTML page that needs nothing else, and as one picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iconface_video.faces.align import crop_from_display, crop_to_show
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.people_summary import Moment, PersonSummary, clip_seconds, summarise_people, timecode
from iconface_video.pages.html import data_url, fill
from iconface_video.types import UInt8
from iconface_video.video.pictures import jpeg

CROP_SIZE = 160
"""px: shown at 112 on the page, so that they are sharp on dense screens."""
_JPEG_QUALITY = 85


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """All that is shown, as HTML (`to_html`) or as a picture (`draw`)."""

    clip: str
    """File name."""
    seconds: float
    """Length of the clip."""
    shot_count: int
    people: tuple[PersonSummary, ...]
    crops: Mapping[tuple[int, int], UInt8]
    """(track id, row) -> (CROP_SIZE, CROP_SIZE, 3) RGB."""
    notes: tuple[str, ...] = ()

    def crop(self, moment: Moment) -> UInt8:
        return self.crops[moment.track_id, moment.row]

    @property
    def headline(self) -> str:
        """ "3 people in 0:01:10.0 and 12 shots"."""
        count = sum(person.person is not None for person in self.people)
        people = f"{count} {'person' if count == 1 else 'people'}" if count else "No face was found"
        shots = f"{self.shot_count} shot{'' if self.shot_count == 1 else 's'}"
        return f"{people} in {timecode(self.seconds)} and {shots}"


def make_sheet(
    choice: ChosenPeople,
    display_at: Callable[[int], UInt8],
    notes: Sequence[str] = (),
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ContactSheet:
    """Cut the pictures that are shown. display_at: PTS -> the upright frame; asked in presentation order."""
    people = summarise_people(choice)
    tracks = {track.track_id: track for track in choice.survey.tracks}
    wanted = sorted((moment for person in people for moment in person.moments), key=lambda moment: moment.pts)
    crops: dict[tuple[int, int], UInt8] = {}
    for done, moment in enumerate(wanted):
        matrix = crop_from_display(tracks[moment.track_id].parameters[moment.row], CROP_SIZE)
        crops[moment.track_id, moment.row] = crop_to_show(display_at(moment.pts), matrix, CROP_SIZE)
        on_done(done + 1, len(wanted))
    survey = choice.survey
    return ContactSheet(survey.info.path.name, clip_seconds(survey), len(survey.shots), people, crops, tuple(notes))


def to_html(sheet: ContactSheet) -> str:
    """One page with its pictures inside; follows the reader's light or dark setting."""
    return fill(
        "people.html",
        {
            "title": f"Who is in {sheet.clip}",
            "sheet": sheet,
            "length": timecode(sheet.seconds),
            "cards": [_card(sheet, person) for person in sheet.people],
        },
    )


def _card(sheet: ContactSheet, person: PersonSummary) -> dict[str, object]:
    """What the template tells of one person."""
    facts = (
        ("screen time", f"{person.seconds:.1f} s"),
        ("first", timecode(person.first_seconds)),
        ("last", timecode(person.last_seconds)),
        ("tracks", str(len(person.tracks))),
        ("shots", str(person.shot_count)),
        ("face", f"{person.face_px:.0f} px"),
        ("quality", f"{person.quality:.2f}"),
    )
    return {
        "person": person,
        "badges": _badges(person),
        "facts": facts,
        "bars": _bars(person, sheet.seconds),
        "seen": "; ".join(f"{timecode(first)} to {timecode(last)}" for first, last in person.spans[:40]),
        "pictures": [
            (moment.number, timecode(moment.seconds), data_url(jpeg(sheet.crop(moment), _JPEG_QUALITY)))
            for moment in person.moments
        ],
        "more": len(person.tracks) - len({moment.track_id for moment in person.moments}),
    }


def _badges(person: PersonSummary) -> list[str]:
    badges = []
    if person.name and person.person is not None:
        badges.append(f"person {person.person + 1}")
    if person.is_skipped:
        badges.append("skipped")
    if person.photo_count:
        badges.append(f"{person.photo_count} photo{'s' if person.photo_count > 1 else ''} given")
    return badges


def _bars(person: PersonSummary, clip_length: float) -> list[tuple[str, str]]:
    """(left, width) of each stretch in which the person is seen, in thousandths of the clip; narrow ones stay visible."""
    length = max(clip_length, 1e-3)
    return [(f"{1000 * first / length:.1f}", f"{max(1000 * (last - first) / length, 3):.1f}") for first, last in person.spans]


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
