"""Draw docs/pictures/damage-tape.jpg, damage-film.jpg and damage-camera.jpg: one frame of the sample clip through every medium.

    python docs/make_damage_pictures.py

The clip is samples/clean.mp4, whose picture is NASA's and in the public domain, enlarged to 720x540: what a medium does is
told in px of that size.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.presets import PRESETS

SIZE, FRAMES, SHOWN = (720, 540), 24, 15
SHEETS = {
    "tape": ("hi8", "video8", "vhs-sp", "vhs-lp", "vhs-ep", "vhs-copy"),
    "film": ("16mm", "16mm-bw", "super8", "8mm", "super8-faded", "film"),
    "camera": ("broadcast", "dv", "phone", "light", "medium", "heavy"),
}
FACE = np.s_[60:420, 170:530]
"""Rows and columns that are shown at full size; below them the lowest lines."""


def main() -> None:
    root = Path(__file__).parent.parent
    with av.open(str(root / "samples" / "clean.mp4")) as clip:
        frames = [picture.to_ndarray(format="rgb24") for picture, _ in zip(clip.decode(video=0), range(FRAMES))]
    frames = [cv2.resize(frame, SIZE, interpolation=cv2.INTER_CUBIC) for frame in frames]
    for name, media in SHEETS.items():
        tiles = [tile(medium, frames) for medium in media]
        sheet = np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])])
        out = root / "docs" / "pictures" / f"damage-{name}.jpg"
        cv2.imwrite(str(out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
        print(out)


def tile(medium: str, frames: list[np.ndarray]) -> np.ndarray:
    damaged = list(degrade_frames(iter(frames), PRESETS[medium], ClipFormat(*SIZE, 25.0), 4))[SHOWN]
    shown = np.vstack([damaged[FACE], damaged[-24:, FACE[1]]])
    shown[:28, : 16 + 11 * len(medium)] = 0
    cv2.putText(shown, medium, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(shown, ((0, 4), (0, 4), (0, 0)))


if __name__ == "__main__":
    main()
