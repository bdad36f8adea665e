"""Clips for the survey, written by the ffmpeg command from pictures that numpy composes: their truth is known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np


def scene(width: int, height: int, seed: int) -> np.ndarray:
    """A faceless backdrop: big soft blobs of colour."""
    coarse = np.random.default_rng(seed).integers(30, 226, (5, 7, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def paste(background: np.ndarray, picture: np.ndarray, x: int, y: int) -> np.ndarray:
    """The picture on the background with its corner at x, y (clipped at the edges)."""
    result = background.copy()
    height, width = result.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + picture.shape[1], width), min(y + picture.shape[0], height)
    result[y0:y1, x0:x1] = picture[y0 - y : y1 - y, x0 - x : x1 - x]
    return result


def write_clip(path: Path, frames: list[np.ndarray], options: tuple[str, ...] = (), rate: int = 25) -> Path:
    """RGB frames as near-lossless H.264 by the ffmpeg command."""
    height, width = frames[0].shape[:2]
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate)]
    command += ["-i", "-", "-c:v", "libx264", "-crf", "8", "-preset", "ultrafast", "-pix_fmt", "yuv420p", *options, str(path)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
    return path
