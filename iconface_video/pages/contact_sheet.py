"""The contact sheet: who is in a clip, as one HTML page that needs nothing else.

The contact sheet as one picture, to be looked at without a browser.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iconface_video.faces.align import crop_from_display, crop_to_show
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.people_summary import Moment, PersonSummary, clip_seconds, summarise_people, timecode
from iconface_video.types import UInt8

CROP_SIZE = 160
"""px: shown at 112 on the page, so that they are sharp on dense screens."""
_JPEG_QUALITY = 85


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """All that is shown, as HTML (`to_html`) or as a picture (`contact_picture.draw`)."""

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
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    return _PAGE.format(
        title=escape(f"Who is in {sheet.clip}"),
        headline=escape(sheet.headline),
        style=_STYLE,
        notes=f'<ul class="notes">{notes}</ul>' if notes else "",
        people="\n".join(_person(sheet, person) for person in sheet.people),
    )


def _person(sheet: ContactSheet, person: PersonSummary) -> str:
    marks = []
    if person.name and person.person is not None:
        marks.append(f"person {person.person + 1}")
    if person.is_skipped:
        marks.append("skipped")
    if person.photo_count:
        marks.append(f"{person.photo_count} photo{'s' if person.photo_count > 1 else ''} given")
    badges = "".join(f'<span class="badge">{escape(mark)}</span>' for mark in marks)
    rows = (
        ("screen time", f"{person.seconds:.1f} s"),
        ("first", timecode(person.first_seconds)),
        ("last", timecode(person.last_seconds)),
        ("tracks", str(len(person.tracks))),
        ("shots", str(person.shot_count)),
        ("face", f"{person.face_px:.0f} px"),
        ("quality", f"{person.quality:.2f}"),
    )
    facts = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
    pictures = "".join(_picture(sheet, person, moment) for moment in person.moments)
    shown = len({moment.track_id for moment in person.moments})
    more = len(person.tracks) - shown
    rest = f'<p class="more">and {more} more track{"s" if more > 1 else ""}</p>' if more else ""
    skipped = " skipped" if person.is_skipped else ""
    return (
        f'<section class="person{skipped}"><h2>{escape(person.title)} {badges}</h2><dl>{facts}</dl>'
        f'{_timeline(sheet, person)}<div class="pictures">{pictures}</div>{rest}</section>'
    )


def _picture(sheet: ContactSheet, person: PersonSummary, moment: Moment) -> str:
    when = timecode(moment.seconds)
    return (
        f'<figure><img src="{_data_uri(sheet.crop(moment))}" width="112" height="112" '
        f'alt="{escape(person.title, quote=True)} at {when}">'
        f"<figcaption><b>track {moment.number}</b> {when}</figcaption></figure>"
    )


def _timeline(sheet: ContactSheet, person: PersonSummary) -> str:
    """When the person is seen, over the whole clip."""
    length = max(sheet.seconds, 1e-3)
    bars = "".join(
        f'<rect x="{1000 * first / length:.1f}" y="0" width="{max(1000 * (last - first) / length, 3):.1f}" height="10"/>'
        for first, last in person.spans
    )
    when = "; ".join(f"{timecode(first)} to {timecode(last)}" for first, last in person.spans[:40])
    return (
        f'<div class="time"><svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        f'aria-label="seen {when}"><title>{when}</title>{bars}</svg>'
        f"<span>0:00:00</span><span>{timecode(sheet.seconds)}</span></div>"
    )


def _data_uri(picture: UInt8) -> str:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


_STYLE = """
:root { color-scheme: light dark; --ground: #f6f5f2; --card: #ffffff; --ink: #1d1c1a; --soft: #5d5a54; --line: #dcd9d2;
        --bar: #2f6fb2; --badge: #e8eef5; --badge-ink: #24507f; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #161719; --card: #202225; --ink: #eceae6; --soft: #a9a69f; --line: #383b40;
          --bar: #6ea8e0; --badge: #2a3848; --badge-ink: #b9d5f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem; background: var(--ground); color: var(--ink);
       font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; } h1 + p { margin: .2rem 0 1.2rem; color: var(--soft); }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
.person { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; margin: 0 0 1rem; }
.skipped img { filter: grayscale(1); opacity: .6; }
.badge { font-size: .75rem; font-weight: 500; background: var(--badge); color: var(--badge-ink); border-radius: 99px;
         padding: .15rem .6rem; margin-left: .3rem; vertical-align: middle; white-space: nowrap; }
dl { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; margin: 0 0 .7rem; }
dl div { min-width: 4.2rem; } dt { font-size: .75rem; color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; }
.time { display: grid; grid-template-columns: 1fr auto; font-size: .7rem; color: var(--soft); margin: 0 0 .8rem; }
.time svg { grid-column: 1 / 3; width: 100%; height: 10px; background: var(--line); border-radius: 5px; fill: var(--bar); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, 112px); gap: .6rem; }
figure { margin: 0; } img { display: block; border-radius: 6px; background: var(--line); }
figcaption { font-size: .72rem; color: var(--soft); font-variant-numeric: tabular-nums; } figcaption b { color: var(--ink); }
.notes { color: var(--soft); } .more { color: var(--soft); margin: .6rem 0 0; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{headline}. Names, merges and photos go into people.yaml beside this page.</p>
{notes}
{people}
</body>
</html>
"""


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
