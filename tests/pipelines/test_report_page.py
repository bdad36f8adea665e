"""The page of a run: its figures against ones computed here from the output, and nothing in it that lies elsewhere."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from dataclasses import replace
from html import unescape

import cv2
import numpy as np
import pytest

from iconface_video.errors import OutputError
from iconface_video.pages.report_page import MOST_DAMAGE, write_run_page
from iconface_video.pipelines.report import FaceObserver, check_page, page_of, write_page
from iconface_video.pipelines.restore import restore_video
from iconface_video.session.run_report import MOST_STILLS, _Stills
from iconface_video.settings import EncodeSettings, RunSettings
from iconface_video.video.probe import probe
from tests.pipelines.conftest import HEIGHT, WIDTH, Sharpener, grey_embed


@pytest.fixture(scope="module")
def told(tmp_path_factory, face_clip):
    from iconface_video.settings import RestoreSettings, RunSettings, SurveySettings

    folder = tmp_path_factory.mktemp("report")
    settings = RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(batch=4, seed=77),
        encode=EncodeSettings(codec="h264", preset="ultrafast", crf=4),
    )
    observer = FaceObserver()
    report = restore_video(
        face_clip, folder / "out & more.mp4", settings=settings, model=Sharpener(), embed=grey_embed, observer=observer
    )
    page = page_of(report.output)
    write_page(page, report, observer, settings, "iconface-video run 'a <b>.mp4'")
    return report, observer, page.read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_picture(told, face_clip):
    """The stand-in sharpens: so the face in the output, decoded by the ffmpeg program, is sharper by about as much."""
    report, observer, _ = told
    (track,) = observer.tracks.values()
    before, after = track.sharpness.means
    assert track.sharpness.count >= 2
    assert after > 1.2 * before
    levels = []
    for path in (face_clip, report.output):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
        frames = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8).reshape(
            -1, HEIGHT, WIDTH
        )
        levels.append(cv2.Laplacian(frames[12][55:110, 90:135], cv2.CV_32F).std())
    assert after / before == pytest.approx(levels[1] / levels[0], rel=0.35)
    likeness = track.likeness.means
    assert -1 <= likeness[1] <= 1
    assert likeness[0] == pytest.approx(1, abs=0.2)  # its own best frames are its anchor
    assert track.anchor == "track"


def test_the_page_says_it_all_and_needs_nothing_else(told, face_clip):
    report, _, text = told
    assert not re.search(r'\b(?:src|href|srcset)="(?!data:|#)', text)
    assert "http" not in re.sub(r"base64,[^\"]+", "", text)
    assert "<b>" not in text
    assert unescape(re.search(r"<pre>(.*?)</pre>", text)[1]) == "iconface-video run 'a <b>.mp4'"
    seen = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"base64,[^\"]+", "", text)))
    for expected in (
        face_clip.name,
        report.output.name,
        "77",
        "sharpener",
        "person 1",
        "own clearest frames",
        "restore.steps",
        "torch",
    ):
        assert expected in seen, expected
    data = json.loads(base64.b64decode(re.search(r'href="data:application/json;base64,([^"]+)"', text)[1]))
    assert data["figures"]["faces_restored"] == report.faces_restored
    (picture,) = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
    assert min(sheet.shape[:2]) > 500
    assert text.count("<table") == 3


def test_a_clip_without_faces_has_a_page_too(empty_clip, settings, tmp_path):
    settings = replace(settings, encode=EncodeSettings(codec="h264", preset="ultrafast"))
    observer = FaceObserver()
    report = restore_video(
        empty_clip, tmp_path / "out.mp4", settings=settings, model=Sharpener(), embed=grey_embed, observer=observer
    )
    write_page(tmp_path / "page.html", report, observer, settings)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "No face was found" in text
    assert "<img" not in text


def test_where_a_page_cannot_stand(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        check_page(tmp_path / "none" / "a.html", False)
    with pytest.raises(OutputError, match="is a folder"):
        check_page(tmp_path, False)
    (tmp_path / "a.html").write_text("")
    with pytest.raises(OutputError, match="exists already"):
        check_page(tmp_path / "a.html", False)
    with pytest.raises(OutputError, match=r"its name ends in \.html"):
        check_page(tmp_path / "tape.mp4", True)
    check_page(tmp_path / "a.html", True)


def test_stills_stay_few_and_spread_over_a_long_clip():
    stills, picture = _Stills(), np.zeros((64, 64, 3), np.uint8)
    for second in range(10_000):
        if stills.wants(float(second)):
            stills.add(float(second), picture, picture)
            assert len(stills._kept) <= MOST_STILLS
    times = [still.seconds for still in stills.chosen(3)]
    assert len(times) == 3
    assert times[0] == 0
    assert 2500 < times[1] < 7500
    assert times[2] > 5000


def test_the_page_shows_what_the_model_takes_for_wrong(told, tmp_path):
    """A third row of stills, brighter where the face was spoilt more; no such row of a model that cannot tell."""
    report, observer, text = told
    assert "takes for wrong" in text
    seen = []

    def halves(crops):
        seen.append(crops)
        return np.tile(np.repeat(np.float32([0, MOST_DAMAGE]), 64), (len(crops), 128, 1))

    for name, tells in (("told", halves), ("silent", lambda crops: None)):
        write_run_page(tmp_path / f"{name}.html", probe(report.input), report, observer, RunSettings(), {}, "", tells)
    sheets = {}
    for name in ("told", "silent"):
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        (picture,) = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
        sheets[name] = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
        assert ("takes for wrong" in text) == (name == "told")
    height = sheets["silent"].shape[0]
    row = sheets["told"][height + 40 : -20]
    assert sheets["told"].shape[0] > height + 200
    assert (row.reshape(-1, 3) == 0).all(1).any() or (row.reshape(-1, 3) < 12).all(1).any()
    assert (row[..., 1] > 230).any()
    assert seen[0].shape[1:] == (256, 256, 3)
