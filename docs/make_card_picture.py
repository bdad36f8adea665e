"""Draw docs/pictures/strengths.jpg: one face damaged more and more, and what the shipped weights make of it.

    python docs/make_card_picture.py

The portrait is NASA's, of Eileen Collins, in the public domain (scikit-image carries it; the `dev` extra).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from iconface_video import restore_faces
from iconface_video.degrade import degrade
from iconface_video.faces.align import crop_from_display, cut_crop, estimate_parameters
from iconface_video.faces.detector import CenterFace

SIZE = 256
STRENGTHS = (4.0, 8.0, 12.0, 16.0, 20.0)


def main() -> None:
    portrait = data.astronaut()
    (face,) = CenterFace().detect(portrait)
    truth = cut_crop(portrait, crop_from_display(estimate_parameters(face.landmarks), SIZE), SIZE)
    columns = []
    for strength in STRENGTHS:
        damaged = degrade(truth, strength, np.random.default_rng(3))
        restored = restore_faces(damaged, aligned=True).image
        columns.append(np.vstack([damaged, restored, truth]))
    out = Path(__file__).parent / "pictures" / "strengths.jpg"
    cv2.imwrite(str(out), cv2.cvtColor(np.hstack(columns), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(out)


if __name__ == "__main__":
    main()
