"""Two videos in one: every sample, time and sound checked against what the ffmpeg program decodes of the inputs."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.errors import Cancelled, OutputError, UsageError
from iconface_video.pipelines.compare import CompareRequest, compare_videos
from iconface_video.render.side_by_side import CompareSettings
from iconface_video.settings import EncodeSettings
from tests.pipelines.conftest import audio_md5, packet_times

LOSSLESS = EncodeSettings(codec="ffv1", encoder_threads=1)
WIDTH, HEIGHT = 96, 64


def clip(path: Path, values: list[int], rate: str, size: tuple[int, int] = (WIDTH, HEIGHT), more: tuple[str, ...] = ()) -> Path:
    """Flat grey frames whose luma code is `values`, with a tone. Lossless H.264."""
    width, height = size
    frames = b"".join(
        bytes([value]) * (width * height) + bytes([128]) * (2 * (-(-width // 2)) * (-(-height // 2))) for value in values
    )
    length = str(len(values) / float(Fraction(rate)))
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", rate, "-i", "-",
               "-f", "lavfi", "-i", f"sine=duration={length}", "-c:v", "libx264", "-qp", "0", "-threads", "1", "-c:a", "aac", *more, str(path)]  # fmt: skip
    subprocess.run(command, input=frames, check=True)
    return path


def raw(path: Path, width: int, height: int) -> np.ndarray:
    """(n, height, width) luma and (n, height / 2, width / 2) Cb of every frame, by the ffmpeg program."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]  # fmt: skip
    data = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)
    return data.reshape(-1, width * height * 3 // 2)[:, : width * height].reshape(-1, height, width)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def a(folder) -> Path:
    return clip(folder / "a.mp4", list(range(40, 64)), "24")


@pytest.fixture(scope="module")
def b(folder) -> Path:
    return clip(folder / "b.mp4", list(range(140, 164)), "24")


def test_side_by_side_holds_both_to_the_bit(a, b, tmp_path):
    report = compare_videos(CompareRequest(a, b, show_labels=False), tmp_path / "out.mp4", encode=LOSSLESS)
    seen = raw(report.output, 2 * WIDTH, HEIGHT)
    np.testing.assert_array_equal(seen[:, :, :WIDTH], raw(a, WIDTH, HEIGHT))
    np.testing.assert_array_equal(seen[:, :, WIDTH:], raw(b, WIDTH, HEIGHT))
    assert report.frames == 24
    assert not any("B" in note for note in report.notes)
    assert audio_md5(report.output) == audio_md5(a)
    assert packet_times(report.output) == packet_times(a)


@pytest.mark.parametrize(("rate", "steps"), [("12", 2), ("8", 3)])
def test_b_is_shown_at_as_times(rate, steps, a, tmp_path):
    """B has fewer frames a second: each stays until the next one begins."""
    slow = clip(tmp_path / "slow.mp4", list(range(100, 100 + 24 // steps)), rate)
    report = compare_videos(CompareRequest(a, slow, show_labels=False), tmp_path / "out.mp4", encode=LOSSLESS)
    shown = raw(report.output, 2 * WIDTH, HEIGHT)[:, 0, -1]
    assert shown.tolist() == [100 + index // steps for index in range(24)]


def test_a_matroska_copy_lines_up_in_spite_of_its_rounded_times(a, b, tmp_path):
    copy = tmp_path / "b.mkv"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(b), "-map", "0:v", "-c", "copy", str(copy)], check=True)
    report = compare_videos(CompareRequest(a, copy, show_labels=False), tmp_path / "out.mp4", encode=LOSSLESS)
    assert raw(report.output, 2 * WIDTH, HEIGHT)[:, 0, -1].tolist() == list(range(140, 164))


def test_a_part_is_placed_by_offset(a, tmp_path):
    part = clip(tmp_path / "part.mp4", list(range(200, 206)), "24")
    request = CompareRequest(a, part, offset=Fraction(1, 2), show_labels=False)
    report = compare_videos(request, tmp_path / "out.mp4", encode=LOSSLESS)
    seen = raw(report.output, 2 * WIDTH, HEIGHT)
    assert seen[:6, 0, 0].tolist() == list(range(52, 58))
    assert seen[:6, 0, -1].tolist() == list(range(200, 206))
    assert len(seen) <= 7


def test_a_start_in_the_middle_shows_both_from_there(a, b, tmp_path):
    request = CompareRequest(a, b, start=Fraction(1, 3), end=Fraction(2, 3), show_labels=False)
    seen = raw(compare_videos(request, tmp_path / "out.mp4", encode=LOSSLESS).output, 2 * WIDTH, HEIGHT)
    assert seen[:, 0, 0].tolist() == list(range(48, 56))
    assert seen[:, 0, -1].tolist() == list(range(148, 156))


def test_the_shorter_one_is_held_and_that_is_said(a, tmp_path):
    short = clip(tmp_path / "short.mp4", list(range(100, 112)), "24")
    report = compare_videos(CompareRequest(a, short, show_labels=False), tmp_path / "out.mp4", encode=LOSSLESS)
    assert raw(report.output, 2 * WIDTH, HEIGHT)[:, 0, -1].tolist() == [*range(100, 112)] + [111] * 12
    assert any("B ends 0.5 s before A" in note for note in report.notes)


def test_the_smaller_one_is_enlarged_another_shape_gets_bars(a, tmp_path):
    double = clip(tmp_path / "double.mp4", [180] * 24, "24", (2 * WIDTH, 2 * HEIGHT))
    for pair, who in (((a, double), "A"), ((double, a), "B")):
        report = compare_videos(CompareRequest(*pair, show_labels=False), tmp_path / f"{who}.mkv", encode=LOSSLESS)
        seen = raw(report.output, 4 * WIDTH, 2 * HEIGHT).astype(int)
        large, small = (seen[:, :, 2 * WIDTH :], seen[:, :, : 2 * WIDTH])[:: 1 if who == "A" else -1]
        assert (large == 180).all()  # the larger one's samples pass as they are
        assert np.abs(small - np.arange(40, 64)[:, None, None]).max() <= 1
        assert any(f"{who}'s picture (96x64) is enlarged" in note and "192x128" in note for note in report.notes)
    square = clip(tmp_path / "square.mp4", [180] * 24, "24", (HEIGHT, HEIGHT))
    report = compare_videos(CompareRequest(a, square, show_labels=False), tmp_path / "out2.mkv", encode=LOSSLESS)
    right = raw(report.output, 2 * WIDTH, HEIGHT)[0, :, WIDTH:].astype(int)
    assert np.abs(right[:, 18:-18] - 180).max() <= 1
    assert np.abs(right[:, :14] - 16).max() <= 1
    assert np.abs(right[:, -14:] - 16).max() <= 1
    assert any("bars" in note for note in report.notes)


def test_a_turned_film_is_shown_upright(a, b, tmp_path):
    """A phone's film: the left half of what is stored is dark; turned by 90 degrees clockwise the top is."""
    picture = np.full((HEIGHT, WIDTH), 200, np.uint8)
    picture[:, : WIDTH // 2] = 50
    frames = (picture.tobytes() + bytes([128]) * (WIDTH * HEIGHT // 2)) * 6
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-r",
        "24",
        "-i",
        "-",
    ]
    subprocess.run([*command, "-c:v", "libx264", "-qp", "0", str(flat)], input=frames, check=True)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(flat), "-c", "copy", "-metadata:s:v:0", "rotate=-90", str(turned)], check=True
    )
    report = compare_videos(CompareRequest(turned, turned, show_labels=False), tmp_path / "out.mp4", encode=LOSSLESS)
    seen = raw(report.output, 2 * HEIGHT, WIDTH)[0].astype(int)
    assert np.abs(seen[: WIDTH // 2 - 2] - 50).max() <= 1
    assert np.abs(seen[WIDTH // 2 + 2 :] - 200).max() <= 1


def test_a_fixed_divider_parts_the_picture(a, b, tmp_path):
    settings = CompareSettings(mode="wipe", divider=0.25)
    seen = raw(compare_videos(CompareRequest(a, b, show_labels=False), tmp_path / "out.mp4", settings=settings, encode=LOSSLESS).output, WIDTH, HEIGHT)  # fmt: skip
    assert (seen[:, :, :20] == np.arange(40, 64)[:, None, None]).all()
    assert (seen[:, :, 28:] == np.arange(140, 164)[:, None, None]).all()
    assert (seen[:, :, 24] > 200).all()


def test_a_moving_divider_goes_and_returns(a, b, tmp_path):
    settings = CompareSettings(mode="wipe", period=1.0)
    report = compare_videos(CompareRequest(a, b, show_labels=False), tmp_path / "out.mp4", settings=settings, encode=LOSSLESS)
    share_of_b = (raw(report.output, WIDTH, HEIGHT)[:, 0] >= 140).mean(axis=1)
    assert share_of_b[0] == 0
    assert share_of_b[12] == 1
    assert (np.diff(share_of_b[1:12]) >= 0).all()
    assert (np.diff(share_of_b[13:]) <= 0).all()


def test_blinking_takes_turns(a, b, tmp_path):
    settings = CompareSettings(mode="blink", period=0.5)
    report = compare_videos(CompareRequest(a, b, show_labels=False), tmp_path / "out.mp4", settings=settings, encode=LOSSLESS)
    is_b = raw(report.output, WIDTH, HEIGHT)[:, 0, 0] >= 140
    assert is_b.tolist() == ([False] * 6 + [True] * 6) * 2


def test_labels_stand_at_the_top_and_change_nothing_else(folder, tmp_path):
    large = clip(folder / "large.mp4", [100] * 3, "24", (320, 240))
    request = CompareRequest(large, large, labels=("före", "a name that is far too long to fit on the picture as a whole"))
    seen = raw(compare_videos(request, tmp_path / "out.mp4", encode=LOSSLESS).output, 640, 240)[0].astype(int)
    changed = np.abs(seen - 100) > 1
    assert changed[4:34, 4:60].mean() > 0.3
    assert seen[4:34, 4:60].max() > 200
    assert not changed[40:].any()
    assert not changed[:, 100:320].any()
    assert changed[:, 480:].any()
    assert not changed[:, -3:].any()


def test_a_page_in_one_file_needs_nothing_else(a, b, tmp_path):
    page = tmp_path / "look & see.html"
    report = compare_videos(CompareRequest(a, b, labels=("<before>", "after")), page=page, settings=CompareSettings(moments=3))
    text = page.read_text(encoding="utf-8")
    assert report.output is None
    assert "<before>" not in text
    assert "&lt;before&gt;" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "http" not in text
    pictures = [base64.b64decode(data) for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)]
    assert len(pictures) == 6
    for first, second in zip(pictures[1::2], pictures[0::2]):  # A lies above B
        shown = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).mean() for data in (first, second)]
        assert shown[1] - shown[0] == pytest.approx(100 * 255 / 219, abs=3)
    assert list(tmp_path.iterdir()) == [page]


def test_a_page_in_a_folder_has_films_of_equal_times(a, tmp_path):
    slow = clip(tmp_path / "slow.mp4", [150] * 12, "12")
    request = CompareRequest(a, slow, at=(Fraction(0), Fraction(1, 2)))
    report = compare_videos(request, page=tmp_path / "page")
    assert report.page == tmp_path / "page" / "index.html"
    text = report.page.read_text(encoding="utf-8")
    for source in re.findall(r'src="([^"]+)"', text):
        assert (report.page.parent / source).is_file()
    assert packet_times(report.page.parent / "a.mp4") == packet_times(report.page.parent / "b.mp4") == packet_times(a)
    assert audio_md5(report.page.parent / "a.mp4") == audio_md5(a)
    assert text.count("0:00.50") >= 1
    with pytest.raises(OutputError, match="not empty"):
        compare_videos(request, page=tmp_path / "page")


def test_what_stands_there_is_not_overwritten(a, b, tmp_path):
    with pytest.raises(OutputError, match="second input itself"):
        compare_videos(CompareRequest(a, b), b, force=True)
    with pytest.raises(OutputError, match="input itself"):
        compare_videos(CompareRequest(a, b), a, force=True)
    page = tmp_path / "page.html"
    page.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        compare_videos(CompareRequest(a, b), page=page)
    assert page.read_text() == "mine"
    with pytest.raises(UsageError, match="nothing to write"):
        compare_videos(CompareRequest(a, b))


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_pages_films_never_replace_an_input(which, a, b, tmp_path):
    """The page is to stand where the videos lie, one of which is named like a film of the page."""
    folder = tmp_path / "page"
    folder.mkdir()
    mine = Path(shutil.copy(a, folder / "b.mp4"))
    before = mine.read_bytes()
    request = CompareRequest(mine, b) if which == "first" else CompareRequest(a, mine)
    with pytest.raises(OutputError, match=rf"b\.mp4: this is the {which} input itself"):
        compare_videos(request, page=folder, force=True)
    assert mine.read_bytes() == before


def test_stopped_in_the_middle_nothing_is_left(a, b, tmp_path):
    asked = iter(range(100))
    with pytest.raises(Cancelled):
        compare_videos(CompareRequest(a, b), tmp_path / "out.mp4", tmp_path / "p.html", should_stop=lambda: next(asked) > 8)
    assert list(tmp_path.iterdir()) == []


def test_it_shows_only_the_face(face_clip, tmp_path):
    """The portrait's face drifts from about (95, 74) to (130, 86) in 256x192."""
    request = CompareRequest(face_clip, face_clip, crop_to_face=True, end=Fraction(1, 4))
    report = compare_videos(request, tmp_path / "out.mp4", encode=LOSSLESS)
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=width,height",
        "-of",
        "csv=p=0",
        str(report.output),
    ]
    width, height = map(
        int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0].split(",")[:2]
    )
    assert 60 < width / 2 < 240
    assert 60 < height <= 192
    assert not any("no face" in note for note in report.notes)
