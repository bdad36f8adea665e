"""The start page: several projects, the line of their jobs, whom the user keeps, and German."""

from __future__ import annotations

import shutil

from tests.web.browser.page import LISTENING, ROOT, Page

NAMES = "[...document.querySelectorAll('#line-list li span')].map(e => e.textContent).join()"
WAITING, READY = ("document.querySelectorAll('#line-list li').length", "document.querySelectorAll('[data-key^=run-]').length")


def pause_from_elsewhere(page: Page) -> None:
    """As another tab would: the page offers a pause only while something waits."""
    page.tab.evaluate(
        """fetch('/api/line', {
            method: 'PATCH', headers: {'content-type': 'application/json'}, body: JSON.stringify({paused: true})})"""
    )
    page.tab.reload()


def test_several_clips_at_once_wait_in_line(page, clip, tmp_path):
    """Paused before it begins, so that all of them are still there however quickly they would be done, and once more while one is at work."""
    copies = [shutil.copy(clip, tmp_path / f"{name}.mp4") for name in ("one", "two", "three")]
    page.tab.set_input_files("#clip-file", copies)
    # A project is there a moment before its job is, so an empty line alone does not say that all were looked through.
    page.until(f"{READY} === 3 && {WAITING} === 0")
    pause_from_elsewhere(page)
    page.until("document.getElementById('line-pause').textContent === 'Go on'")
    page.tab.click("#restore-all")
    page.until(f"{WAITING} === 3")
    assert page.tab.evaluate(NAMES) == "one,two,three"
    page.tab.focus("#line-list li:last-child button")
    page.tab.keyboard.press("Enter")
    page.until(f"{NAMES} === 'one,three,two'")
    assert page.tab.locator(".project .state").all_inner_texts() == ["Paused"] * 3
    page.photograph("9-line")
    page.tab.click("#line-pause")
    page.until("[...document.querySelectorAll('.project progress')].some(e => !e.hidden)")
    page.tab.click("#line-pause")
    page.until("document.getElementById('line-pause').textContent === 'Go on'")
    page.until("[...document.querySelectorAll('.project progress')].every(e => e.hidden)")
    left = page.tab.evaluate(NAMES)
    assert left
    assert "one,three,two".endswith(left)


def test_the_end_of_the_line_is_told(page):
    page.tab.evaluate(LISTENING)
    page.tab.click("#line-pause")
    page.until(f"{WAITING} === 0 && document.getElementById('line').hidden")
    assert page.tab.evaluate("window.told") == ["iconface-video", "Nothing is left in the line."]
    assert page.tab.title() == "\u2713 iconface-video"
    page.tab.evaluate("delete document.hidden")
    page.until("[...document.querySelectorAll('.project .state')].every(e => e.textContent.startsWith('Restored'))")


def test_a_line_that_was_cancelled_is_no_success(page):
    pause_from_elsewhere(page)
    page.tab.evaluate(
        """async () => {
            const {projects} = await (await fetch('/api/projects')).json();
            const headers = {'content-type': 'application/json'};
            for (const {id, name} of projects)
                if (name !== 'one') await fetch(`/api/projects/${id}/run`, {method: 'POST', headers, body: '{}'});
        }"""
    )
    page.tab.reload()
    page.until(f"{WAITING} === 2")
    page.tab.evaluate(LISTENING)
    for left in (1, 0):
        page.tab.click("#line-list li:first-child >> text=Cancel")
        page.until(f"{WAITING} === {left}")
    assert page.tab.inner_text("#announce") == "Nothing is left in the line."
    assert page.tab.title() == "iconface-video"
    assert page.tab.evaluate("window.told") is None
    page.tab.evaluate("delete document.hidden")
    page.tab.click("#line-pause")
    page.until("document.getElementById('line').hidden")


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
