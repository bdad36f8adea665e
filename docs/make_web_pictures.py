"""Writes docs/pictures/web-*.png: the page as a real browser shows it. Runs the browser tests, which take the pictures: `make web-pictures`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from iconface_video.types import UInt8

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "pictures"
MOST_BYTES = 300_000
WIDTH = 900
PICTURES = {
    "web-start": ("1-start-light", None),
    "web-people": ("3-people-light", 1100),
    "web-people-dark": ("3-people-dark", 1100),
    "web-narrow": ("3-people-light-narrow", 1100),
    "web-preview": ("4-preview-light", None),
    "web-working": ("5-working-light", None),
    "web-result": ("6-result-light", None),
    "web-projects": ("9-line-light", None),
}
"""Name here -> (the test's picture, height in px that is shown; None: all).  Long pages are cut to what matters."""
BOTTOM = {"web-preview": (1330, 580), "web-result": (1045, 480), "web-projects": (990, 148)}
"""Of these, px from the end between which they are shown."""


def take(folder: Path) -> None:
    """All states of the page, by the browser tests."""
    environment = {**os.environ, "ICONFACE_WEB_PICTURES": str(folder), "ICONFACE_NEEDS_BROWSER": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "tests/web/browser"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def shrink(picture: UInt8) -> bytes:
    """A PNG small enough for a repository: fewer px, then fewer colours."""
    if picture.shape[1] > WIDTH:
        size = WIDTH, round(picture.shape[0] * WIDTH / picture.shape[1])
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    for bits in (0, 1, 2, 3):
        coarse = picture if bits == 0 else np.asarray((picture >> bits << bits) | (1 << bits >> 1), np.uint8)
        data = cv2.imencode(".png", coarse, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        if len(data) <= MOST_BYTES:
            return data
    raise SystemExit(f"a picture has {len(data)} bytes even with few colours; show less of it")


def main(folder: Path | None) -> None:
    """folder: pictures that were taken before; None: take them now."""
    with tempfile.TemporaryDirectory() as new:
        if folder is None:
            folder = Path(new)
            take(folder)
        OUT.mkdir(exist_ok=True)
        for name, (source, height) in PICTURES.items():
            picture = np.asarray(cv2.imread(str(folder / f"{source}.png")), np.uint8)
            shown = picture[-BOTTOM[name][0] : -BOTTOM[name][1]] if name in BOTTOM else picture[:height]
            (OUT / f"{name}.png").write_bytes(shrink(shown))
            print(f"wrote {OUT / name}.png", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
