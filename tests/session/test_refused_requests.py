"""What a run is asked for and cannot do, and folders of runs that are none: refused by name, before the work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iconface_video.errors import CheckpointError, InputError, OutputError, StoreError, UsageError
from iconface_video.lock import working_in
from iconface_video.restore.crop_store import STORE_FILE, read_header
from iconface_video.session.checks import check_settings
from iconface_video.session.clip_batch import find_inputs
from iconface_video.session.people_folder import SavedPeople
from iconface_video.settings import EngineSettings, RestoreSettings, RunSettings


@pytest.mark.parametrize(
    ("restore", "message"),
    [
        pytest.param(
            RestoreSettings(dtype="float16"), "dtype is 'float16', but the model 'embedded' was tested with", id="dtype"
        ),
        pytest.param(RestoreSettings(crop_size=200), r"takes multiples of 16 px, such as 192 or 208", id="crop size"),
        pytest.param(RestoreSettings(vae_tiling=True), "has no latent autoencoder: leave `vae_tiling` out", id="tiling"),
        pytest.param(RestoreSettings(device="gpu"), "device is 'gpu', must be auto, cpu, cuda", id="device"),
        pytest.param(RestoreSettings(device="cpu,tpu"), "name only one type", id="devices of two types"),
    ],
)
def test_settings_that_the_model_does_not_take(restore: RestoreSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_settings(RunSettings(restore=restore))


def test_no_memory_at_all() -> None:
    with pytest.raises(UsageError, match="max_memory is '0G', must be more than nothing"):
        check_settings(RunSettings(engine=EngineSettings(max_memory="0G")))


def test_a_model_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        check_settings(RunSettings(restore=RestoreSettings(model=str(tmp_path / "nowhere"))))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        pytest.param("none.mp4", "there is no such file, folder or match", id="file"),
        pytest.param("*.mkv", "there is no such file, folder or match", id="pattern"),
        pytest.param(".", "no video in this folder", id="folder"),
    ],
)
def test_a_batch_of_nothing(pattern: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=rf"{message}\. Videos are files such as \.mp4"):
        find_inputs([str(tmp_path / pattern)], tmp_path / "out", {})


def test_a_folder_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"file/work: cannot be locked against other runs \(Not a directory\)"),
        working_in(tmp_path / "file" / "work"),
    ):
        pass


HEADER = {"version": 1, "fingerprint": "a", "input": "a.mp4", "segments": [[0, 0, 9], [1, 10, 19]], "facts": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"version": 9}, r"written by another version of this program \(store version 9\)", id="version"),
        pytest.param({"segments": [[0, 0, 9], [1, 5, 19]]}, "damaged .*segments that overlap", id="overlap"),
        pytest.param({"segments": [[0, 9, 0]]}, "damaged .*ends before it begins", id="backwards"),
        pytest.param({"segments": [[0, 0.5, 9]]}, "damaged .*without whole numbers", id="half a tick"),
        pytest.param({"segments": [[0]]}, "damaged", id="half a segment"),
        pytest.param({"facts": []}, "damaged .*its facts are no mapping", id="facts"),
    ],
)
def test_a_store_whose_header_cannot_be(change: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_text(json.dumps({**HEADER, **change}))
    with pytest.raises(StoreError, match=rf"store\.json: {message}"):
        read_header(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000], ids=["empty", "a list", "nothing", "nested"])
def test_a_store_whose_header_is_torn(text: str, tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_text(text)
    with pytest.raises(StoreError, match=r"store\.json: damaged \("):
        read_header(tmp_path)


@pytest.mark.parametrize("is_file", [False, True], ids=["empty folder", "a file"])
def test_what_is_no_work_folder(is_file: bool, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.touch() if is_file else folder.mkdir()
    with pytest.raises(StoreError, match=r"work: not a work folder \(no store\.json\)"):
        read_header(folder)


@pytest.mark.parametrize("text", ["", "people: 3\n", "people: [\n", "- a\n"], ids=["empty", "no people", "torn", "a list"])
def test_a_people_file_that_is_none_says_how_to_start_over(text: str, tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    path.write_text(text)
    with pytest.raises(
        UsageError, match=r"people\.yaml.*: .*\(to start over, add `force`: the old file is kept as people\.before\.yaml\)"
    ):
        SavedPeople.open(path)
