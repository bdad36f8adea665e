"""The embedded model and encoder, once, and faces made of one portrait in the public domain."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from iconface_video.faces.identity_encoder import embed_crops, load_identity_encoder
from iconface_video.models.checkpoints import load_model
from iconface_video.personalize.photos import CROP_SIZE, PhotoFace, faces_in
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.personalize.views import ViewAmounts, another_view


@pytest.fixture(scope="session")
def model():
    return load_model("embedded")


@pytest.fixture(scope="session")
def encoder():
    return load_identity_encoder("embedded")


@pytest.fixture(scope="session")
def embed(encoder):
    return lambda crops: embed_crops(encoder, crops)


@pytest.fixture(scope="session")
def detector():
    from iconface_video.faces.detector import make_detector
    from iconface_video.settings import SurveySettings

    return make_detector(SurveySettings(detection_size=512), threads=1)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="session")
def face(astronaut_png, detector, embed) -> PhotoFace:
    """The portrait's face."""
    return faces_in(astronaut_png, detector, embed)[0]


@pytest.fixture(scope="session")
def faces(face, embed, tmp_path_factory) -> list[PhotoFace]:
    """Three "photos" of one person: the portrait, and seen from elsewhere in another light."""
    rng = np.random.default_rng(1)
    crops = [face.crop, *(another_view(face.crop, CROP_SIZE, ViewAmounts(0.05, 0.01), rng) for _ in range(2))]
    paths = [face.path.with_name(f"photo-{n}.png") for n in range(3)]
    return [PhotoFace(path, crop, row, 160.0) for path, crop, row in zip(paths, crops, embed(crops))]


@pytest.fixture(scope="session")
def other_photo(portrait, tmp_path_factory) -> Path:
    """A photo of the same person that is no frame of a clip made of the portrait: the head turned, another light."""
    seen = another_view(portrait, 512, ViewAmounts(0.12, 0.03), np.random.default_rng(5))
    path = tmp_path_factory.mktemp("photo") / "other.png"
    cv2.imwrite(str(path), seen[..., ::-1])
    return path


@pytest.fixture
def quick() -> PersonalizeSettings:
    """Everything that happens in learning, in a second."""
    return PersonalizeSettings(steps=2, faces=2, size=64, rank=4)


@pytest.fixture(autouse=True)
def _one_thread():
    """Last bits depend on the number of threads."""
    before, before_cv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    cv2.setNumThreads(before_cv)
