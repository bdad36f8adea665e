"""A server of its own and a tab of a real browser, as the tests use them."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEUTRAL = [".path { font-size: 0 !important }", ".path::after { content: '/home/anna/restored'; font-size: 0.9rem }"]
"""For pictures that go into the docs: where this machine keeps its files is no business of theirs."""
LISTENING = """() => {
    window.Notification = class { constructor(title, {body}) { window.told = [title, body]; } };
    Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});
    document.getElementById('job-notify').checked = true;
}"""
"""Somebody wants to be told, and looks at another window."""
FOCUSABLE = "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]"
DETAIL = "document.getElementById('job-detail').textContent"
WIDE, NARROW = {"width": 1120, "height": 800}, {"width": 400, "height": 800}
MOST_MS = 400_000
"""A machine that does other things as well is slow; nothing here waits so long otherwise."""


class Server:
    """`iconface-video serve` as a program of its own, with its own folders for projects and for temporary files."""

    def __init__(self, temporary: Path) -> None:
        self.projects = temporary / "projects"
        self._environment = {
            **os.environ,
            "TMPDIR": str(temporary),
            "XDG_CACHE_HOME": str(temporary / "cache"),
            "ICONFACE_VIDEO_PEOPLE": str(temporary / "people"),
            "PYTHONUNBUFFERED": "1",
        }
        self.url = ""
        self.start("0")

    def start(self, port: str) -> None:
        command = [sys.executable, "-m", "iconface_video", "serve", "--port", port, "--max-upload", "5"]
        command += ["--projects", str(self.projects)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=self._environment, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        self.url = found[0]

    def files(self, but: str = "") -> list[str]:
        """Of all projects. but: a folder of each whose files do not count."""
        found = [path.relative_to(self.projects) for path in self.projects.glob("*/**/*") if path.is_file()]
        return sorted(path.name for path in found if path.parts[1] != but)

    def restart_after_a_kill(self) -> None:
        """As the power fails; the next one has the same address."""
        self._process.kill()
        self._process.wait(60)
        self.start(self.url.rstrip("/").rpartition(":")[2])

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


class Page:
    """A tab, and what went wrong in it."""

    def __init__(self, browser, server: Server, pictures: Path, scheme: str = "light", locale: str = "en-GB") -> None:
        self.server, self.folder = server, pictures
        self.tab = browser.new_page(
            viewport=WIDE, color_scheme=scheme, locale=locale, reduced_motion="reduce", accept_downloads=True
        )
        self.tab.set_default_timeout(MOST_MS)
        self.faults: list[str] = []
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.tab.on("console", self._heard)
        self.tab.on("request", self._asked)
        self.tab.goto(server.url)
        self.until("!document.getElementById('list-view').hidden || !document.getElementById('project-view').hidden")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true. Playwright's own way needs eval, which the page forbids."""
        end = time.monotonic() + MOST_MS / 1000
        while not self.tab.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.2)

    def wait_for(self, selector: str) -> None:
        """Until it is visible; an error on the page ends the waiting."""
        end = time.monotonic() + MOST_MS / 1000
        while not self.tab.is_visible(selector):
            assert not self.tab.is_visible("#alert"), self.tab.inner_text("#alert-text")
            assert time.monotonic() < end, f"never visible: {selector}"
            time.sleep(0.2)

    def _heard(self, message) -> None:
        # Chromium notes every refused request by itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def _asked(self, request) -> None:
        if not request.url.startswith((self.server.url, "data:", "blob:")):
            self.faults.append(f"asked elsewhere: {request.url}")

    def photograph(self, name: str, *, whole: bool = True) -> None:
        """Light and dark, wide and narrow; nothing may stick out sideways, and everybody must be able to use it."""
        faults = []
        for scheme in ("light", "dark"):
            self.tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for kind, size in (("", WIDE), ("-narrow", NARROW)):
                self.tab.set_viewport_size(size)
                over = self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                faults += [f"{over} px too wide at {size['width']} px"] if over > 0 else []
                faults += [f"text is cut off at {size['width']} px: {text}" for text in self.clipped()]
                place = self.folder / f"{name}-{scheme}{kind}.png"
                with self.neutral():
                    self.tab.screenshot(path=place, full_page=whole, animations="disabled")
            faults += [f"{scheme}: {barrier}" for barrier in self.barriers()]
        self.tab.set_viewport_size(WIDE)
        self.tab.emulate_media(color_scheme="light", reduced_motion="reduce")
        assert faults == [], name

    @contextmanager
    def neutral(self) -> Iterator[None]:
        """Through the sheet that is there: the page allows no other styles."""
        self.tab.evaluate("rules => rules.forEach(rule => document.styleSheets[0].insertRule(rule))", NEUTRAL)
        yield
        self.tab.evaluate("rules => rules.forEach(() => document.styleSheets[0].deleteRule(0))", NEUTRAL)

    def barriers(self) -> list[str]:
        """What axe-core has to object, as "rule: element". It measures contrast and names among much else."""
        try:
            script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
        except ModuleNotFoundError:
            if os.environ.get("ICONFACE_NEEDS_BROWSER"):
                pytest.fail("axe-playwright-python is not installed (extra 'dev')")
            return []
        if not self.tab.evaluate("'axe' in window"):
            self.tab.evaluate(script)
        found = self.tab.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
        return [f"{item['id']}: {node['target']} {node['failureSummary']}" for item in found for node in item["nodes"]]

    def reached_by_tab(self) -> list[int]:
        """Places in `FOCUSABLE` of what the Tab key comes to, in order, from the top of the page."""
        self.tab.focus(".skip-link")
        reached: list[int] = [0]
        for _ in range(300):
            self.tab.keyboard.press("Tab")
            place = self.tab.evaluate(f"{FOCUSABLE}.indexOf(document.activeElement)")
            if place < 0 or place in reached:
                return reached
            reached.append(place)
        raise AssertionError("the Tab key never comes to an end")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The page is told the same over and over, whatever goes on meanwhile: for a picture of work that may soon be done."""
        mine = "fetch('/api/projects/' + location.hash.slice(1)).then(answer => answer.json())"
        state = self.tab.evaluate(mine)
        address = re.compile(r"/api/projects/[^/]+$")
        self.tab.route(address, lambda route: route.fulfill(json=state))
        yield
        self.tab.unroute(address)

    def clipped(self) -> list[str]:
        """Visible buttons, headings and paragraphs whose text does not fit."""
        return self.tab.evaluate(
            "[...document.querySelectorAll('button, h2, p, label, .button')]"
            ".filter(e => e.offsetParent && !e.className.includes('hidden') && e.scrollWidth > e.clientWidth + 1"
            " && getComputedStyle(e).display !== 'inline').map(e => e.textContent.trim() || e.outerHTML.slice(0, 80))"
        )

    def begin_with(self, path: Path) -> None:
        """The start page, and a clip chosen there."""
        self.tab.goto(self.server.url)
        self.wait_for("#clip-drop")
        self.add_clip(path)

    def add_clip(self, path: Path) -> None:
        self.tab.set_input_files("#clip-file", path)

    def drop(self, selector: str, path: Path, kind: str) -> None:
        """A file dragged in from the desktop."""
        data = self.tab.evaluate_handle(
            """async ([bytes, name, kind]) => {
                const data = new DataTransfer();
                data.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name, {type: kind}));
                return data;
            }""",
            [base64.b64encode(path.read_bytes()).decode(), path.name, kind],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.tab.dispatch_event(selector, event, {"dataTransfer": data})

    def drop_path(self, selector: str, path: Path) -> None:
        """A file or folder of this machine dragged in, as the browser itself gets it from the desktop."""
        box = self.tab.locator(selector).bounding_box()
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        session = self.tab.context.new_cdp_session(self.tab)
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
        session.detach()

    def wait_done(self) -> None:
        self.tab.wait_for_selector("#job", state="hidden")

    def canvas_pixels(self, place: str) -> list[int]:
        """Every 13th pixel of a comparison, as RGBA."""
        return self.tab.evaluate(
            """(place) => {
                const canvas = document.querySelector(`${place} canvas`);
                const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                return [...data.filter((value, index) => index % 52 < 4)];
            }""",
            place,
        )
