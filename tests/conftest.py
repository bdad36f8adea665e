"""Fixtures for several rooms: a portrait in the public domain and clips made of it with the ffmpeg program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

os.environ["ICONFACE_VIDEO_PEOPLE"] = (
    os.devnull + "-no-people"
)  # no test, and no process that one starts, sees the user's own people

CLIP_WIDTH, CLIP_HEIGHT, CLIP_RATE, CLIP_FRAMES = 320, 240, 12, 24


def ffmpeg(*arguments: str | Path) -> bytes:
    """Run the ffmpeg program; gives back its stdout."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def astronaut_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NASA's portrait of Eileen Collins, 512x512, one face of about 100 px (scikit-image, public domain)."""
    import cv2
    from skimage import data

    path = tmp_path_factory.mktemp("portrait") / "astronaut.png"
    cv2.imwrite(str(path), data.astronaut()[..., ::-1])
    return path


@pytest.fixture(scope="session")
def face_clip(astronaut_png: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the portrait, drifting sideways: 24 frames at 12 a second, H.264 and a 440 Hz tone in AAC."""
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    drift = f"scale=480:480,crop={CLIP_WIDTH}:{CLIP_HEIGHT}:'40+2*n':20,format=yuv420p"
    seconds = str(CLIP_FRAMES / CLIP_RATE)
    ffmpeg("-loop", "1", "-framerate", str(CLIP_RATE), "-t", seconds, "-i", astronaut_png,
           "-f", "lavfi", "-t", seconds, "-i", "sine=frequency=440", "-vf", drift,
           "-c:v", "libx264", "-crf", "12", "-threads", "1", "-c:a", "aac", path)  # fmt: skip
    return path


@pytest.fixture(scope="session")
def empty_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of test bars, no face, no sound."""
    path = tmp_path_factory.mktemp("clip") / "bars.mp4"
    ffmpeg("-f", "lavfi", "-t", "1", "-i", "smptebars=size=320x240:rate=12", "-pix_fmt", "yuv420p", "-threads", "1", path)
    return path
