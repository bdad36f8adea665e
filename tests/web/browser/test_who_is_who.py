"""Two people in one video, and nobody in another one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.video.display_light import shown_rgb
from iconface_video.video.reader import VideoReader
from tests.pipelines.conftest import reading_raw
from tests.web.browser.page import ROOT

PAIR_SIZE, PAIR_MIDDLE, PAIR_SEEN, PAIR_AWAY = (640, 360), 320, 6, 8
"""Width and height, px that are one person's; frames with both, and without anybody."""
BENS_FACE = 50
"""In scikit-image's `lfw_subset`: somebody else than its astronaut, 25 px large."""


def bens_picture() -> np.ndarray:
    """(360, 330, 3) RGB."""
    small = np.uint8(np.clip(255 * data.lfw_subset()[BENS_FACE], 0, 255))
    face = cv2.resize(small, (150, 150), interpolation=cv2.INTER_CUBIC)
    return cv2.cvtColor(cv2.copyMakeBorder(face, 105, 105, 90, 90, cv2.BORDER_REPLICATE), cv2.COLOR_GRAY2RGB)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """Two different people side by side, both away for a moment, then both again: 20 frames."""
    sharp, ben = cv2.resize(data.astronaut(), (400, 400), interpolation=cv2.INTER_AREA)[10:370], bens_picture()
    eileen = cv2.GaussianBlur(sharp, (0, 0), 2)
    both = [
        np.concatenate([eileen[:, 20 + n : 20 + n + PAIR_MIDDLE], ben[:, n : n + PAIR_MIDDLE]], axis=1)
        for n in range(PAIR_SEEN)
    ]
    pictures = [*both, *[np.zeros_like(both[0])] * PAIR_AWAY, *both]
    path = tmp_path_factory.mktemp("clip") / "pair.mp4"
    command = [*reading_raw("rgb24", *PAIR_SIZE), "-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=b"".join(picture.tobytes() for picture in pictures), check=True)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """A folder of the user's own."""
    return tmp_path_factory.mktemp("films")


class TestTwoPeople:
    """Side by side in one clip, from upload to download; each test goes on where the one before stopped."""

    def test_both_are_found_each_with_two_appearances(self, page, pair):
        page.begin_with(pair)
        page.wait_for(".person")
        page.wait_done()
        assert page.tab.locator(".person").count() == 2
        assert all("2 appearances" in text for text in page.tab.locator(".person .seen").all_inner_texts())

    def test_a_face_in_the_picture_leads_to_its_card(self, page):
        """The left one by mouse, the right one by keyboard."""
        page.until("document.querySelectorAll('#faces-on-view button').length === 2")
        page.tab.click("#faces-on-view button >> nth=0")
        assert page.tab.evaluate("document.activeElement.className") == "name person-name"
        page.tab.keyboard.type("Eileen")
        page.tab.keyboard.press("Tab")
        page.until("document.querySelector('#faces-on-view span').textContent === 'Eileen'")
        page.tab.focus("#preview-stretch")
        while page.tab.evaluate("document.activeElement.dataset.key || ''") != "here-1":
            page.tab.keyboard.press("Tab")
        page.tab.keyboard.press("Enter")
        page.tab.keyboard.type("Ben")
        page.tab.keyboard.press("Tab")
        page.until("document.querySelectorAll('#faces-on-view span')[1].textContent === 'Ben'")
        assert page.tab.locator(".person.chosen .person-name").input_value() == "Ben"
        left, right = (page.tab.locator(f"#faces-on-view button >> nth={n}").bounding_box() for n in (0, 1))
        assert left["x"] + left["width"] < right["x"]

    def test_each_gets_photos_and_a_mistaken_one_is_said(self, page, tmp_path):
        photo = tmp_path / "ben.png"
        cv2.imwrite(str(photo), bens_picture()[..., ::-1])
        cards = {page.tab.locator(".person-name").nth(n).input_value(): n for n in (0, 1)}
        for name, path in (("Eileen", ROOT / "samples" / "photo.jpg"), ("Ben", photo)):
            page.tab.set_input_files(f".person >> nth={cards[name]} >> input[type=file]", path)
            page.wait_for(f".person >> nth={cards[name]} >> .photo")
            said = page.tab.inner_text(f".person >> nth={cards[name]} >> .photo")
            assert float(re.search(r"Likeness (0\.\d+|1\.00)", said)[1]) > 0.4
        ben = f".person >> nth={cards['Ben']}"
        page.tab.set_input_files(f"{ben} >> input[type=file]", ROOT / "samples" / "photo.jpg")
        page.wait_for(f"{ben} >> .photo .note")
        assert "Looks more like Eileen" in page.tab.inner_text(f"{ben} >> .photo .note")
        page.tab.click(f"{ben} >> [aria-label='Remove photo.jpg']")
        page.until("document.querySelectorAll('.photo').length === 2")

    def test_an_appearance_is_taken_apart_and_goes_to_nobody_who_is_seen_meanwhile(self, page):
        names = "[...document.querySelectorAll('.person-name')].map(e => e.value || e.placeholder)"
        eileen = f".person >> nth={page.tab.evaluate(names).index('Eileen')}"
        page.tab.click(f"{eileen} >> summary")
        page.tab.check(f"{eileen} >> .moment >> nth=1")
        page.tab.select_option(f"{eileen} >> .to", label="Ben")
        page.tab.wait_for_selector("#alert:visible")
        assert "Eileen and Ben are seen at the same time" in page.tab.inner_text("#alert-text")
        page.tab.click("#alert-close")
        page.tab.click(f"{eileen} >> .apart")
        page.until("document.querySelectorAll('.person').length === 3")
        third = next(n for n, name in enumerate(page.tab.evaluate(names)) if name.startswith("Person"))
        page.photograph("11-two-people")
        page.tab.click(f".person >> nth={third} >> summary")
        page.tab.select_option(f".person >> nth={third} >> .same", label="Eileen")
        page.until("document.querySelectorAll('.person').length === 2")
        assert sorted(page.tab.evaluate(names)) == ["Ben", "Eileen"]

    def test_one_is_to_be_learnt_and_that_outlives_the_page(self, page):
        """Taken back before the run, as it takes minutes; what it does there is tested without a browser."""
        card = "[...document.querySelectorAll('.person')].find(e => e.querySelector('.name').value === 'Eileen')"
        page.tab.evaluate(f"{card}.querySelector('details').open = true")
        chosen = page.tab.get_by_label(re.compile(r"^Learn person \d from the photos$")).locator("visible=true")
        chosen.select_option("yes")
        page.tab.reload()
        page.wait_for(".person")
        page.until(f"{card}.querySelector('.learn').value === 'yes'")
        page.tab.evaluate(f"{card}.querySelector('details').open = true")
        chosen.select_option("")
        page.until(f"{card}.querySelector('.learn').value === ''")

    def test_a_folder_for_the_results_is_named(self, page, films):
        page.tab.click("#save-details summary")
        page.tab.fill("#save-folder", f"{films}/nowhere")
        page.tab.press("#save-folder", "Enter")
        page.tab.wait_for_selector("#alert:visible")
        assert "nowhere: there is no such folder" in page.tab.inner_text("#alert-text")
        page.tab.fill("#save-folder", str(films))
        page.tab.click("#save-take")
        page.wait_for("#save-none")

    def test_both_are_restored_and_downloaded(self, page, pair, films, tmp_path):
        page.tab.click("#run")
        page.wait_for("#result")
        page.wait_done()
        assert "24 faces in 12 of 20 frames restored" in page.tab.inner_text("#result-summary")
        assert Path(page.tab.inner_text("#result-where .path")).is_file()
        page.photograph("12-two-restored")
        with page.tab.expect_download() as started:
            page.tab.click("#download")
        saved = tmp_path / "saved.mp4"
        started.value.save_as(saved)
        (own,) = films.iterdir()
        assert page.tab.inner_text("#result-saved .path") == str(own)
        assert own.read_bytes() == saved.read_bytes()
        assert not page.tab.is_visible("#save-result")
        before, after = ([shown_rgb(frame).astype(int) for frame in VideoReader(path).frames()] for path in (pair, saved))
        assert len(before) == len(after) == 2 * PAIR_SEEN + PAIR_AWAY
        changed = np.abs(np.array(before) - np.array(after)).mean(axis=(0, 3))
        faces = changed[50:120, 130:185].mean(), changed[120:240, 430:530].mean()
        assert min(faces) > 2 * changed[:40, :40].mean()

    def test_settings_are_kept_under_a_name_and_taken_again(self, page):
        page.tab.focus("#strength")
        page.tab.keyboard.press("Home")
        page.until("document.getElementById('strength-value').textContent === '0 %'")
        page.tab.once("dialog", lambda dialog: dialog.accept("Untouched"))
        page.tab.click("#own-keep")
        page.until("document.getElementById('own').value === 'Untouched'")
        page.tab.focus("#strength")
        page.tab.keyboard.press("End")
        page.until("document.getElementById('own-delete').hidden")
        page.tab.focus("#own")
        page.tab.select_option("#own", "Untouched")
        page.until("document.getElementById('strength').value === '0'")
        page.tab.reload()
        page.wait_for("#own")
        page.until("document.getElementById('own').value === 'Untouched'")
        page.tab.once("dialog", lambda dialog: dialog.accept())
        page.tab.click("#own-delete")
        page.until("document.getElementById('own').options.length === 1")


class TestNobodyInIt:
    def test_one_button_looks_harder_and_nothing_is_green(self, page, empty_clip):
        page.begin_with(empty_clip)
        page.wait_for("#harder")
        page.wait_done()
        primary = "[...document.querySelectorAll('.primary')].filter(e => e.checkVisibility()).map(e => e.id)"
        assert page.tab.evaluate(primary) == ["harder"]
        assert page.tab.locator("#run:visible, #preview-frame:visible, .good:visible").count() == 0
        assert "No face was found" in page.tab.inner_text("#people-lead")
        page.photograph("13-nobody")
        page.tab.click("#harder")
        page.until("document.getElementById('harder').textContent === 'Look as usual again'")
        page.wait_done()
        assert page.tab.evaluate(primary) == []
        assert "No face was found" in page.tab.inner_text("#people-lead")
        page.tab.click("#to-list")
        page.wait_for("#project-list")
        assert page.tab.inner_text(".project .state >> nth=0") == "No face was found"
        assert page.tab.locator(".project >> nth=0 >> .primary").count() == 0
