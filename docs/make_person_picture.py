"""Draw docs/pictures/person.jpg: one badly damaged face, restored without photos, with a photo shown, and with the person learnt from it.

    python docs/make_person_picture.py

The portrait is NASA's, of Eileen Collins, in the public domain (scikit-image carries it; the `dev` extra). The photo that is learnt
from is the very portrait, turned, bent and relit by a perspective and an elastic warp: of another day there is none that is as free.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from iconface_video import RunSettings, restore_faces
from iconface_video.degrade import degrade
from iconface_video.faces.align import crop_from_display, cut_crop, estimate_parameters
from iconface_video.faces.detector import CenterFace
from iconface_video.personalize.views import ViewAmounts, another_view
from iconface_video.settings import RestoreSettings

SIZE, STRENGTH = 256, 15.0
TITLES = ("the photo", "damaged", "restored", "with the photo shown", "with the person learnt", "the truth")


def main() -> None:
    portrait = data.astronaut()
    (face,) = CenterFace().detect(portrait)
    truth = cut_crop(portrait, crop_from_display(estimate_parameters(face.landmarks), SIZE), SIZE)
    photo = another_view(truth, SIZE, ViewAmounts(0.07, 0.02), np.random.default_rng(1))
    damaged = degrade(truth, STRENGTH, np.random.default_rng(3))
    plain = RunSettings(restore=RestoreSettings(personalize="off"))
    learnt = replace(plain, restore=RestoreSettings(personalize="on"))
    restored = [
        restore_faces(damaged, photos, aligned=True, settings=settings).image
        for photos, settings in (((), plain), ((photo,), plain), ((photo,), learnt))
    ]
    tiles = [titled(picture, title) for picture, title in zip((photo, damaged, *restored, truth), TITLES)]
    out = Path(__file__).parent / "pictures" / "person.jpg"
    cv2.imwrite(str(out), cv2.cvtColor(np.hstack(tiles), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(out)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    bar = np.zeros((28, SIZE, 3), np.uint8)
    cv2.putText(bar, title, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(np.vstack([bar, picture]), ((0, 0), (0, 4), (0, 0)))


if __name__ == "__main__":
    main()
