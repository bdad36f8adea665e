"""The people library: kept, added to, found, told apart, forgotten; by its commands, too."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from iconface_video.cli.main import main
from iconface_video.errors import ReferencePhotoError, StoreError, UsageError
from iconface_video.personalize import adding
from iconface_video.personalize.adding import add_person, learn_person
from iconface_video.personalize.library import FOLDER_VARIABLE, PeopleLibrary, checked_name, people_folder
from iconface_video.personalize.person_weights import weights_hash
from tests.personalize.test_photos import photo_face


@pytest.fixture
def library(tmp_path) -> PeopleLibrary:
    return PeopleLibrary(tmp_path / "people")


def test_a_person_comes_back_to_the_bit(library, faces):
    assert library.names() == []
    library.save("Anna Müller", faces)
    (person,) = library.everybody()
    assert person.name == "Anna Müller"
    assert [face.path.name for face in person.faces] == [face.path.name for face in faces]
    for kept, face in zip(person.faces, faces):
        assert np.array_equal(kept.crop, face.crop)
        assert np.array_equal(kept.embedding, face.embedding)
        assert kept.face_px == face.face_px
    assert person.references()[0].name == "Anna Müller"
    assert library.load("anna müller").folder == library.folder / "Anna Müller"


@pytest.mark.skipif(os.name == "nt", reason="other rights there")
def test_nobody_else_may_read_it(library, faces):
    library.folder.mkdir(mode=0o755)
    person = library.save("anna", faces[:1])
    for folder in (library.folder, person.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_saving_again_replaces_and_leaves_nothing_behind(library, faces):
    library.save("Anna", faces)
    learnt = library.load("Anna").folder / "learnt"
    learnt.mkdir()
    again = library.save("ANNA", faces[:1])
    assert len(again.faces) == 1
    assert [item.name for item in library.folder.iterdir()] == ["Anna"]
    assert not learnt.exists()  # it was learnt from other photos


def test_forgetting_deletes_that_person_alone(library, faces):
    for name in ("anna", "bert"):
        library.save(name, faces[:1])
    library.forget("Anna")
    assert [item.name for item in library.folder.iterdir()] == ["bert"]
    with pytest.raises(UsageError, match=r"nobody in .* is called 'anna'"):
        library.forget("anna")
    with pytest.raises(UsageError, match="Did you mean 'bert'"):
        library.forget("berd")


@pytest.mark.parametrize("name", ["", " ", "..", ".hidden", "a/b", "a\\b", "C:", "a\nb\0", "x" * 61, "dot."])
def test_names_that_are_no_folders_are_refused(name):
    with pytest.raises(UsageError, match="cannot be a person's name"):
        checked_name(name)


@pytest.mark.parametrize("file", ["faces.npz", "faces/01.png", "person.json"])
def test_damage_is_named(library, faces, file):
    path = library.save("anna", faces[:1]).folder / file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match=r"anna: damaged .*forget anna"):
        library.load("anna")


def test_people_who_look_alike_are_told(library):
    twins = [[photo_face(f"{name}{n}.jpg", 1, seed + n) for n in range(3)] for seed, name in ((10, "a"), (20, "b"))]
    library.save("anna", twins[0])
    library.save("carl", [photo_face("c.jpg", 2, 30)])
    ((name, score),) = library.alike(library.save("beth", twins[1]))
    assert name == "anna"
    assert score > 0.7


def test_the_folder_can_be_named_and_the_users_own_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert PeopleLibrary().folder == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert people_folder().name == "people"
    assert "iconface-video" in people_folder().parts


def test_photos_are_added_to_those_that_are_there(library, faces, encoder, detector, tmp_path, astronaut_png, monkeypatch):
    library.save("anna", faces[1:])
    added = add_person(library, "anna", [astronaut_png], detector, encoder, 0.4)
    assert len(added.person.faces) == 3
    (tmp_path / "photos").mkdir()
    with pytest.raises(ReferencePhotoError, match="holds no photos"):
        add_person(library, "anna", [tmp_path / "photos"], detector, encoder, 0.4)
    tiny = [photo_face("tiny.jpg", 1, 1, px=40)]
    monkeypatch.setattr(adding, "look_at", lambda *given: ([tiny], []))
    with pytest.raises(ReferencePhotoError, match=r"'bert' cannot be learnt: no photo is left.*40 px high"):
        add_person(library, "bert", [astronaut_png], detector, encoder, 0.4)
    assert library.names() == ["anna"]


def test_a_person_is_learnt_once(library, faces, model, encoder, quick):
    person = library.save("anna", faces[:1])
    seen = []
    first = learn_person(person, model, encoder, quick, seen.append)
    assert person.learnt_file(weights_hash(model)).is_file()
    assert [(event.stage, event.done) for event in seen] == [("learn", 1), ("learn", 2)]
    assert learn_person(person, model, encoder, quick, seen.append).hash == first.hash
    assert len(seen) == 2


def test_the_commands(tmp_path, astronaut_png, capsys, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "people"))
    assert main(["people", "list"]) == 0
    assert "nobody in" in capsys.readouterr().out
    assert main(["people", "add", "eileen", str(astronaut_png), "--no-learn", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "eileen"
    assert told["photos"] == ["astronaut.png"]
    assert told["learning"] is None
    assert main(["people", "list"]) == 0
    assert "1 photo, not learnt yet" in capsys.readouterr().out
    assert main(["people", "forget", "eileen"]) == 0
    assert not list(Path(tmp_path / "people").iterdir())
    assert main(["people", "forget", "eileen"]) == 2
    assert main(["people", "add", "eileen", str(tmp_path / "missing.jpg")]) == 2
    assert "there is no such photo" in capsys.readouterr().err


def test_people_of_a_clip_works_as_before(tmp_path, capsys):
    """With or without the word, options first or last."""
    for words in (["people", "no.mp4"], ["people", "clip", "no.mp4"], ["people", "-o", str(tmp_path), "no.mp4"]):
        assert main(words) == 2
        assert "there is no such video" in capsys.readouterr().err
    assert main(["people"]) == 2
    assert "INPUT" in capsys.readouterr().err
