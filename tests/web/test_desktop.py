"""The folder of a result in the desktop's own window: which program, which folder, and who may ask."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from iconface_video.web import desktop
from iconface_video.web.serving import ServeSettings
from tests.web.conftest import added, serving, wait_until_idle
from tests.web.test_work import Standing


@pytest.fixture
def opened(tmp_path, monkeypatch) -> Path:
    """What the stand-in for the desktop's program writes: the folder that it was started with."""
    programs, told = tmp_path / "programs", tmp_path / "told.txt"
    programs.mkdir()
    for name in ("xdg-open", "open", "explorer"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {told}.part\nmv {told}.part {told}\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("DISPLAY", ":7")
    return told


def read_when_there(path: Path) -> str:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    told = path.read_text()
    path.unlink()
    return told


def test_the_projects_own_folder_and_that_of_a_result(folder, face_clip, quick_survey, opened):
    with serving(folder, engine=Standing()) as client:
        project = added(client, face_clip)
        assert client.get("/api/about").json()["shows_folders"] is True
        assert client.post(f"{project}/folder", json={}).status_code == 200
        assert read_when_there(opened) == f"{folder / project.rpartition('/')[2]}|"
        client.post(f"{project}/run", json={})
        (result,) = wait_until_idle(client, project)["results"]
        assert Path(result["path"]).is_file()
        assert client.post(f"{project}/folder", json={"result": result["id"]}).status_code == 200
        assert read_when_there(opened) == f"{Path(result['path']).parent}|"


@pytest.mark.parametrize("wish", [{"result": "../.."}, {"result": "$(id)"}, {"result": 7}, {"result": ""}])
def test_no_other_folder_can_be_named(client, surveyed, opened, wish):
    assert client.post(f"{surveyed}/folder", json=wish).status_code == 400
    assert not opened.exists()


def test_a_path_in_the_request_is_not_looked_at(client, surveyed, folder, opened):
    assert client.post(f"{surveyed}/folder", json={"path": "/etc", "folder": "/etc"}).status_code == 200
    assert read_when_there(opened) == f"{folder / surveyed.rpartition('/')[2]}|"


def test_on_this_computer_alone_and_by_its_own_page(folder, face_clip, quick_survey, opened):
    with serving(folder, ServeSettings(host="0.0.0.0")) as client:
        project = added(client, face_clip)
        assert client.get("/api/about").json()["shows_folders"] is False
        assert client.post(f"{project}/folder", json={}).status_code == 403
    with serving(folder) as client:
        assert client.post(f"{project}/folder", json={}, headers={"origin": "https://evil.example"}).status_code == 403
    assert not opened.exists()


def test_without_a_desktop_there_is_no_button_and_a_sentence(client, surveyed, opened, monkeypatch):
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert desktop.opener("linux") is None
    assert client.get("/api/about").json()["shows_folders"] is False
    assert "no desktop here" in client.post(f"{surveyed}/folder", json={}).json()["error"]


@pytest.mark.parametrize(("platform", "name"), [("linux", "xdg-open"), ("darwin", "open"), ("win32", "explorer")])
def test_each_system_has_its_own_program(opened, platform, name):
    found = desktop.opener(platform)
    assert found is not None
    assert Path(found).name == name
    assert desktop.opener(platform, {"PATH": "", "DISPLAY": ":0"}) is None
