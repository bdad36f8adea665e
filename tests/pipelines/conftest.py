"""Clips for the pipelines' tests, made with the ffmpeg program from a public-domain portrait."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.types import IdentityAnchor

WIDTH, HEIGHT, FRAMES, RATE = 256, 192, 24, 12


class Sharpener:
    """A stand-in for the model: unsharp masking, a colour cast and the shared noise. Remembers what it was given."""

    name = "sharpener"
    crop_sizes = (64, 128)

    def __init__(self) -> None:
        self.anchors: list[IdentityAnchor] = []
        self.faces = 0

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        return 3, size, size

    def prepare(self, anchor: IdentityAnchor, size: int) -> IdentityAnchor:
        self.anchors.append(anchor)
        return anchor

    def restore(self, crops, contexts, noise):
        self.faces += len(crops)
        soft = np.stack([cv2.GaussianBlur(crop, (0, 0), 2) for crop in crops]).astype(np.float32)
        sharp = crops + 1.5 * (crops - soft) + 4 * noise.transpose(0, 2, 3, 1) + np.array([20.0, 0.0, -20.0])
        return np.clip(sharp, 0, 255).astype(np.uint8)


def grey_embed(crops) -> np.ndarray:
    """A picture's grey values as its 512-vector."""
    small = [cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (32, 16), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.array([(picture - picture.mean()).ravel() for picture in np.float32(small).reshape(-1, 16, 32)], np.float32)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


def reading_raw(pix_fmt: str, width: int, height: int) -> list[str]:
    """The beginning of a command of ffmpeg's that takes pictures from standard input."""
    form = ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", f"{width}x{height}", "-r", str(RATE)]
    return ["ffmpeg", "-v", "error", "-y", *form, "-i", "-"]


def write_clip(path: Path, pictures: list[np.ndarray], *, audio: bool = True) -> Path:
    """RGB pictures -> H.264 with a sine tone."""
    height, width = pictures[0].shape[:2]
    command = reading_raw("rgb24", width, height)
    if audio:
        command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={len(pictures) / RATE}", "-c:a", "aac", "-shortest"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv420p", "-threads", "1", str(path)]
    subprocess.run(command, input=b"".join(picture.tobytes() for picture in pictures), check=True)
    return path


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory, portrait) -> Path:
    """Two seconds: the portrait drifts over a plain ground; the face is about 80 px high."""
    pictures = []
    for index in range(FRAMES):
        shift = np.float32([[0.6, 0, -40 + 1.5 * index], [0, 0.6, 5 + 0.5 * index]])
        pictures.append(cv2.warpAffine(portrait, shift, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderValue=(90, 100, 110)))
    return write_clip(tmp_path_factory.mktemp("clips") / "face.mp4", pictures)


@pytest.fixture(scope="session")
def empty_clip(tmp_path_factory) -> Path:
    """One second without a face."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.normal(128, 60, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 8)
    pictures = [np.clip(np.roll(ground, 2 * index, axis=1) + 3 * index, 0, 255).astype(np.uint8) for index in range(RATE)]
    return write_clip(tmp_path_factory.mktemp("clips") / "empty.mp4", pictures)


@pytest.fixture
def settings() -> RunSettings:
    """Lossless and fast."""
    return RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(batch=4),
        encode=EncodeSettings(codec="ffv1", encoder_threads=1),
    )


def decode_raw(path: Path, start: int = 0) -> np.ndarray:
    """(n, bytes) every stored sample of every frame, decoded by the ffmpeg program."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-",
    ]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, WIDTH * HEIGHT * 3 // 2)


def luma(raw: np.ndarray) -> np.ndarray:
    """(n, h, w) of `decode_raw`."""
    return raw[:, : WIDTH * HEIGHT].reshape(-1, HEIGHT, WIDTH)


def packet_times(path: Path, stream: str = "v:0") -> list[str]:
    """PTS in seconds, sorted, by ffprobe."""
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
        str(path),
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return sorted((item.strip(",") for item in found), key=float)


def audio_md5(path: Path) -> str:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "md5", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
