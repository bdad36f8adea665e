"""A server without a browser, with stand-ins for the models: what is tested is who gets what, not the faces."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from iconface_video.errors import ReferencePhotoError
from iconface_video.identity.references import ReferencePhoto, read_photo
from iconface_video.pipelines.survey import survey
from iconface_video.settings import RunSettings, SurveySettings
from iconface_video.tracking.store import part_of_survey
from iconface_video.types import Survey
from iconface_video.web.app import create_app
from iconface_video.web.door import Door
from iconface_video.web.engine import Engine
from iconface_video.web.projects import Projects
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

    def crop_sizes(self, settings: RunSettings) -> tuple[int, ...]:
        return (128, 256)

    def face_seconds(self, settings: RunSettings, sizes: Iterable[int]) -> dict[int, float]:
        return {size: size / 10_000 for size in sizes}

    def learn_pace(self, settings: RunSettings, seconds: Mapping[int, float]) -> None:
        """The user's memory of this machine is left alone."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where this test's projects are kept."""
    return tmp_path / "projects"


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
def three_people(known_survey, monkeypatch) -> None:
    """Surveys of copies of the clip: one who is seen in the first half, one in the second, one all the time."""
    (track,) = known_survey.tracks
    middle = int(track.pts[len(track) // 2])
    halves = (known_survey.first_pts, middle - 1), (middle, known_survey.last_pts)
    parts = [part_of_survey(known_survey, *half).tracks[0] for half in halves]
    tracks = tuple(replace(part, track_id=number, person=number) for number, part in enumerate([*parts, track]))

    def found(path: Path, **_: object) -> Survey:
        return replace(known_survey, info=replace(known_survey.info, path=path), tracks=tracks)

    monkeypatch.setattr("iconface_video.web.work.survey", found)


@contextmanager
def serving(folder: Path, settings: ServeSettings | None = None, engine: Engine | None = None, door: Door | None = None):
    """A server on this folder, from its start to its end; entered again it is the next one."""
    app = create_app(settings or ServeSettings(), Projects(folder, engine or NoModels()), door)
    with TestClient(app, base_url=ADDRESS) as client:
        yield client


@pytest.fixture
def client(folder, serve_settings) -> Iterator[TestClient]:
    with serving(folder, serve_settings) as opened:
        yield opened


def wait_until_idle(client: TestClient, project: str, seconds: float = 240.0) -> dict:
    """project: its address. Gives the state that it comes to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = client.get(project).json()
        if state["job"] is None or state["job"]["status"] not in ("waiting", "running"):
            return state
        time.sleep(0.1)
    raise AssertionError(f"still at work after {seconds} s: {state['job']}")


def put_clip(client: TestClient, path: Path, name: str = "clip.mp4"):
    return client.put("/api/projects", params={"name": name}, content=path.read_bytes())


def added(client: TestClient, path: Path, name: str = "clip.mp4") -> str:
    """The address of a new project that was looked through."""
    answer = put_clip(client, path, name)
    assert answer.status_code == 201, answer.text
    project = f"/api/projects/{answer.json()['id']}"
    state = wait_until_idle(client, project)
    assert state["job"]["status"] == "done", state["job"]
    return project


@pytest.fixture
def surveyed(client, face_clip, quick_survey) -> str:
    """A project whose clip was looked through; it shows one person."""
    return added(client, face_clip)


def files_under(folder: Path, but: tuple[str, ...] = ()) -> list[str]:
    """but: names of files and folders that do not count."""
    found = [path for path in folder.rglob("*") if path.is_file() and not set(path.relative_to(folder).parts) & set(but)]
    return sorted(path.name for path in found if not path.name.startswith(".iconface"))
