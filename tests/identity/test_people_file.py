"""people.yaml: written, read back, and every slip answered with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from iconface_video.errors import InputError, UsageError
from iconface_video.identity.people_file import PersonEntry, read_people_file
from iconface_video.identity.people_summary import people_text


def write(folder: Path, text: str) -> Path:
    path = folder / "people.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "anna, left.jpg").touch()
    entries = [
        PersonEntry(
            1,
            "Tante Käthe: die Ältere",
            (tmp_path / "photos" / "anna, left.jpg", tmp_path / "photos"),
            tracks=(3, 1),
            learn=True,
        ),
        PersonEntry(2, "no", skip=True, tracks=(2,), learn=False),
        PersonEntry(4, same_as=1, tracks=(5,)),
    ]
    path = tmp_path / "people.yaml"
    clip = tmp_path / "old tape.mp4"
    facts = {1: "seen 3.0 s"}
    path.write_text(people_text(entries, [4], clip=clip, survey="0123", path=path, facts=facts), encoding="utf-8")
    found = read_people_file(path)
    assert [(item.number, item.name, item.skip, item.same_as) for item in found.entries] == [
        (1, "Tante Käthe: die Ältere", False, None),
        (2, "no", True, None),
        (4, "", False, 1),
    ]
    assert [item.tracks for item in found.entries] == [(1, 3), (2,), (5,)]
    assert [item.learn for item in found.entries] == [True, False, None]
    assert [photo.resolve() for photo in found.entries[0].photos] == [photo.resolve() for photo in entries[0].photos]
    assert found.clip is not None
    assert found.clip.resolve() == clip.resolve()
    assert (found.survey, found.nobody) == ("0123", (4,))
    assert "# seen 3.0 s" in path.read_text(encoding="utf-8")
    assert "../" not in path.read_text(encoding="utf-8").split("clip:")[1]


def test_every_field_is_explained_in_the_file(tmp_path):
    text = people_text(
        [PersonEntry(1, tracks=(1,))], [], clip=tmp_path / "a.mp4", survey="0", path=tmp_path / "p.yaml", facts={}
    )
    remarks = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for key in yaml.safe_load(text)["people"][0]:
        assert key == "person" or re.search(rf"#   {key}\b", remarks), key
    assert "--people" in remarks


def test_a_short_file_by_hand_is_enough(tmp_path):
    found = read_people_file(write(tmp_path, "people:\n- tracks: [1, 2]\n  name: 7\n- person: 1\n  tracks: 3\n"))
    assert [(item.number, item.name, item.tracks) for item in found.entries] == [(2, "7", (1, 2)), (1, "", (3,))]


def test_merges_are_followed_by_number_and_by_name(tmp_path):
    text = "people:\n- person: 1\n  name: Anna\n- person: 2\n  same_as: anna\n- person: 3\n  same_as: 2\n"
    found = read_people_file(write(tmp_path, text))
    assert [found.root_of(item).number for item in found.entries] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("peple: []\n", r"line 1: unknown entry 'peple'\. Did you mean 'people'\?"),
        ("clip: a.mp4\n", r"it has no list 'people:'"),
        ("", r"it is empty"),
        ("- 1\n", r"line 1: the file must be made of lines"),
        ("people: Anna\n", r"line 1: 'people' must be a list"),
        ("people:\n- person: 2\n  nmae: Ben\n", r"line 3 \(person 2\): unknown entry 'nmae'\. Did you mean 'name'\?"),
        ("people:\n- person: 2\n  name: Ben\n  skip: maybe\n", r"line 4 \(person 2 'Ben'\): skip is 'maybe', must be true or false"),
        ("people:\n- person: two\n", r"line 2 \(person two\): person is 'two', must be the number of a person"),
        ("people:\n- person: 1\n  tracks: [1, x]\n", r"line 3 \(person 1\): tracks is 'x', must be the number of a track"),
        ("people:\n- person: 1\n  tracks: [0]\n", r"tracks is '0'"),
        ("people:\n- person: 1\n- person: 1\n", r"line 3 \(person 1\): person 1 stands already in line 2"),
        ("people:\n- person: 1\n  skip: true\n  skip: false\n", r"line 4 \(person 1\): 'skip' stands twice"),
        ("people:\n- person: 1\n  name: Al\n- person: 2\n  name: AL\n", r"line 4 \(person 2 'AL'\): .* person 1 \(line 2\).*'same_as: 1'"),
        ("people:\n- person: 1\n  same_as: 1\n", r"line 3 \(person 1\): person 1 cannot be the same as itself"),
        ("people:\n- person: 1\n  name: Anna\n  same_as: anna\n", r"cannot be the same as itself"),
        ("people:\n- person: 1\n  name: Anna\n- person: 2\n  same_as: Ana\n", r"line 5 \(person 2\): same_as is 'Ana'.* Did you mean 'Anna'\?"),
        ("people:\n- person: 1\n- person: 2\n  same_as: 9\n", r"same_as is '9', .* People here: 1, 2"),
        ("people:\n- person: 1\n  same_as: 2\n- person: 2\n  same_as: 1\n", r"circle \(person 1 -> person 2 -> person 1\)"),
        ("people:\n- person: 1\n- person: 2\n  name: Ben\n  same_as: 1\n", r"line 3 .*the name 'Ben' must stand at person 1"),
        ("people:\n- person: 1\n- person: 2\n  skip: true\n  same_as: 1\n", r"'skip: true' must stand at person 1"),
        ("people:\n- person: 1\n- person: 2\n  learn: no\n  same_as: 1\n", r"'learn: no' must stand at person 1"),
        ("people:\n- person: 2\n  name: Ben\n  learn: sometimes\n", r"line 4 \(person 2 'Ben'\): learn is 'sometimes', must be true"),
        ("people:\n- person: 1\n  tracks: [4]\n- person: 2\n  tracks: [4]\n", r"line 4 \(person 2\): track 4 stands at person 1 \(line 2\), too"),
        ("people:\n- person: 1\n  tracks: [4]\nnobody: [4]\n", r"track 4 stands under 'nobody' and at person 1"),
        ("people:\n- person: 1\n  name: [a, b]\n", r"line 3 \(person 1\): here must be a text"),
        ("people:\n- person: 1\n  name: Ben: the first\n", r"line 3: not valid YAML .* need quotes"),
    ],
)  # fmt: skip
def test_slips_are_answered_with_their_place(tmp_path, text, sentence):
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=sentence) as caught:
        read_people_file(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_photo_names_the_nearest_file_and_is_seen_from_the_yaml(tmp_path, monkeypatch):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "anna.jpg").touch()
    monkeypatch.chdir(tmp_path.parent)
    found = read_people_file(write(tmp_path, "people:\n- person: 1\n  photos: album/anna.jpg\n"))
    assert found.entries[0].photos == (tmp_path / "album" / "anna.jpg",)
    path = write(tmp_path, "people:\n- person: 1\n  name: Anna\n  photos: [album/ana.jpg]\n")
    with pytest.raises(
        InputError, match=r"line 4 \(person 1 'Anna'\): there is no photo .*'album/ana\.jpg'\. Did you mean 'anna\.jpg'\?"
    ):
        read_people_file(path)


def test_a_missing_file_names_the_nearest(tmp_path):
    write(tmp_path, "people: []\n")
    with pytest.raises(InputError, match=r"there is no such people file\. Did you mean 'people\.yaml'\?"):
        read_people_file(tmp_path / "peple.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(InputError, match="not a text"):
        read_people_file(tmp_path / "bad.yaml")


def test_it_is_never_executed(tmp_path):
    path = write(tmp_path, f"people: !!python/object/apply:pathlib.Path.touch [{tmp_path}/made]\n")
    with pytest.raises(UsageError):
        read_people_file(path)
    assert not (tmp_path / "made").exists()
