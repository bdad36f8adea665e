"""The main job on the sample clip, from the command line to the file; ground truth from ffmpeg and ffprobe."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iconface_video.cli.main import main

SAMPLES = Path(__file__).parents[2] / "samples"
TAPE = SAMPLES / "tape.mp4"


@dataclass(frozen=True)
class Demo:
    output: Path
    report: dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """What `make demo` runs, with JSON instead of the table."""
    folder = tmp_path_factory.mktemp("demo")
    command = ["run", str(TAPE), "-o", str(folder / "demo.mp4"), "--reference", str(SAMPLES / "photo.jpg"), "--json"]
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr(
            "iconface_video.cli.run_command.print_json", lambda values: printed.append(json.dumps(values, default=str))
        )
        assert main(command) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["demo.mp4"]
    return Demo(folder / "demo.mp4", json.loads(printed[0]))


def probed(path: Path, entries: str, stream: str = "v:0") -> list[str]:
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "csv=p=0", str(path)]
    # Frames with side data end in a comma.
    return [line.rstrip(",") for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


def audio_md5(path: Path) -> bytes:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "md5", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_same_frames_at_the_same_times(demo):
    times = probed(TAPE, "frame=pts_time")
    assert len(times) == 250
    assert [float(time) for time in probed(demo.output, "frame=pts_time")] == pytest.approx([float(time) for time in times])


def test_same_duration_within_one_frame(demo):
    before, after = (float(probed(path, "format=duration")[0]) for path in (TAPE, demo.output))
    assert abs(before - after) <= 1 / 25


def test_same_size_and_pixel_format(demo):
    entries = "stream=width,height,pix_fmt,sample_aspect_ratio"
    # A pixel shape that is not stated is square: N/A and 1:1 are the same.
    stated = [[line.replace("N/A", "1:1") for line in probed(path, entries)] for path in (demo.output, TAPE)]
    assert stated[0] == stated[1]


def test_audio_packets_are_identical(demo):
    assert audio_md5(demo.output) == audio_md5(TAPE)


def test_the_face_was_followed_and_restored_throughout(demo):
    report = demo.report
    assert (report["frames"], report["tracks"], report["people"]) == (250, 1, 1)
    assert report["frames_restored"] >= 245
    assert set(report["seconds"]) >= {"survey", "restore", "render"}


def test_the_output_says_what_was_done_to_it(demo, capsys):
    assert main(["probe", "--json", str(demo.output)]) == 0
    (mark,) = json.loads(capsys.readouterr().out)["restorations"]
    assert mark["model"] == "embedded"
    assert (mark["preset"], mark["strength"]) == ("family", 0.9)  # it looks like a tape
    assert mark["seed"] == 42
