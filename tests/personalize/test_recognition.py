"""People who were added, in clips: everybody is found, nobody is mixed up, a stranger is nobody; what is found once holds for the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iconface_video.cli.main import main
from iconface_video.errors import Cancelled, UsageError
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.recognition import recognise
from iconface_video.personalize.library import FOLDER_VARIABLE, KnownPerson, PeopleLibrary
from iconface_video.pipelines.batch import BatchOptions, restore_batch
from iconface_video.pipelines.people import find_people
from iconface_video.pipelines.restore import ReferenceChoice, restore_video
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.session.known_people import describe_known, find_known
from iconface_video.session.networks import Networks
from iconface_video.settings import AnchorSettings, EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.types import Shot, Survey, Track, VideoInfo
from iconface_video.video.probe import probe
from tests.personalize.test_photos import photo_face
from tests.pipelines.conftest import Sharpener

SETTINGS = AnchorSettings()


def track(number: int, person: int, who: int, first: int = 0, spread: float = 0.8) -> Track:
    """A face of somebody (as of `photo_face`) through four frames; spread: .8 for a worn tape."""
    raw = np.stack([photo_face("", who, 5000 + 10 * number + n, sure=4.0, spread=spread).embedding for n in range(4)])
    pts = np.arange(first, first + 4)
    return Track(
        track_id=number, shot=0, birth_pts=first, birth_order=0, pts=pts, boxes=np.zeros((4, 4), np.float32),
        landmarks=np.zeros((4, 5, 2), np.float32), scores=np.ones(4, np.float32), parameters=np.zeros((4, 4)),
        quality=np.full(4, 0.5, np.float32), fade=np.ones(4, np.float32), embeddings=raw, embedding_pts=pts,
        sharpness=np.ones(4, np.float32), person=person,
    )  # fmt: skip


def clip_of(info: VideoInfo, *people: int, apart: bool = False) -> Survey:
    """Everybody at once, or one after another."""
    tracks = tuple(track(n, n, who, first=10 * n if apart else 0) for n, who in enumerate(people))
    return Survey(info, (Shot(0, 0, 99),), tracks, 100, 0, 99)


@pytest.fixture(scope="module")
def info(face_clip) -> VideoInfo:
    return probe(face_clip)


@pytest.fixture(scope="module")
def ten() -> list[KnownPerson]:
    """With three photos each."""
    return [
        KnownPerson(f"person-{who}", tuple(photo_face(f"{who}-{n}.jpg", who, 100 * who + n) for n in range(3)), Path())
        for who in range(10)
    ]


def test_ten_people_and_five_clips(info, ten):
    clips = [(0, 1, 2), (3, 42), (9, 8), (4, 5, 6, 7), (43, 44)]
    for people in clips:
        chosen = ChosenPeople(clip_of(info, *people))
        found, notes = find_known(chosen, (), ten, SETTINGS)
        assert [(item.found.person, item.found.name) for item in found] == [
            (place, f"person-{who}") for place, who in enumerate(people) if who < 10
        ]
        assert notes == []
        assert all(": recognised (similarity 0." in line for line in describe_known(found, chosen))


def test_one_human_of_two_groups_is_found_twice_but_never_two_at_once(info, ten):
    known = {"anna": ten[1].direction, "ben": ten[2].direction}
    later = clip_of(info, 1, 1, apart=True)
    at_once = clip_of(info, 1, 1)
    people = {n: ten[1].direction for n in range(2)}
    assert [item.person for item in recognise(later, people, known, SETTINGS)[0]] == [0, 1]
    assert [item.person for item in recognise(at_once, people, known, SETTINGS)[0]] == [0]


def test_twins_who_were_both_added_are_told_apart_by_nobody(info, ten):
    """Rather nobody than the wrong one."""
    twin = replace(ten[1], name="twin", faces=tuple(photo_face(f"t{n}.jpg", 1, 900 + n) for n in range(3)))
    found, (note,) = find_known(ChosenPeople(clip_of(info, 1)), (), [ten[1], twin], SETTINGS)
    assert not found
    assert note.startswith(("person 1 may be person-1 or twin (similarity", "person 1 may be twin or person-1 (similarity"))


def test_too_little_likeness_is_only_told(info, ten):
    chosen = ChosenPeople(clip_of(info, 1))
    score = find_known(chosen, (), [ten[1]], SETTINGS)[0][0].found.score
    found, (note,) = find_known(chosen, (), [ten[1]], replace(SETTINGS, known_similarity=score + 0.02))
    assert not found
    assert "person 1 may be person-1" in note
    assert "`known: person-1`" in note


def test_what_the_user_says_comes_first(info, ten):
    """No match, another match, a name that is a kept person's, and photos of this clip."""
    survey = clip_of(info, 1, 2)

    def names(**said) -> dict[int, str]:
        chosen = ChosenPeople(survey, **said)
        return {item.found.person: item.found.name for item in find_known(chosen, (), ten, SETTINGS)[0]}

    assert names() == {0: "person-1", 1: "person-2"}
    assert names(known={0: ""}) == {1: "person-2"}
    assert names(known={0: "PERSON-7"}) == {0: "person-7", 1: "person-2"}
    assert names(names={0: "Person-1", 1: "somebody else"}) == {0: "person-1"}
    assert names(skipped=frozenset({0})) == {1: "person-2"}
    assert [item.found.person for item in find_known(ChosenPeople(survey), {0}, ten, SETTINGS)[0]] == [1]
    found, (doubt,) = find_known(ChosenPeople(survey, names={0: "person-2"}), (), ten, SETTINGS)
    assert [item.found.person for item in found] == [1]
    assert "does not look like the person-2 who was added" in doubt
    with pytest.raises(UsageError, match=r"`known: persom-7`.*Did you mean 'person-7'"):
        find_known(ChosenPeople(survey, known={0: "persom-7"}), (), ten, SETTINGS)


# ---- in runs


@pytest.fixture
def library(tmp_path, monkeypatch, faces) -> PeopleLibrary:
    """Eileen, from other photos than the clip is made of; and somebody else."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "people"))
    made = PeopleLibrary()
    made.save("eileen", faces[1:])
    stranger = replace(faces[0], crop=np.ascontiguousarray(faces[0].crop[::-1]))
    made.save("stranger", [stranger])
    return made


@pytest.fixture
def quick_run() -> RunSettings:
    return RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(batch=4, crop_size=64),
        encode=EncodeSettings(codec="ffv1", encoder_threads=1),
    )


def recognised(report) -> list[str]:
    return [note for note in report.notes if "recognised" in note]


def test_a_batch_recognises_and_tells_it_before_the_work(library, face_clip, empty_clip, embed, quick_run, tmp_path):
    said: list[str] = []

    def listen(index: int):
        return lambda event: said.append(event.message or event.stage)

    options = BatchOptions(quick_run, ReferenceChoice())
    model = Sharpener()
    rows = restore_batch(
        [str(face_clip), str(empty_clip)], tmp_path / "out", options, model=model, embed=embed, on_progress=listen
    )
    assert [row.state for row in rows] == ["restored", "restored"]
    (line,) = recognised(rows[0].report)
    assert line.startswith("person 1 is eileen: recognised (similarity 0.")
    assert "next is stranger" in line
    assert said.index(line) < said.index("restore")
    assert recognised(rows[1].report) == []
    assert {anchor.origin for anchor in model.anchors} == {"user"}
    (mark,) = read_restoration_marks(probe(rows[0].output).metadata)
    assert mark["people_recognised"][0].startswith("eileen (similarity 0.")
    off = BatchOptions(replace(quick_run, anchors=AnchorSettings(library=False)), ReferenceChoice())
    (row,) = restore_batch([str(face_clip)], tmp_path / "off", off, model=Sharpener(), embed=embed)
    assert recognised(row.report) == []


def test_a_run_goes_on_with_whom_it_recognised_and_forget_names_its_folder(
    library, face_clip, embed, quick_run, tmp_path, capsys
):
    def run(**more):
        given = {"settings": quick_run, "model": Sharpener(), "embed": embed, "work": tmp_path / "work", **more}
        return restore_video(face_clip, tmp_path / "out.mkv", **given)

    def stop(event):
        if event.stage == "restore":
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        run(on_progress=stop)
    assert library.used_in("eileen") == [tmp_path / "work"]
    assert main(["people", "forget", "eileen"]) == 0
    told = capsys.readouterr().out
    assert f"copies of the photos: {tmp_path / 'work'}" in told
    report = run(keep_work=True)
    assert any(note.startswith("person 1 is eileen") for note in report.notes)
    assert any("people were added or forgotten since" in note for note in report.notes)
    again = run(force=True)  # that run is done: this one looks for itself
    assert recognised(again) == []


def test_people_yaml_undoes_it_for_one_clip(library, face_clip, embed, quick_run, tmp_path):
    found = find_people(face_clip, tmp_path / "who", settings=quick_run, embed=embed)
    assert any(note.startswith("person 1 is eileen: recognised") for note in found.notes)
    text = found.file.read_text()

    def run(name: str):
        given = {"settings": quick_run, "model": Sharpener(), "embed": embed}
        return restore_video(face_clip, tmp_path / name, references=ReferenceChoice(file=found.file), **given)

    assert recognised(run("as-found.mkv"))
    found.file.write_text(text.replace("  known:\n", "  known: no\n"))
    assert recognised(run("undone.mkv")) == []


def test_a_damaged_folder_of_somebody_is_no_reason_to_refuse_a_video(library, embed):
    (library.folder / "stranger" / "faces.npz").unlink()
    networks = Networks(embed=embed)
    assert [person.name for person in networks.known_people] == ["eileen"]
    (note,) = networks.people_notes
    assert "'stranger' is not recognised" in note
    assert "people forget stranger" in note
