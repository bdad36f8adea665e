"""The page in a real, headless Chromium: from upload to download, with the embedded model, as a family would use it.

Needs the program `chromium` (or Chrome); where there is none the tests are skipped, except where ICONFACE_NEEDS_BROWSER is set
(CI). Every state is photographed into the folder ICONFACE_WEB_PICTURES (the test's own when it is not set).
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.video.display_light import shown_rgb
from iconface_video.video.reader import VideoReader
from tests.conftest import ffmpeg
from tests.pipelines.conftest import reading_raw

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NEUTRAL = [".path { font-size: 0 !important }", ".path::after { content: '/home/anna/restored'; font-size: 0.9rem }"]
"""For pictures that go into the docs: where this machine keeps its files is no business of theirs."""
FOCUSABLE = "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]"
DETAIL = "document.getElementById('job-detail').textContent"
WIDE, NARROW = {"width": 1120, "height": 800}, {"width": 400, "height": 800}
MOST_MS = 400_000
"""A machine that does other things as well is slow; nothing here waits so long otherwise."""


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


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("serve"))
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    wanted = os.environ.get("ICONFACE_WEB_PICTURES")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """The first second of the sample: 25 frames."""
    path = tmp_path_factory.mktemp("clip") / "tape.mp4"
    tape = ROOT / "samples" / "tape.mp4"
    ffmpeg("-i", tape, "-t", "1", "-c:v", "libx264", "-crf", "14", "-preset", "veryfast", "-c:a", "aac", path)
    return path


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> Path:
    """Somebody who is seen, is away for most of a second, and is seen again."""
    path = tmp_path_factory.mktemp("clip") / "twice.mp4"
    tape = ROOT / "samples" / "tape.mp4"
    seen = "trim=duration=0.5,setpts=PTS-STARTPTS,format=yuv420p"
    parts = f"[0:v]{seen},split[a][c];color=black:s=480x360:r=25:d=0.8,format=yuv420p[b];[a][b][c]concat=n=3[v]"
    ffmpeg("-i", tape, "-filter_complex", parts, "-map", "[v]", "-c:v", "libx264", "-crf", "14", "-preset", "veryfast", path)
    return path


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


@pytest.fixture(scope="module")
def page(browser, server, pictures) -> Iterator[Page]:
    opened = Page(browser, server, pictures)
    yield opened
    opened.tab.close()
    assert opened.faults == []


def changed_share(one: list[int], other: list[int]) -> float:
    pairs = zip(one, other)
    return sum(abs(a - b) > 8 for a, b in pairs) / len(one)


def count_frames(path: Path) -> int:
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"]
    entries = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)]
    return int(subprocess.run([*command, *entries], check=True, capture_output=True, text=True).stdout.strip().strip(","))


class TestFromUploadToDownload:
    """One visit, step by step; each test goes on where the one before stopped."""

    def test_it_begins_with_one_question(self, page):
        assert page.tab.title() == "iconface-video"
        assert page.tab.locator("section:visible").count() == 1
        page.until("document.getElementById('clip-limit').textContent.includes('up to')")
        page.photograph("1-start")

    def test_a_text_file_is_refused_with_a_sentence(self, page, tmp_path):
        letter = tmp_path / "letter.mp4"
        letter.write_text("Dear Anna,\nhow are you?\n" * 100)
        page.add_clip(letter)
        page.tab.wait_for_selector("#alert:visible")
        assert "letter.mp4: this is a text file, not a video" in page.tab.inner_text("#alert-text")
        page.photograph("2-refused")
        assert page.server.files() == []

    def test_too_large_an_upload_is_refused(self, page, tmp_path):
        long = tmp_path / "long.mp4"
        long.write_bytes(bytes(5_000_001))
        page.add_clip(long)
        page.until("document.getElementById('alert-text').textContent.startsWith('long')")
        assert "than the 5.0 MB that are allowed here" in page.tab.inner_text("#alert-text")
        assert page.server.files() == []

    def test_a_clip_shows_its_people(self, page, clip):
        page.tab.click("#alert-close")
        page.drop("#clip-drop", clip, "video/mp4")
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

    def test_a_photo_is_dropped_on_a_person(self, page, tmp_path):
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

    def test_a_frame_is_previewed_and_strength_shows_at_once(self, page):
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

    def test_a_stretch_is_previewed_as_a_film(self, page):
        page.tab.click("#preview-stretch")
        page.wait_for("#preview-compare .play")
        page.wait_done()
        page.until("document.querySelector('#preview-compare video').readyState >= 2")
        length = page.tab.evaluate("document.querySelector('#preview-compare video').duration")
        assert length == pytest.approx(1.0, abs=0.1)
        page.tab.click("#preview-compare .play")
        page.until("document.querySelector('#preview-compare video').currentTime > 0.1")
        page.tab.click("#preview-compare .play")

    def test_cancel_stops_and_leaves_nothing_but_restored_faces(self, page):
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

    def test_the_video_is_restored_shown_and_downloaded(self, page, clip, tmp_path):
        page.tab.click("#run")
        page.until(f"/: [1-9][0-9]* of 25 faces/.test({DETAIL}) || !document.getElementById('result').hidden")
        with page.standing_still():
            page.photograph("5-working", whole=False)
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

    def test_another_strength_is_written_anew_and_both_results_are_kept(self, page, server):
        page.tab.focus("#strength")
        for _ in range(4):
            page.tab.keyboard.press("ArrowLeft")
        page.wait_for("#outdated")
        assert "this has changed: the strength" in page.tab.inner_text("#outdated")
        assert page.tab.inner_text("#run") == "Write it anew, without restoring again"
        page.tab.click("#run")
        page.until("document.querySelectorAll('#versions input').length === 2")
        page.wait_done()
        assert "at 70 % strength" in page.tab.inner_text("#result-summary")
        assert not page.tab.is_visible("#outdated")
        assert len(list(server.projects.glob("*/results/*/out/*.mp4"))) == 2
        assert page.tab.inner_text("#announce") == "The video is restored."

    def test_two_results_are_compared_in_the_viewer(self, page):
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

    def test_the_settings_of_an_earlier_result_are_taken_again(self, page):
        page.tab.check("#versions input >> nth=1")
        page.tab.click("#take-settings")
        page.until("document.getElementById('strength').value === '90'")
        page.until("document.getElementById('outdated').hidden")
        page.tab.check("#versions input >> nth=0")
        page.tab.click("#take-settings")
        page.until("document.getElementById('strength').value === '70'")

    def test_a_reload_keeps_everything_and_another_tab_sees_the_same(self, page, browser, server, pictures):
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

    def test_a_killed_server_goes_on_and_so_does_the_page(self, page, server):
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

    def test_every_control_is_reached_by_the_keyboard(self, page):
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

    def test_a_part_is_chosen_by_the_keyboard(self, page):
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

    def test_more_settings(self, page):
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

    def test_it_speaks_german(self, browser, server, pictures):
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

    def test_several_clips_at_once_wait_in_line(self, page, clip, tmp_path):
        copies = [shutil.copy(clip, tmp_path / f"{name}.mp4") for name in ("one", "two", "three")]
        page.tab.click("#to-list")
        page.wait_for("#clip-drop")
        page.tab.set_input_files("#clip-file", copies)
        page.until(
            "document.querySelectorAll('.project').length === 4 && document.querySelectorAll('#line-list li').length === 0"
        )
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
        page.until("document.querySelectorAll('#line-list li').length === 0 && document.getElementById('line').hidden")
        page.until("[...document.querySelectorAll('.project .state')].every(e => e.textContent.startsWith('Restored'))")

    def test_a_project_is_deleted_after_a_question_and_no_other(self, page, server):
        """There is no "start over" any more, which took all of it at one click."""
        asked: list[str] = []
        page.tab.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        page.tab.click("[aria-label='Delete one']")
        assert asked[0].startswith("Delete one with all its results and photos")
        assert len(list(server.projects.glob("*/project.json"))) == 4
        page.tab.once("dialog", lambda dialog: dialog.accept())
        page.tab.click("[aria-label='Delete one']")
        page.until("document.querySelectorAll('.project').length === 3")
        assert len(list(server.projects.glob("*/project.json"))) == 3

    def test_whom_you_keep_is_listed_and_forgotten_after_a_question(self, page, server):
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

    def test_appearances_are_taken_apart_and_joined_again(self, page, twice):
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


class TestTwoPeople:
    """Side by side in one clip, from upload to download; each test goes on where the one before stopped."""

    def test_both_are_found_each_with_two_appearances(self, page, pair):
        page.tab.goto(page.server.url)
        page.wait_for("#clip-drop")
        page.tab.set_input_files("#clip-file", pair)
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

    def test_both_are_restored_and_downloaded(self, page, pair, tmp_path):
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
        page.tab.goto(page.server.url)
        page.wait_for("#clip-drop")
        page.tab.set_input_files("#clip-file", empty_clip)
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
