"""People in a run: who is learnt, kept in the work folder, used once and the same again, and told in the output's mark."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from iconface_video.errors import Cancelled
from iconface_video.personalize.settings import PersonalizeSettings
from iconface_video.pipelines.image import restore_faces
from iconface_video.pipelines.restore import ReferenceChoice, restore_video
from iconface_video.restore import people as in_run
from iconface_video.restore.iconface import IConFaceRestorer
from iconface_video.restore.people import PersonalRestorer, anchor_key, learn_people, pays, with_people
from iconface_video.session.fingerprint import read_restoration_marks
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
    anchor = anchor_of(faces)
    assert pays([track(0, 2.0)], anchor, [20.0])
    assert not pays([track(0, 4.0)], anchor, [20.0])
    assert not pays([track(0, 19.0)], anchor, [20.0])
    assert not pays([], anchor, [20.0])
    assert not pays([track(0, 2.0)], replace(anchor, origin="track"), [20.0])


def test_whoever_has_photos_is_learnt_once(faces, plain, quick, tmp_path, encoder, monkeypatch):
    known, other = anchor_of(faces[:1]), replace(anchor_of(faces[2:]), origin="track")
    anchors = {0: known, 1: other, 2: known}
    tracks = [track(0, 2.0), track(1, 2.0), track(2, 2.0)]
    folder = tmp_path / "people"
    folder.mkdir()
    stale = folder / f"{'0' * 16}.safetensors"
    stale.touch()
    names = {anchor_key(known): "Anna"}

    def learn():
        return learn_people(tracks, anchors, names, folder, lambda: plain, quick, False, 0.4, encoder=encoder)

    first = learn()
    assert [path.stem for path in folder.iterdir()] == [anchor_key(known)]
    assert first.notes[0].startswith("Anna: learnt from 1 photo")
    assert first.mark == ["adapted to 1 photo of Anna"]
    monkeypatch.setattr(in_run, "personalize", lambda *given: pytest.fail("learnt again"))
    assert learn().hash == first.hash
    assert isinstance(with_people(plain, folder), PersonalRestorer)
    assert with_people(plain, tmp_path) is plain
    assert with_people(plain, None) is plain


def test_clear_faces_are_left_to_everybodys_weights(faces, quick, tmp_path, encoder):
    anchor = anchor_of(faces[:1])
    found = learn_people(
        [track(0, 30.0)], {0: anchor}, {}, tmp_path, lambda: pytest.fail("loaded"), quick, False, 0.4, encoder=encoder
    )
    assert found.hash is None
    assert "no face is damaged enough" in found.notes[0]
    assert learn_people([], {}, {}, tmp_path, lambda: pytest.fail("loaded"), quick, True, 0.4, encoder=encoder).people == {}


def test_a_photo_is_restored_with_what_was_learnt(settings, astronaut_png, face, plain):
    damaged = np.ascontiguousarray(face.crop[::2, ::2])
    results = [
        restore_faces(damaged, [astronaut_png], aligned=True, settings=replace(settings, restore=restore), model=plain).image
        for restore in (settings.restore, replace(settings.restore, personalize="off"))
    ]
    assert not np.array_equal(*results)


def test_photos_of_two_people_are_not_learnt_and_it_is_said(faces, quick, tmp_path, encoder, monkeypatch):
    """Both were taken for one person of the clip; which of them is wrong, nobody can tell."""
    anchor = anchor_of(faces[:2])
    strangers = np.random.default_rng(0).standard_normal((2, 512)).astype(np.float32)
    monkeypatch.setattr(in_run, "embed_crops", lambda encoder, crops: strangers)
    names = {anchor_key(anchor): "Anna"}
    found = learn_people([], {0: anchor}, names, tmp_path, lambda: pytest.fail("loaded"), quick, True, 0.4, encoder=encoder)
    assert found.people == {}
    assert found.notes[0].startswith("Anna: not learnt: the photos show different people")


@pytest.fixture
def settings(monkeypatch) -> RunSettings:
    quick = PersonalizeSettings(steps=1, faces=2, size=64, rank=4)
    monkeypatch.setattr("iconface_video.personalize.settings.PersonalizeSettings", lambda: quick)
    return RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(batch=2, crop_size=128, personalize="on", device="cpu"),
        encode=EncodeSettings(codec="ffv1", encoder_threads=1),
    )


def test_a_run_learns_uses_and_tells_it_and_goes_on_with_it(face_clip, astronaut_png, settings, tmp_path, monkeypatch):
    def run(name: str, **more):
        given = ReferenceChoice(photos=(astronaut_png,))
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
