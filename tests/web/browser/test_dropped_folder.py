"""A folder dragged from the desktop onto the start page: its videos, and those in folders in it, become projects."""

from __future__ import annotations

import shutil


def test_the_videos_of_a_folder_are_queued(page, clip, tmp_path):
    album = tmp_path / "album"
    (album / "1998" / "summer").mkdir(parents=True)
    (album / "empty").mkdir()
    for place in ("party.mp4", "1998/lake.mp4", "1998/summer/beach.mp4"):
        shutil.copy(clip, album / place)
    (album / "notes.txt").write_text("No video.")
    (album / "1998" / "cover.jpg").write_bytes(b"no picture either")
    asked = []
    page.tab.on("request", lambda request: asked.append(request.method + request.url.rpartition("=")[2]))
    page.drop_path("#clip-drop", album)
    page.until("document.querySelectorAll('.project').length === 3")
    names = "[...document.querySelectorAll('.project-name')].map(e => e.textContent.trim()).sort().join()"
    assert page.tab.evaluate(names) == "beach,lake,party"
    assert sorted(item for item in asked if item.startswith("PUT")) == ["PUTbeach.mp4", "PUTlake.mp4", "PUTparty.mp4"]
    assert not page.tab.is_visible("#alert")
    page.until("document.querySelectorAll('[data-key^=run-]').length === 3")


def test_a_folder_without_a_video_is_said(page, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    for name in ("one.txt", "two.txt"):
        (album / name).write_text("No video.")
    page.drop_path("#clip-drop", album)
    page.tab.wait_for_selector("#alert:visible")
    assert "There is no video among these files" in page.tab.inner_text("#alert-text")
    page.tab.click("#alert-close")
