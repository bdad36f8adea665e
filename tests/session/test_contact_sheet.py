"""The contact sheet: facts as the tracks have them, a page that needs nothing else, a picture."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.people_summary import MOMENTS, summarise_people, timecode
from iconface_video.pages.contact_sheet import CROP_SIZE, draw, make_sheet, to_html
from iconface_video.types import Shot
from tests.identity.test_evidence import Film, make_survey, make_track


@pytest.fixture
def chosen() -> ChosenPeople:
    """At 25 frames a second: person 1 in two shots (3 s), person 2 (2 s) skipped, a short track of nobody."""
    tracks = [
        make_track(0, 0, 50, quality=0.4, person=0), make_track(1, 100, 50, quality=0.8, person=1),
        replace(make_track(2, 500, 25, quality=0.6, person=0), shot=1), make_track(3, 300, 5, quality=0.1),
    ]  # fmt: skip
    tracks[0].quality[30] = 0.9
    survey = replace(make_survey(*tracks), shots=(Shot(0, 0, 499), Shot(1, 500, 999)))
    return ChosenPeople(survey, {0: "Ann <b>& Bo</b>"}, frozenset({1}), notes=("a note",))


def test_facts_are_those_of_the_tracks(chosen):
    first, second, nobody = summarise_people(chosen)
    assert (first.tracks, first.shot_count) == ((1, 3), 2)
    assert first.seconds == pytest.approx(3.0)
    assert (first.first_seconds, first.last_seconds) == pytest.approx((0.0, 21.0))
    assert first.spans == (pytest.approx((0.0, 2.0)), pytest.approx((20.0, 21.0)))
    assert (second.title, second.is_skipped) == ("Person 2", True)
    assert nobody.person is None
    assert nobody.tracks == (4,)
    assert "seen 3.0 s, 0:00:00.0 to 0:00:21.0, in 2 tracks and 2 shots" in first.facts


def test_every_track_is_shown_at_its_best(chosen):
    first = summarise_people(chosen)[0]
    assert {moment.number for moment in first.moments} == {1, 3}
    assert 30 in [moment.pts for moment in first.moments]
    assert [moment.pts for moment in first.moments] == sorted(moment.pts for moment in first.moments)
    many = [make_track(i, 20 * i, 10, quality=0.3 + 0.01 * i, person=0) for i in range(40)]
    crowd = summarise_people(ChosenPeople(make_survey(*many)))[0]
    assert len(crowd.moments) == MOMENTS
    assert min(moment.track_id for moment in crowd.moments) == 40 - MOMENTS


def test_pictures_are_cut_once_each_in_presentation_order(chosen):
    film = Film()
    sheet = make_sheet(chosen, film.at)
    assert film.asked == sorted(film.asked)
    assert all(crop.shape == (CROP_SIZE, CROP_SIZE, 3) for crop in sheet.crops.values())
    for person in sheet.people:
        for moment in person.moments:
            assert int(sheet.crop(moment)[0, 0, 0]) == moment.pts % 256


class Page(HTMLParser):
    """What a page refers to, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "img", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(chosen):
    html = to_html(make_sheet(chosen, Film().at))
    page = Page()
    page.feed(html)
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "http" not in html
    assert "prefers-color-scheme: dark" in html
    data = np.frombuffer(base64.b64decode(page.sources[0].partition(",")[2]), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (CROP_SIZE, CROP_SIZE, 3)


def test_names_are_text_and_marks_and_times_are_told(chosen):
    html = to_html(make_sheet(chosen, Film().at))
    assert "<b>& Bo" not in html
    page = Page()
    page.feed(html)
    for words in (
        "Ann <b>& Bo</b>",
        "person 1",
        "skipped",
        "track 3",
        "0:00:20.",
        "2 people in 0:00:40.0 and 2 shots",
        "Nobody",
    ):
        assert words in page.text, words


def test_the_timeline_stands_where_the_person_is_seen(chosen):
    html = to_html(make_sheet(chosen, Film().at))
    bars = [tuple(map(float, found)) for found in re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', html)]
    assert bars[0] == pytest.approx((0.0, 50.0), abs=0.2)
    assert bars[1] == pytest.approx((500.0, 25.0), abs=0.2)


def test_the_picture_has_a_row_for_each_and_greys_who_is_skipped(chosen):
    def red(pts: int) -> np.ndarray:
        return np.full((300, 300, 3), (200, 40, 40), np.uint8)

    picture = draw(make_sheet(chosen, red))
    one = draw(make_sheet(replace(chosen, survey=replace(chosen.survey, tracks=chosen.survey.tracks[:1])), red))
    assert picture.dtype == np.uint8
    assert picture.shape[1] == one.shape[1]
    assert picture.shape[0] > one.shape[0] + 300
    is_red = (picture[..., 0] > 150) & (picture[..., 1] < 80)
    rows = np.flatnonzero(is_red.any(axis=1))
    assert len(rows)
    assert np.diff(rows).max() > 150  # the skipped person's row stands between the other two


def test_no_face_is_a_sheet_too():
    sheet = make_sheet(ChosenPeople(make_survey()), Film().at)
    assert "No face was found" in to_html(sheet)
    assert draw(sheet).ndim == 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00.0"), (59.96, "0:00:59.9"), (62.3, "0:01:02.3"), (3723.45, "1:02:03.4")]
)
def test_times_are_written_as_start_takes_them(seconds, text):
    from iconface_video.cli.options import seconds as parse

    assert timecode(seconds) == text
    assert abs(float(parse(text)) - seconds) < 0.1 + 1e-6
