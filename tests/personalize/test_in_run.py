"""People in a run: who is learnt, kept in the work folder, used once and the same again, and told in the output's mark."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from iconface_video.errors import Cancelled
from iconface_video.personalize.library import PeopleLibrary
from iconface_video.personalize.person_weights import weights_hash
from iconface_video.personalize.photos import ChosenPhotos
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.pipelines.image import restore_faces
from iconface_video.pipelines.people import find_people
from iconface_video.pipelines.restore import ReferenceChoice, restore_video
from iconface_video.restore import people as in_run
from iconface_video.restore.iconface import IConFaceRestorer
from iconface_video.restore.people import PersonalRestorer, PersonToLearn, anchor_key, learn_people, pays, with_people
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.session.learning_people import choose_to_learn, moments_like
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.video.probe import probe
from tests.personalize.test_restoring import anchor_of


def track(number: int, sureness: float):
    """A track as far as is looked at here; sureness: norm of its embeddings."""
    return SimpleNamespace(track_id=number, embeddings=np.full((3, 512), sureness / 512**0.5, np.float32))


@pytest.fixture
def plain(model) -> IConFaceRestorer:
    return IConFaceRestorer(model, RestoreSettings())


def test_it_pays_for_damaged_faces_with_photos(faces):
    anchor = replace(anchor_of(faces), reliability=20.0)
    assert pays([track(0, 4.0)], anchor)
    assert not pays([track(0, 6.0)], anchor)
    assert not pays([track(0, 19.0)], anchor)
    assert not pays([], anchor)
    assert not pays([track(0, 2.0)], replace(anchor, origin="track"))


def test_whoever_has_photos_is_learnt_once(faces, plain, quick, tmp_path, encoder, monkeypatch):
    known, other = anchor_of(faces[:1]), replace(anchor_of(faces[2:]), origin="track")
    anchors = {0: known, 1: other, 2: known}
    tracks = [track(0, 2.0), track(1, 2.0), track(2, 2.0)]
    folder = tmp_path / "people"
    folder.mkdir()
    stale = folder / f"{'0' * 16}.safetensors"
    stale.touch()
    people = {anchor_key(known): PersonToLearn("Anna", lambda: ChosenPhotos(tuple(faces[:1]), (), ()))}
    said = []

    def learn():
        return learn_people(tracks, anchors, people, folder, lambda: plain, quick, said.append, encoder=encoder)

    first = learn()
    assert [path.stem for path in folder.iterdir()] == [anchor_key(known)]
    assert first.notes[0].startswith("Anna: learnt from 1 photo")
    assert first.mark == ["adapted to 1 photo of Anna"]
    assert [(event.stage, event.done) for event in said] == [("learn", done) for done in range(quick.steps + 1)]
    assert said[0].message == "learning before the first face is restored: Anna"
    monkeypatch.setattr(in_run, "personalize", lambda *given: pytest.fail("learnt again"))
    assert learn().hash == first.hash
    assert isinstance(with_people(plain, first.files), PersonalRestorer)
    assert with_people(plain, {}) is plain


def test_it_is_said_beforehand_how_long_it_takes(faces, plain, tmp_path, encoder):
    anchor, said = anchor_of(faces[:1]), []
    people = {anchor_key(anchor): PersonToLearn("Anna", lambda: ChosenPhotos(tuple(faces[:1]), (), ()), wish="on")}
    settings = PersonalizeSettings(steps=6, faces=1, size=64, rank=4)
    learn_people([], {0: anchor}, people, tmp_path, lambda: plain, settings, said.append, encoder=encoder)
    (message,) = [event.message for event in said[1:] if event.message]
    assert re.fullmatch(r"learning Anna takes about \d+ s more, then a check", message)


def test_clear_faces_are_left_to_everybodys_weights(faces, quick, tmp_path, encoder):
    anchor = anchor_of(faces[:1])
    people = {anchor_key(anchor): PersonToLearn("Anna", lambda: pytest.fail("looked at"))}
    stale = tmp_path / f"{'0' * 16}.safetensors"
    stale.touch()
    found = learn_people([track(0, 30.0)], {0: anchor}, people, tmp_path, lambda: pytest.fail("loaded"), quick, encoder=encoder)
    assert (found.hash, found.notes) == (None, ())
    assert not stale.exists()  # workers would take it
    assert learn_people([], {}, {}, tmp_path, lambda: pytest.fail("loaded"), quick, encoder=encoder).people == {}


def test_a_word_about_one_person_counts_for_that_person(faces, plain, quick, tmp_path, encoder):
    """Both are clear, so that it would pay for neither; and one so damaged that it would."""
    anchors = {number: anchor_of(faces[number : number + 1]) for number in range(3)}
    tracks = [track(0, 30.0), track(1, 30.0), track(2, 0.1)]
    keys = [anchor_key(anchor) for anchor in anchors.values()]
    wishes = dict(zip(keys, ("on", "auto", "off")))
    people = {
        key: PersonToLearn(key, lambda: ChosenPhotos(tuple(faces[:1]), (), ()), wish=wish) for key, wish in wishes.items()
    }
    found = learn_people(tracks, anchors, people, tmp_path, lambda: plain, quick, encoder=encoder)
    assert list(found.people) == [keys[0]]
    people[keys[2]] = replace(people[keys[2]], wish="auto")
    assert set(learn_people(tracks, anchors, people, tmp_path, lambda: plain, quick, encoder=encoder).people) == {
        keys[0],
        keys[2],
    }


def test_what_the_user_keeps_is_learnt_once_for_all_clips(faces, plain, quick, tmp_path, encoder, monkeypatch):
    """Beside another base it is learnt anew, from the kept photos, and both stay."""
    person = PeopleLibrary(tmp_path / "library").save("anna", faces)
    anchor = anchor_of(list(person.faces))
    people = {anchor_key(anchor): PersonToLearn("anna", lambda: ChosenPhotos(person.faces, (), ()), person, "on")}

    def learn(work: str, settings=quick):
        return learn_people([], {0: anchor}, people, tmp_path / work, lambda: plain, settings, encoder=encoder)

    first = learn("one")
    other = weights_hash(plain.network)[::-1]
    with monkeypatch.context() as patch:
        patch.setattr(in_run, "personalize", lambda *given: pytest.fail("learnt again"))
        assert learn("two").hash == first.hash
        assert len(list((tmp_path / "two").iterdir())) == 1
    monkeypatch.setattr(in_run, "weights_hash", lambda model: other)
    monkeypatch.setattr("iconface_video.personalize.person.weights_hash", lambda model: other)
    again = learn("three")
    assert again.people[anchor_key(anchor)].facts.base == other
    assert len(list((person.folder / "learnt").iterdir())) == 2


def test_a_photo_is_restored_with_what_was_learnt(settings, astronaut_png, face, plain):
    damaged = np.ascontiguousarray(face.crop[::2, ::2])
    results = [
        restore_faces(damaged, [astronaut_png], aligned=True, settings=replace(settings, restore=restore), model=plain).image
        for restore in (settings.restore, replace(settings.restore, personalize="off"))
    ]
    assert not np.array_equal(*results)


def test_photos_of_two_people_are_not_learnt_and_it_is_said(faces, plain, quick, tmp_path, encoder):
    """Both were taken for one person of the clip; which of them is wrong, nobody can tell."""
    anchor = anchor_of(faces[:2])
    strangers = np.random.default_rng(0).standard_normal((2, 512)).astype(np.float32)
    both = [replace(face, embedding=row) for face, row in zip(faces, strangers)]
    people = {anchor_key(anchor): PersonToLearn("Anna", lambda: choose_to_learn(both, 0.4), wish="on")}
    found = learn_people([], {0: anchor}, people, tmp_path, lambda: plain, quick, encoder=encoder)
    assert found.people == {}
    assert found.notes[0].startswith("Anna: not learnt: the photos show different people")
    assert found.notes[1] == "Anna: not learnt, as no photo is left to learn from"


def test_all_photos_are_learnt_from_but_for_those_that_teach_nothing(faces, face):
    """Of a clip's own frames one that is as poor as the clip teaches its damage; one that is much sharper was taken before it."""
    assert len(choose_to_learn(faces, 0.4).faces) == 3
    poor = cv2.resize(cv2.resize(face.crop, (40, 40), interpolation=cv2.INTER_AREA), (256, 256), interpolation=cv2.INTER_CUBIC)
    frame = replace(face, crop=poor)
    chosen = choose_to_learn([frame, *faces[1:]], 0.4, lambda photo: [poor])
    assert [str(item) for item in chosen.left_out] == [
        f"{frame.path}: it is a frame of the clip itself: shown as a reference, but not learnt from"
    ]
    assert len(chosen.faces) == 2
    assert len(choose_to_learn(faces, 0.4, lambda photo: [poor]).faces) == 3


def test_a_photo_is_held_against_the_moments_that_look_like_it(faces, face):
    near, far = face.embedding, np.random.default_rng(0).standard_normal(512).astype(np.float32)
    parameters = np.zeros((4, 4))
    seen = SimpleNamespace(
        track_id=0,
        pts=np.arange(4),
        parameters=parameters,
        embeddings=np.stack([far, near, near * 2, near]),
        embedding_pts=np.arange(4),
    )
    looked = []

    def picture_at(pts: int) -> np.ndarray:
        looked.append(pts)
        return face.crop

    assert [crop.shape for crop in moments_like(faces[0], [seen], picture_at)] == [(256, 256, 3)] * 2
    assert looked == [1, 2]


@pytest.fixture
def settings(monkeypatch) -> RunSettings:
    quick = PersonalizeSettings(steps=1, faces=2, size=64, rank=4)
    monkeypatch.setattr("iconface_video.personalize.recipe.PersonalizeSettings", lambda: quick)
    return RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(batch=2, crop_size=128, personalize="on", device="cpu"),
        encode=EncodeSettings(codec="ffv1", encoder_threads=1),
    )


def test_people_yaml_has_a_word_for_one_person(face_clip, other_photo, settings, tmp_path, monkeypatch):
    """It outranks the settings, both ways; whoever has no photo is named."""
    found = find_people(face_clip, tmp_path / "people", settings=settings)
    text = found.file.read_text(encoding="utf-8")

    def run(name: str, personalize: str, *words: tuple[str, str]):
        changed = text
        for before, after in words:
            assert changed.count(before) == 1
            changed = changed.replace(before, after)
        found.file.write_text(changed, encoding="utf-8")
        wished = replace(settings, restore=replace(settings.restore, personalize=personalize))
        references = ReferenceChoice(file=found.file)
        return restore_video(face_clip, tmp_path / name, settings=wished, references=references, end=Fraction(1, 12))

    photo = ("  photos: []", f"  photos: ['{other_photo}']")
    learnt = run("yes.mkv", "off", photo, ("  learn:\n", "  learn: yes\n"))
    (mark,) = read_restoration_marks(probe(learnt.output).metadata)
    assert mark["people_learnt"] == ["adapted to 1 photo of person 1"]
    monkeypatch.setattr(in_run, "personalize", lambda *given: pytest.fail("learnt"))
    shown = run("no.mkv", "on", photo, ("  learn:\n", "  learn: no\n"))
    assert shown.output.read_bytes() != learnt.output.read_bytes()
    vain = run("vain.mkv", "off", ("  learn:\n", "  learn: yes\n"))
    assert "person 1: not learnt, as there is no photo of them" in vain.notes


def test_a_run_learns_uses_and_tells_it_and_goes_on_with_it(face_clip, other_photo, settings, tmp_path, monkeypatch):
    def run(name: str, **more):
        given = ReferenceChoice(photos=(other_photo,))
        end = Fraction(1, 3)
        return restore_video(
            face_clip, tmp_path / name, settings=more.pop("settings", settings), references=given, end=end, **more
        )

    def stop_at_the_first_face(event):
        if event.stage == "restore" and event.done:
            raise Cancelled("stopped by the test")

    whole = run("a.mkv")
    assert any("learnt from 1 photo" in note for note in whole.notes)
    (mark,) = read_restoration_marks(probe(whole.output).metadata)
    assert mark["people_learnt"] == ["adapted to 1 photo of person 1"]
    with pytest.raises(Cancelled):
        run("b.mkv", on_progress=stop_at_the_first_face)
    assert len(list((tmp_path / "b.mkv.iconface-work" / "people").iterdir())) == 1
    monkeypatch.setattr(in_run, "personalize", lambda *given: pytest.fail("learnt again"))
    again = run("b.mkv")
    assert again.output.read_bytes() == whole.output.read_bytes()
    assert not (tmp_path / "b.mkv.iconface-work").exists()
    off = run("c.mkv", settings=replace(settings, restore=replace(settings.restore, personalize="off")))
    assert off.output.read_bytes() != whole.output.read_bytes()
