"""The report folder: what stands in it can be read back by other programs."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from iconface_video.errors import OutputError
from iconface_video.pages.plots import Line, Plot, Row, Sheet
from iconface_video.pages.tables import Note, Report, Table, Value, check_folder, write_report


class Reader(HTMLParser):
    """Collects cells of tables and everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.fetched: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        self.fetched += [value for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


def picture(red: int) -> np.ndarray:
    return np.full((32, 32, 3), (red, 0, 0), np.uint8)


@pytest.fixture
def report() -> Report:
    made = Report("Faces & <figures>", "iconface-video evaluate --data x", 7, {"size": 32, "data": ("x",)})
    made.figures["psnr"] = float("nan")
    made.attachments["faces.csv"] = "face,psnr\nanna,27.8\n"
    section = made.section("One", "First.\n\nSecond.")
    section.add(
        Table("numbers", ("", "PSNR", "faces"), (("input", Value(27.81234, 0.25, 2), 3), ("a < b", None, 0)), "What it says."),
        Plot("curve", "Curve", "strength", "dB", (Line("input", (4, 8), (27.0, 26.0), (0.1, None)),)),
        Sheet("faces", ("input", "truth"), (Row("anna", (picture(10), picture(200))), Row("ben", (picture(20), None)))),
        Note("Left out.", warning=True),
    )
    return made


def test_json_holds_the_figures_with_all_digits(report, tmp_path):
    write_report(report, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    table = found["sections"][0]["items"][0]
    assert table["rows"][0] == ["input", {"mean": 27.81234, "error": 0.25}, 3]
    assert (found["seed"], found["settings"]["size"], found["figures"]["psnr"]) == (7, 32, None)
    assert {"torch", "numpy"} <= set(found["libraries"])


def test_page_shows_the_table_and_fetches_only_files_beside_it(report, tmp_path):
    html = write_report(report, tmp_path / "out")
    reader = Reader()
    reader.feed(html.read_text(encoding="utf-8"))
    assert ["input", "27.81 ± 0.25", "3"] in reader.rows
    assert ["a < b", "–", "0"] in reader.rows
    assert len(reader.fetched) >= 4
    assert all((html.parent / name).is_file() for name in reader.fetched)
    assert "faces.csv" in reader.fetched


def test_sheet_holds_the_pictures_under_headings(report, tmp_path):
    write_report(report, tmp_path / "out")
    sheet = cv2.imread(str(tmp_path / "out" / "pictures" / "faces.png"))[..., ::-1].astype(int)
    assert sheet.shape[1] >= 64
    for red in (10, 200, 20):
        count = (np.abs(sheet - (red, 0, 0)).max(axis=2) <= 4).sum()
        assert count >= 0.8 * 32 * 32, f"the picture with red {red} is missing"
    assert (sheet[:20] < 128).any(), "no heading was written"


def test_a_full_folder_is_refused_unless_forced(report, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not empty"):
        check_folder(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.png").write_text("keep me")
    write_report(report, tmp_path, force=True)
    made = set((tmp_path / "pictures").iterdir())
    assert (tmp_path / "mine.txt").read_text() == "keep me"
    assert (tmp_path / "pictures" / "holiday.png").read_text() == "keep me"
    write_report(Report("another", "", 0, {}), tmp_path, force=True)
    assert [path.name for path in made if path.exists()] == ["holiday.png"]


def test_value_is_mean_and_standard_error_of_what_is_finite():
    value = Value.of([1.0, 3.0, math.nan])
    assert value is not None
    assert (value.mean, value.error) == (2.0, pytest.approx(1.0))  # s = sqrt(2), n = 2
    assert Value.of([math.nan]) is None


def test_names_must_differ(report, tmp_path):
    report.sections[0].add(Table("numbers", ("",), ()))
    with pytest.raises(ValueError, match="used twice"):
        write_report(report, tmp_path)


def test_a_row_must_fit_its_headings():
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ("", "a"), (("x",),))
