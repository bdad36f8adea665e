"""The page in a real, headless Chromium, with the embedded model, as a family would use it.

Needs the program `chromium` (or Chrome); where there is none the tests are skipped, except where ICONFACE_NEEDS_BROWSER is set
(CI). Every state is photographed into the folder ICONFACE_WEB_PICTURES (the test's own when it is not set). Each file has a server and
a tab of its own; its tests are one visit, step by step: each goes on where the one before stopped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ffmpeg
from tests.web.browser.page import ROOT, Page, Server

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_program() -> str:
    found = os.environ.get("ICONFACE_BROWSER") or next((path for name in NAMES if (path := shutil.which(name))), "")
    if not found:
        message = f"no browser: none of {', '.join(NAMES)} is installed (apt-get install chromium)"
        if os.environ.get("ICONFACE_NEEDS_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def browser():
    program = browser_program()
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'dev')")
    with api.sync_playwright() as player:
        opened = player.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory) -> Iterator[Server]:
    temporary = tmp_path_factory.mktemp("serve")
    started = Server(temporary)
    yield started
    assert started.stop() == 0
    assert {path.name for path in temporary.iterdir()} <= {"projects", "cache", "people"}, "left in the temporary folder"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    wanted = os.environ.get("ICONFACE_WEB_PICTURES")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def page(browser, server, pictures) -> Iterator[Page]:
    opened = Page(browser, server, pictures)
    yield opened
    opened.tab.close()
    assert opened.faults == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """The first second of the sample: 25 frames."""
    path = tmp_path_factory.mktemp("clip") / "tape.mp4"
    tape = ROOT / "samples" / "tape.mp4"
    ffmpeg("-i", tape, "-t", "1", "-c:v", "libx264", "-crf", "14", "-preset", "veryfast", "-c:a", "aac", path)
    return path
