"""The start page: several projects, the line of their jobs, whom the user keeps, and German."""

from __future__ import annotations

import shutil

from tests.web.browser.page import LISTENING, ROOT, Page


def test_several_clips_at_once_wait_in_line(page, clip, tmp_path):
    copies = [shutil.copy(clip, tmp_path / f"{name}.mp4") for name in ("one", "two", "three")]
    page.tab.set_input_files("#clip-file", copies)
    page.until("document.querySelectorAll('.project').length === 3 && document.querySelectorAll('#line-list li').length === 0")
    page.tab.click("#restore-all")
    page.until("document.querySelectorAll('#line-list li').length === 3")
    page.tab.click("#line-pause")
    page.until("document.getElementById('line-pause').textContent === 'Go on'")
    names = "[...document.querySelectorAll('#line-list li span')].map(e => e.textContent).join()"
    assert page.tab.evaluate(names) == "one,two,three"
    page.tab.focus("#line-list li:last-child button")
    page.tab.keyboard.press("Enter")
    page.until(f"{names} === 'one,three,two'")
    page.photograph("9-line")
    page.tab.click("#line-pause")
    page.tab.evaluate(LISTENING)
    page.until("document.querySelectorAll('#line-list li').length === 0 && document.getElementById('line').hidden")
    assert page.tab.evaluate("window.told") == ["iconface-video", "Nothing is left in the line."]
    assert page.tab.title() == "\u2713 iconface-video"
    page.tab.evaluate("delete document.hidden")
    page.until("[...document.querySelectorAll('.project .state')].every(e => e.textContent.startsWith('Restored'))")


def test_it_speaks_german(browser, server, pictures):
    german = Page(browser, server, pictures, locale="de-DE")
    german.wait_for(".project")
    assert german.tab.inner_text("#add-title") == "Ein Video hinzufügen"
    assert german.tab.evaluate("document.documentElement.lang") == "de"
    german.photograph("8-list-german")
    with german.tab.expect_navigation():
        german.tab.select_option("#language", "en")
    german.wait_for(".project")
    assert german.tab.inner_text("#add-title") == "Add a video"
    german.tab.close()
    assert german.faults == []


def test_a_project_is_deleted_after_a_question_and_no_other(page, server):
    """There is no "start over" any more, which took all of it at one click."""
    asked: list[str] = []
    page.tab.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.tab.click("[aria-label='Delete one']")
    assert asked[0].startswith("Delete one with all its results and photos")
    assert len(list(server.projects.glob("*/project.json"))) == 3
    page.tab.once("dialog", lambda dialog: dialog.accept())
    page.tab.click("[aria-label='Delete one']")
    page.until("document.querySelectorAll('.project').length === 2")
    assert len(list(server.projects.glob("*/project.json"))) == 2


def test_whom_you_keep_is_listed_and_forgotten_after_a_question(page, server):
    page.tab.click(".project-name >> text=two")
    page.wait_for(".person")
    page.tab.set_input_files(".person input[type=file]", ROOT / "samples" / "photo.jpg")
    page.wait_for(".photo")
    page.tab.fill(".person-name", "Eileen")
    page.tab.press(".person-name", "Tab")
    page.tab.click(".person summary")
    page.tab.click(".person .keep")
    page.wait_for(".person .kept")
    page.tab.click("#to-list")
    page.wait_for("#known-list li")
    assert "Eileen" in page.tab.inner_text("#known-list")
    assert "1 photo" in page.tab.inner_text("#known-list")
    page.photograph("9-known")
    page.tab.once("dialog", lambda dialog: dialog.dismiss())
    page.tab.click("[aria-label='Forget Eileen']")
    folder = server.projects.parent / "people"
    assert (folder / "Eileen" / "person.json").is_file()
    page.tab.once("dialog", lambda dialog: dialog.accept())
    page.tab.click("[aria-label='Forget Eileen']")
    page.until("!document.getElementById('known-list').textContent.includes('Eileen')")
    assert not (folder / "Eileen").exists()
