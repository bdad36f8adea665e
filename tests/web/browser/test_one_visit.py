"""From upload to download, what can be made of a result afterwards, and another video in the same tab."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ffmpeg
from tests.web.browser.page import DETAIL, FOCUSABLE, LISTENING, ROOT, Page


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> Path:
    """Somebody who is seen, is away for most of a second, and is seen again."""
    path = tmp_path_factory.mktemp("clip") / "twice.mp4"
    tape = ROOT / "samples" / "tape.mp4"
    seen = "trim=duration=0.5,setpts=PTS-STARTPTS,format=yuv420p"
    parts = f"[0:v]{seen},split[a][c];color=black:s=480x360:r=25:d=0.8,format=yuv420p[b];[a][b][c]concat=n=3[v]"
    ffmpeg("-i", tape, "-filter_complex", parts, "-map", "[v]", "-c:v", "libx264", "-crf", "14", "-preset", "veryfast", path)
    return path


def changed_share(one: list[int], other: list[int]) -> float:
    pairs = zip(one, other)
    return sum(abs(a - b) > 8 for a, b in pairs) / len(one)


def count_frames(path: Path) -> int:
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"]
    entries = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)]
    return int(subprocess.run([*command, *entries], check=True, capture_output=True, text=True).stdout.strip().strip(","))


def test_it_begins_with_one_question(page):
    assert page.tab.title() == "iconface-video"
    assert page.tab.locator("section:visible").count() == 1
    page.until("document.getElementById('clip-limit').textContent.includes('up to')")
    page.photograph("1-start")


def test_a_text_file_is_refused_with_a_sentence(page, tmp_path):
    letter = tmp_path / "letter.mp4"
    letter.write_text("Dear Anna,\nhow are you?\n" * 100)
    page.add_clip(letter)
    page.tab.wait_for_selector("#alert:visible")
    assert "letter.mp4: this is a text file, not a video" in page.tab.inner_text("#alert-text")
    page.photograph("2-refused")
    assert page.server.files() == []


def test_too_large_an_upload_is_refused(page, tmp_path):
    long = tmp_path / "long.mp4"
    long.write_bytes(bytes(5_000_001))
    page.add_clip(long)
    page.until("document.getElementById('alert-text').textContent.startsWith('long')")
    assert "than the 5.0 MB that are allowed here" in page.tab.inner_text("#alert-text")
    assert page.server.files() == []


def test_a_clip_shows_its_people(page, clip):
    page.tab.click("#alert-close")
    page.drop("#clip-drop", clip, "video/mp4")
    page.until("document.querySelector('#job:not([hidden]) #job-bar:indeterminate') !== null")
    assert page.tab.evaluate("document.getAnimations().length") == 0, "less motion was asked for"
    page.tab.emulate_media(reduced_motion="no-preference")
    assert page.tab.evaluate("document.getAnimations().length") > 0
    page.tab.emulate_media(reduced_motion="reduce")
    page.wait_for(".person")
    assert re.search(r"#[0-9a-f]{16}$", page.tab.url)
    page.wait_done()
    assert page.tab.locator("#alert:visible").count() == 0
    assert page.tab.locator(".person").count() == 1
    assert "480 × 360" in page.tab.inner_text("#clip-detail")
    assert "On screen 1.0 s" in page.tab.inner_text(".person .seen")
    page.until("document.querySelector('.face').naturalWidth == 256")  # a picture comes after its place
    assert page.tab.input_value("#preset") == "family"
    assert re.search(
        "The recording looks like a tape: .*; so Family was taken. You can choose another.",
        page.tab.inner_text("#preset-why"),
    )


def test_a_photo_is_dropped_on_a_person(page, tmp_path):
    page.drop(".person .drop", ROOT / "samples" / "photo.jpg", "image/jpeg")
    page.wait_for(".photo")
    likeness = re.search(r"Likeness (0\.\d+)", page.tab.inner_text(".photo"))
    assert likeness
    assert float(likeness[1]) > 0.4
    notes = tmp_path / "notes.jpg"
    notes.write_text("no photo")
    page.tab.set_input_files(".person input[type=file]", notes)
    page.tab.wait_for_selector(".person .refusal:visible")
    assert "notes.jpg: not a photo that can be read" in page.tab.inner_text(".person .refusal")
    page.tab.fill(".person-name", "Eileen")
    page.tab.press(".person-name", "Tab")
    page.tab.click(".person summary")
    page.tab.click(".person .keep")
    page.wait_for(".person .kept")
    assert page.tab.inner_text(".person .kept") == "Eileen is kept, and recognised in other videos."
    page.photograph("3-people")


def test_a_frame_is_previewed_and_strength_shows_at_once(page):
    page.tab.click("#preview-frame")
    page.wait_for("#preview-compare canvas")
    page.wait_done()
    page.until("document.querySelector('#preview-compare canvas').width === 480")
    place = "#preview-compare"
    page.tab.locator(f"{place} .split").evaluate("e => { e.value = 100; e.dispatchEvent(new Event('input')); }")
    before = page.canvas_pixels(place)
    page.tab.locator(f"{place} .split").evaluate("e => { e.value = 0; e.dispatchEvent(new Event('input')); }")
    after = page.canvas_pixels(place)
    assert 0.001 < changed_share(before, after) < 0.5  # the face, and nothing but the face
    page.tab.locator("#strength").evaluate("e => { e.value = 0; e.dispatchEvent(new Event('input')); }")
    assert changed_share(before, page.canvas_pixels(place)) == 0
    page.tab.locator("#strength").evaluate("e => { e.value = 100; e.dispatchEvent(new Event('input')); }")
    page.tab.locator(f"{place} .split").evaluate("e => { e.value = 50; e.dispatchEvent(new Event('input')); }")
    page.tab.click(f"{place} .zoom")
    page.photograph("4-preview")


def test_a_stretch_is_previewed_as_a_film(page):
    page.tab.click("#preview-stretch")
    page.wait_for("#preview-compare .play")
    page.wait_done()
    page.until("document.querySelector('#preview-compare video').readyState >= 2")
    length = page.tab.evaluate("document.querySelector('#preview-compare video').duration")
    assert length == pytest.approx(1.0, abs=0.1)
    page.tab.click("#preview-compare .play")
    page.until("document.querySelector('#preview-compare video').currentTime > 0.1")
    page.tab.click("#preview-compare .play")


def test_cancel_stops_and_leaves_nothing_but_restored_faces(page):
    """From which the next run goes on."""
    shutil.rmtree(next(page.server.projects.glob("*/previewed")))  # else nothing is left to be restored
    before = page.server.files()
    page.tab.click("#run")
    page.tab.wait_for_selector("#job-cancel:visible")
    page.until(f"{DETAIL}.includes('faces')")
    begun = time.monotonic()
    page.tab.click("#job-cancel")
    page.wait_done()
    stopped = time.monotonic() - begun
    assert page.server.files(but="work") == before
    assert page.tab.locator("#result:visible").count() == 0
    assert stopped < 2.0 or os.getloadavg()[0] > (os.cpu_count() or 1)  # on a machine that is not busy otherwise


def test_the_video_is_restored_shown_and_downloaded(page, clip, tmp_path):
    page.tab.click("#run")
    page.until(f"/: [1-9][0-9]* of 25 faces/.test({DETAIL}) || !document.getElementById('result').hidden")
    with page.standing_still():
        page.photograph("5-working", whole=False)
        assert page.tab.evaluate("document.getElementById('job').hidden || /^\\d+\\s% . tape$/.test(document.title)")
    page.wait_for("#result")
    page.until("document.querySelector('#result-compare video').readyState >= 2")
    assert "25 faces in 25 of 25 frames restored at 90 % strength" in page.tab.inner_text("#result-summary")
    page.tab.click("#result-compare [data-mode=sides]")
    assert page.tab.evaluate("document.querySelector('#result-compare canvas').width") == 960
    page.photograph("6-result")
    with page.tab.expect_download() as started:
        page.tab.click("#download")
    saved = tmp_path / "saved.mp4"
    started.value.save_as(saved)
    assert started.value.suggested_filename == "tape.restored.mp4"
    assert count_frames(saved) == count_frames(clip) == 25
    assert (
        "restored by a generative model"
        in subprocess.run(
            ["ffprobe", "-v", "error", "-show_entries", "format_tags=comment", str(saved)], capture_output=True, text=True
        ).stdout
    )


def test_another_strength_is_written_anew_and_both_results_are_kept(page, server):
    page.tab.focus("#strength")
    for _ in range(4):
        page.tab.keyboard.press("ArrowLeft")
    page.wait_for("#outdated")
    assert "this has changed: the strength" in page.tab.inner_text("#outdated")
    assert page.tab.inner_text("#run") == "Write it anew, without restoring again"
    assert "only the video is written anew" in page.tab.inner_text("#estimate")
    page.tab.evaluate(LISTENING)
    page.tab.click("#run")
    page.until("document.querySelectorAll('#versions input').length === 2")
    page.wait_done()
    page.until("document.title.startsWith('\u2713 tape')")
    assert page.tab.evaluate("window.told") == ["tape", "The video is restored."]
    page.tab.evaluate("delete document.hidden")
    assert "at 70 % strength" in page.tab.inner_text("#result-summary")
    assert not page.tab.is_visible("#outdated")
    assert len(list(server.projects.glob("*/results/*/out/*.mp4"))) == 2
    assert page.tab.inner_text("#announce") == "The video is restored."


def test_two_results_are_compared_in_the_viewer(page):
    assert page.tab.inner_text("#result-compare .tag.before") == "Before"
    page.tab.select_option("#against", index=1)
    page.until("document.querySelector('#result-compare .tag.before').textContent.includes('strength 90')")
    page.wait_done()
    assert "strength 70" in page.tab.inner_text("#result-compare .tag.after")
    page.until("document.querySelector('#result-compare video').readyState >= 2")
    assert page.tab.evaluate("document.querySelector('#result-compare video').duration") == pytest.approx(1.0, abs=0.1)
    assert page.tab.inner_text("#announce") == "The two results are shown."
    page.photograph("7-versions")
    page.tab.select_option("#against", index=0)
    page.until("document.querySelector('#result-compare .tag.before').textContent === 'Before'")


def test_the_settings_of_an_earlier_result_are_taken_again(page):
    page.tab.check("#versions input >> nth=1")
    page.tab.click("#take-settings")
    page.until("document.getElementById('strength').value === '90'")
    page.until("document.getElementById('outdated').hidden")
    page.tab.check("#versions input >> nth=0")
    page.tab.click("#take-settings")
    page.until("document.getElementById('strength').value === '70'")


def test_a_reload_keeps_everything_and_another_tab_sees_the_same(page, browser, server, pictures):
    """Another tab used to see nothing; what was in the first one was lost with it."""
    page.tab.reload()
    page.wait_for("#result")
    other = Page(browser, server, pictures)
    other.wait_for(".project")
    assert other.tab.inner_text(".project-name") == "tape"
    other.tab.click(".project-name")
    other.wait_for("#result")
    other.tab.close()
    assert other.faults == []


def test_a_killed_server_goes_on_and_so_does_the_page(page, server):
    """The output is the same to the bit as the one that was made in one go."""
    before = set(server.projects.glob("*/results/*/out/*.mp4"))
    whole = max(before, key=lambda path: path.stat().st_mtime).read_bytes()
    shutil.rmtree(next(server.projects.glob("*/work")))  # else nothing is left to be restored
    page.tab.click("#run")
    page.until(f"/: [1-9][0-9]* of 25 faces/.test({DETAIL})")
    server.restart_after_a_kill()
    page.until("document.querySelectorAll('#versions input').length === 3")
    page.wait_done()
    (made,) = set(server.projects.glob("*/results/*/out/*.mp4")) - before
    assert made.read_bytes() == whole


def test_every_control_is_reached_by_the_keyboard(page):
    page.until("document.getElementById('job').hidden")
    if not page.tab.evaluate("document.querySelector('#advanced').open"):
        page.tab.click("#advanced summary")
    reached = page.reached_by_tab()
    missed = page.tab.evaluate(
        f"reached => {FOCUSABLE}.filter((e, place) => e.checkVisibility() && !e.disabled && e.type !== 'radio'"
        " && e.tabIndex >= 0 && !reached.includes(place)).map(e => e.outerHTML.slice(0, 120))",
        reached,
    )
    assert missed == []
    assert reached == sorted(reached)


def test_a_part_is_chosen_by_the_keyboard(page):
    page.tab.focus("#moment")
    page.tab.keyboard.press("Home")
    for _ in range(10):
        page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("Tab")  # Preview this frame
    page.tab.focus("#begin-here")
    page.tab.keyboard.press("Enter")
    page.until("document.getElementById('part-value').textContent.includes('0:00.4 to')")
    assert page.tab.evaluate("document.activeElement.id") == "begin-here"
    assert "the part" in page.tab.inner_text("#outdated")
    assert "15 frames" in page.tab.inner_text("#estimate")
    page.tab.focus("#part-whole")
    page.tab.keyboard.press("Enter")
    page.until("document.getElementById('outdated').hidden")


def test_more_settings(page):
    assert not page.tab.is_visible("#fields"), "the tape in this file is progressive"
    assert page.tab.input_value("#device") == "auto"
    assert page.tab.input_value("#workers") == "1"
    page.tab.select_option("#scale", label="960 × 720")
    page.until("document.getElementById('outdated').textContent.includes('the size of the picture')")
    page.tab.select_option("#personalize", "off")
    page.until("document.getElementById('outdated').textContent.includes('who is learnt')")
    page.tab.fill("#workers", "2")
    page.tab.press("#workers", "Tab")
    page.tab.select_option("#device", "cpu")
    page.photograph("8-settings")
    page.tab.select_option("#scale", label="480 × 360")
    page.tab.select_option("#personalize", "auto")
    page.tab.fill("#workers", "1")
    page.tab.press("#workers", "Tab")
    page.until("document.getElementById('outdated').hidden")


def test_appearances_are_taken_apart_and_joined_again(page, twice):
    page.tab.click("#to-list")
    page.wait_for("#clip-drop")
    page.tab.set_input_files("#clip-file", twice)
    page.wait_for(".person")
    page.wait_done()
    assert page.tab.locator(".person").count() == 1
    assert not page.tab.is_visible("#preview-compare canvas"), "the preview of another project"
    assert not page.tab.is_visible("#result")
    assert "2 appearances" in page.tab.inner_text(".person .seen")
    page.tab.click(".person summary")
    page.tab.check(".moment >> nth=1")
    page.photograph("10-who-is-who")
    page.tab.click(".apart")
    page.until("document.querySelectorAll('.person').length === 2")
    page.tab.fill(".person >> nth=1 >> .person-name", "Anna")
    page.tab.press(".person >> nth=1 >> .person-name", "Tab")
    page.tab.click(".person >> nth=1 >> summary")
    page.tab.click(".person >> nth=1 >> .only")
    page.until("document.querySelectorAll('.person')[0].querySelector('.skip').checked")
    page.tab.click("#everybody")
    page.until("!document.querySelectorAll('.person')[0].querySelector('.skip').checked")
    page.tab.select_option(".person >> nth=0 >> .same", label="Anna")
    page.until("document.querySelectorAll('.person').length === 1")
    assert page.tab.input_value(".person-name") == "Anna"
    assert "2 appearances" in page.tab.inner_text(".person .seen")
