"""People who cannot be kept, forgotten or read: said by name, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iconface_video.errors import CheckpointError, OutputError, StoreError, UsageError
from iconface_video.personalize.difference import Factors
from iconface_video.personalize.library import PeopleLibrary, checked_name, keep_learnt
from iconface_video.personalize.person_weights import LARGEST_FILE, load_person, save_person
from tests.personalize.test_person_weights import person


@pytest.fixture
def library(tmp_path: Path) -> PeopleLibrary:
    return PeopleLibrary(tmp_path / "people")


def test_a_library_whose_folder_is_a_file(library: PeopleLibrary, faces) -> None:
    library.folder.touch()
    with pytest.raises(OutputError, match=r"people: 'Anna' cannot be kept there \(File exists\)"):
        library.save("Anna", faces[:1])
    assert library.folder.is_file()


def test_somebody_who_cannot_be_deleted_stays(library: PeopleLibrary, faces, monkeypatch: pytest.MonkeyPatch) -> None:
    library.save("Anna", faces[:1])

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OutputError, match=r"Anna: cannot be deleted \(Permission denied\)"):
        library.forget("Anna")
    assert library.names() == ["Anna"]


@pytest.mark.parametrize("name", ["Ann", "annna", ""], ids=["short", "long", "empty"])
def test_somebody_whom_nobody_keeps(name: str, library: PeopleLibrary, faces) -> None:
    library.save("Anna", faces[:1])
    with pytest.raises(UsageError):
        library.forget(name)
    assert library.names() == ["Anna"]


def test_what_was_learnt_of_somebody_who_is_gone_is_not_kept(library: PeopleLibrary, faces) -> None:
    kept = library.save("Anna", faces[:1])
    shutil.rmtree(kept.folder)
    with pytest.raises(OutputError, match=r"what was learnt cannot be kept there \(No such file"):
        keep_learnt(kept, person())
    assert not kept.folder.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000], ids=["empty", "a list", "nothing", "nested"])
def test_somebody_whose_folder_is_damaged(text: str, library: PeopleLibrary, faces) -> None:
    kept = library.save("Anna", faces[:1])
    (facts,) = kept.folder.glob("*.json")
    facts.write_text(text)
    with pytest.raises(StoreError, match="Anna"):
        library.load("Anna")


@pytest.mark.parametrize("name", ["a/b", "..", "a\0b", "a:b", "   "], ids=["path", "above", "zero", "colon", "spaces"])
def test_names_that_no_folder_may_have(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


def test_weights_of_a_person_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"anna\.safetensors: missing\."):
        load_person(tmp_path / "anna.safetensors")


def test_weights_of_a_person_that_changed_since(tmp_path: Path) -> None:
    path = tmp_path / "anna.safetensors"
    save_person(person(), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last tensor's last bits
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"anna\.safetensors: it differs from its checksum: damaged\."):
        load_person(path)


def test_weights_of_a_person_far_too_large(tmp_path: Path) -> None:
    path = tmp_path / "anna.safetensors"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(CheckpointError, match=r"far too large for what was learnt of a person"):
        load_person(path)


def test_more_than_a_person_takes_is_not_written(tmp_path: Path) -> None:
    made = person()
    name = next(iter(made.factors))
    large = Factors(torch.zeros(LARGEST_FILE // 2, 1).half(), torch.zeros(1, 4).half())
    with pytest.raises(ValueError, match="lower the rank"):
        save_person(replace(made, factors={name: large}), tmp_path / "anna.safetensors")
    assert list(tmp_path.iterdir()) == []
