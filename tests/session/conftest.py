"""Shared by the tests of the engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from iconface_video.restore.timeline import TimelineCounts
from iconface_video.session.engines.engine import LocalEngine
from iconface_video.session.engines.job import RestoreWork
from tests.session.engine_parts import SETTINGS, Found, crops_of, find, stand_in


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return find(tmp_path_factory.mktemp("found"))


@pytest.fixture(scope="session")
def made_locally(found: Found, tmp_path_factory: pytest.TempPathFactory) -> tuple[RestoreWork, TimelineCounts, list[tuple]]:
    """What the local engine makes of it."""
    work = found.work(tmp_path_factory.mktemp("local"))
    counts = LocalEngine(stand_in(SETTINGS)).restore(work, lambda done: None, lambda event: None, lambda: None)
    return work, counts, crops_of(work)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return tmp_path / "crops"
