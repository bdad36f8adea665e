"""Draw docs/pictures/hdr.jpg: one picture as SDR, PQ and HLG; its own codes, and what the networks get.

    python docs/make_hdr_picture.py

The portrait is NASA's, of Eileen Collins, in the public domain (scikit-image carries it; the `dev` extra).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from iconface_video.types import ColorTags
from iconface_video.video.display_light import as_shown, display_light

KINDS = {
    "SDR": ColorTags(space=1, primaries=1, transfer=1),
    "PQ": ColorTags(space=9, primaries=9, transfer=16),
    "HLG": ColorTags(space=9, primaries=9, transfer=18),
}


def main() -> None:
    picture = (data.astronaut()[:300, 90:390] / 255).astype(np.float32)
    columns = []
    for name, color in KINDS.items():
        light = display_light(color)
        codes = picture if light is None else light.own(picture)
        column = np.vstack([np.rint(codes * 255).astype(np.uint8), as_shown(codes, color)])
        column = np.ascontiguousarray(column[..., ::-1])
        cv2.putText(column, name, (10, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
        columns.append(column)
    cv2.imwrite(str(Path(__file__).parent / "pictures" / "hdr.jpg"), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
