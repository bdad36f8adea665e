"""Pages from templates: what is put in stays text, what is forgotten is an error, every page has the one style."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from iconface_video.pages.html import Slide, clock, compare_page, fill
from iconface_video.pages.tables import Note, Report, Table, to_html

NASTY = """</style><script>alert("1")</script> & 'x'"""


@pytest.fixture(params=["compare", "report"])
def page(request) -> str:
    """With the nasty text in every place that takes one."""
    if request.param == "compare":
        return compare_page(NASTY, (NASTY, NASTY), (64, 48), [Slide(NASTY, NASTY, NASTY)], [NASTY])
    report = Report(NASTY, NASTY, 7, {NASTY: NASTY}, summary=NASTY, settings_title=NASTY)
    table = Table("t", (NASTY, NASTY), ((NASTY, NASTY),), caption=NASTY)
    report.section(NASTY, NASTY).add(table, Note(NASTY))
    return to_html(report)


def test_what_is_put_in_stays_text(page):
    assert "alert(" in page
    assert "<script>alert" not in page
    assert page.count("</style>") == 1
    assert '"1"' not in page


def test_every_page_follows_the_readers_light_or_dark(page):
    assert page.startswith("<!doctype html>")
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page


def test_a_forgotten_value_is_an_error_not_an_empty_place():
    with pytest.raises(UndefinedError, match="labels"):
        fill("compare.html", {"title": "a", "slides": [], "notes": []})


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00.00"), (123.5, "2:03.50"), (3723.499, "1:02:03.50")])
def test_clock(seconds, text):
    assert clock(seconds) == text
