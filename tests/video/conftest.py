"""Clips made by the ffmpeg command line, and what it says about files: ground truth that is not our own code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def run(*command: str | Path) -> bytes:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout


class Ffmpeg:
    """The ffmpeg and ffprobe tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, *arguments: str | Path) -> Path:
        """Run ffmpeg with `arguments`; the output is `name` in the test's folder."""
        path = self.folder / name
        run("ffmpeg", "-v", "error", "-y", *arguments, path)
        return path

    def picture(self, name: str, *arguments: str, size: str = "64x48", seconds: float = 1, rate: str = "25") -> Path:
        """A moving test picture, encoded as `arguments` say."""
        source = f"testsrc2=s={size}:d={seconds}:r={rate}"
        return self(name, "-f", "lavfi", "-i", source, *arguments)

    def with_sound(self, name: str, *arguments: str, size: str = "64x48", seconds: float = 1, rate: str = "25") -> Path:
        """The same with a tone beside it."""
        inputs = ("-f", "lavfi", "-i", f"testsrc2=s={size}:d={seconds}:r={rate}")
        tone = ("-f", "lavfi", "-i", f"sine=440:d={seconds}:r=48000")
        return self(name, *inputs, *tone, *arguments)

    def times(self, path: Path, stream: str = "v:0") -> list[Fraction]:
        """Presentation times in seconds, exact, of the frames that are shown, in order."""
        arguments = ("-select_streams", stream, "-show_entries", "stream=time_base:frame=best_effort_timestamp")
        found = self.probe(path, *arguments)
        time_base = Fraction(found["streams"][0]["time_base"])
        return [int(frame["best_effort_timestamp"]) * time_base for frame in found["frames"]]

    def probe(self, path: Path, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(run("ffprobe", "-v", "error", "-of", "json", *arguments, path)))

    def video_stream(self, path: Path) -> dict[str, Any]:
        """What ffprobe says about the first video stream."""
        return dict(self.probe(path, "-select_streams", "v:0", "-show_streams")["streams"][0])

    def rotation(self, path: Path) -> float:
        sides = self.video_stream(path).get("side_data_list", [])
        return next((float(side["rotation"]) for side in sides if "rotation" in side), 0.0)

    def raw(self, path: Path, *arguments: str) -> bytes:
        """All frames of the film, decoded as stored, planes one after the other."""
        return run(
            "ffmpeg", "-v", "error", "-noautorotate", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough",
            *arguments, "-f", "rawvideo", "-",
        )  # fmt: skip

    def packets_md5(self, path: Path, kind: str) -> bytes:
        """Hash over the packets of all streams of a kind, as they are in the file."""
        return run("ffmpeg", "-v", "error", "-i", path, "-map", f"0:{kind}", "-c", "copy", "-f", "md5", "-")


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Ffmpeg:
    return Ffmpeg(tmp_path)


@pytest.fixture
def raw_bytes() -> Callable[[Any], bytes]:
    """A frame's planes as `ffmpeg -f rawvideo` lays them out."""
    return lambda frame: b"".join(np.ascontiguousarray(plane).tobytes() for plane in frame.planes)


@pytest.fixture
def vfr_clip(ffmpeg: Ffmpeg) -> tuple[Path, list[Fraction]]:
    """24 frames at 1/24 s, every third removed: times 0, 1, 3, 4, 6 ... ticks, listed here and not computed by our reader."""
    path = ffmpeg.with_sound(
        "vfr.mp4", "-vf", "select='mod(n+1,3)'", "-fps_mode", "passthrough", "-video_track_timescale", "24000",
        "-c:a", "aac", rate="24",
    )  # fmt: skip
    return path, [Fraction(n, 24) for n in range(24) if (n + 1) % 3]
