"""A server without a browser, with stand-ins for the models: what is tested is who gets what, not the faces."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from iconface_video.errors import ReferencePhotoError
from iconface_video.identity.references import ReferencePhoto, read_photo
from iconface_video.pipelines.survey import survey
from iconface_video.settings import RunSettings, SurveySettings
from iconface_video.types import Survey
from iconface_video.web.app import create_app
from iconface_video.web.engine import Engine
from iconface_video.web.serving import ServeSettings

ADDRESS = "http://127.0.0.1:8765"


class NoModels(Engine):
    """Embeds everything alike; any picture is a photo of a face."""

    @property
    def embed(self):
        return lambda crops: np.ones((len(crops), 512), np.float32)

    def read_reference(self, path: Path) -> ReferencePhoto:
        picture = read_photo(path)
        if picture.shape[0] < 8:
            raise ReferencePhotoError(f"{path}: no face was found in this reference photo")
        return ReferencePhoto(path, np.zeros((256, 256, 3), np.uint8), np.ones(512, np.float32))


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where the server keeps its files, of this test alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def serve_settings() -> ServeSettings:
    return ServeSettings(max_upload_bytes=3_000_000, max_photo_bytes=1_000_000)


@pytest.fixture(scope="session")
def known_survey(face_clip: Path) -> Survey:
    """A real survey of the clip, made once."""
    settings = RunSettings(survey=SurveySettings(detection_size=256))
    return survey(face_clip, settings=settings, embed=NoModels().embed)


@pytest.fixture
def quick_survey(known_survey, monkeypatch) -> None:
    """Surveys of copies of the clip take no time."""

    def again(path: Path, **_: object) -> Survey:
        return replace(known_survey, info=replace(known_survey.info, path=path))

    monkeypatch.setattr("iconface_video.web.work.survey", again)


@pytest.fixture
def client(temporary, serve_settings) -> Iterator[TestClient]:
    with TestClient(create_app(serve_settings, NoModels()), base_url=ADDRESS) as opened:
        yield opened


@pytest.fixture
def work(client) -> str:
    """A page's own address."""
    answer = client.post("/api/work")
    assert answer.status_code == 201
    return f"/api/work/{answer.json()['work']}"
