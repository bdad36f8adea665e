"""Recipes that are asked for what cannot be: refused before the work, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import InputError, OutputError, ReferencePhotoError, StoreError, UsageError
from iconface_video.identity.grouping import ReferenceChoice
from iconface_video.pages.html import check_page
from iconface_video.pages.tables import check_folder
from iconface_video.pipelines.compare import CompareRequest, compare_videos
from iconface_video.pipelines.estimate import dry_run
from iconface_video.pipelines.image import restore_faces, write_picture
from iconface_video.pipelines.render import render_store
from iconface_video.pipelines.survey import survey
from iconface_video.session.clip_session import ClipRequest

TAPE = Path(__file__).parents[2] / "samples" / "tape.mp4"


@pytest.mark.parametrize("shape", [(64, 48, 3), (1, 2, 3)], ids=str)
def test_an_aligned_face_that_is_not_square(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=f"an aligned face is square, this picture is {shape[1]}x{shape[0]} px"):
        restore_faces(np.zeros(shape, np.uint8), aligned=True)


@pytest.mark.parametrize("name", ["out.mp4", "out.xyz", "out"])
def test_a_picture_of_a_kind_that_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"is not a picture format that can be written; use \.png or \.jpg"):
        write_picture(tmp_path / name, np.zeros((8, 8, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.png: cannot be written \(No such file"):
        write_picture(tmp_path / "none" / "out.png", np.zeros((8, 8, 3), np.uint8))


def references_of(*people: tuple[str, Path]) -> ReferenceChoice:
    return ReferenceChoice(people=people)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda folder: None, "there is no such folder of reference photos", id="missing"),
        pytest.param(lambda folder: folder.touch(), "there is no such folder of reference photos", id="a file"),
        pytest.param(lambda folder: folder.mkdir(), "no usable reference photo of 'anna': it holds no photos", id="empty"),
    ],
)
def test_a_dry_run_says_what_the_run_would_say_of_a_persons_folder(make, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "anna"
    make(folder)
    with pytest.raises(ReferencePhotoError, match=rf"anna: {message}"):
        dry_run(ClipRequest(TAPE, tmp_path / "out.mp4", references=references_of(("anna", folder))))


def test_a_dry_run_says_what_the_run_would_say_of_a_photo(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"no photo")
    with pytest.raises(ReferencePhotoError, match=r"photo\.jpg"):
        dry_run(ClipRequest(TAPE, tmp_path / "out.mp4", references=ReferenceChoice(photos=(photo,))))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        pytest.param(Fraction(2), Fraction(1), r"`end` 1 s does not lie after `start` 2 s", id="backwards"),
        pytest.param(Fraction(1), Fraction(1), r"`end` 1 s does not lie after `start` 1 s", id="nothing"),
        pytest.param(Fraction(9999), None, r"tape\.mp4: `start` 9999 s lies beyond its end", id="after its end"),
        pytest.param(Fraction(-1), None, "start", id="before its begin"),
    ],
)
def test_a_part_that_the_clip_has_not(start: Fraction, end: Fraction | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        dry_run(ClipRequest(TAPE, tmp_path / "out.mp4", start=start, end=end))


def test_a_survey_of_no_time_at_all() -> None:
    with pytest.raises(UsageError, match=r"`end` 0 s does not lie after `start` 0 s"):
        survey(TAPE, end=Fraction(0), embed=lambda crops: np.ones((len(crops), 512), np.float32))


def test_a_comparison_that_goes_nowhere() -> None:
    with pytest.raises(UsageError, match="nothing to write: name an output, or a page with `html`"):
        compare_videos(CompareRequest(TAPE, TAPE))


def test_a_comparison_onto_its_own_input(tmp_path: Path) -> None:
    one, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for path in (one, other):
        path.write_bytes(TAPE.read_bytes())
    with pytest.raises(OutputError, match=r"b\.mp4: this is the second input itself\. Name another output"):
        compare_videos(CompareRequest(one, other), other, force=True)
    assert other.read_bytes() == TAPE.read_bytes()


def test_a_comparison_page_beside_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(OutputError, match=r"page\.html: this is a folder\. Name a file that ends in \.html"):
        compare_videos(CompareRequest(TAPE, TAPE), page=tmp_path / "page.html")


@pytest.mark.parametrize("force", [False, True], ids=["once", "again"])
def test_a_page_that_is_none_by_its_name(force: bool, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"page\.pdf: a report is a page, its name ends in \.html"):
        check_page(tmp_path / "page.pdf", force)


def test_a_report_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    with pytest.raises(OutputError, match="is a file; a report is a folder"):
        check_folder(tmp_path / "report", force=True)


def test_a_report_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(OutputError, match="is not empty"):
        check_folder(tmp_path)


def test_rendering_from_what_is_no_work_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a work folder"):
        render_store(tmp_path, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    request = ClipRequest(tmp_path / "none.mp4", tmp_path / "out.mp4")
    with pytest.raises(InputError, match=r"none\.mp4: there is no such file"):
        dry_run(replace(request, force=True))
