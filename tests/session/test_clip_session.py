"""One clip step by step: nothing is done twice, within a session or in the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import OutputError
from iconface_video.identity.grouping import DecidedPeople, ReferenceChoice
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.pipelines.restore import restore_video
from iconface_video.session import memory
from iconface_video.session.clip import Clip
from iconface_video.session.clip_faces import ClipFaces
from iconface_video.session.clip_session import ClipRequest, ClipSession
from iconface_video.session.networks import Networks
from iconface_video.session.preview import restored_stretch
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.video.reader import VideoReader
from tests.pipelines.conftest import Sharpener, face_clip, grey_embed, portrait  # noqa: F401 - fixtures

SETTINGS = RunSettings(
    survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
    restore=RestoreSettings(batch=4, segment_seconds=0.5),
    encode=EncodeSettings(codec="ffv1", encoder_threads=1),
)


class Unasked(Sharpener):
    """Must not be called."""

    def restore(self, crops, contexts, noise):
        raise AssertionError("the model was asked again")


def never_embed(crops):
    raise AssertionError("faces were described again")


@pytest.fixture(scope="module")
def at_once(face_clip, tmp_path_factory):  # noqa: F811
    output = tmp_path_factory.mktemp("at-once") / "out.mkv"
    return restore_video(face_clip, output, settings=SETTINGS, model=Sharpener(), embed=grey_embed)


def test_the_four_steps_make_what_a_run_makes(at_once, face_clip, tmp_path):  # noqa: F811
    model = Sharpener()
    request = ClipRequest(face_clip, tmp_path / "out.mkv", SETTINGS)
    with ClipSession.open(request, Networks(model, embed=grey_embed)) as session:
        assert session.survey() is session.survey()
        assert set(session.anchors()) == {track.track_id for track in session.survey().survey.tracks}
        assert session.restore() is session.restore()
        faces = model.faces
        report = session.render()
    assert model.faces == faces > 0
    assert report.output.read_bytes() == at_once.output.read_bytes()
    assert replace(report, output=at_once.output, seconds=at_once.seconds) == at_once
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


@pytest.mark.parametrize("steps", [("survey",), ("survey", "anchors"), ("restore",)])
def test_a_later_session_goes_on_where_one_was_left(steps, at_once, face_clip, tmp_path):  # noqa: F811
    request = ClipRequest(face_clip, tmp_path / "out.mkv", SETTINGS)
    with ClipSession.open(request, Networks(Sharpener(), embed=grey_embed)) as session:
        for step in steps:
            getattr(session, step)()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv.iconface-work"]
    model = Unasked() if "restore" in steps else Sharpener()
    embed = grey_embed if steps == ("survey",) else never_embed
    with ClipSession.open(request, Networks(model, embed=embed)) as session:
        report = session.render()
    assert "survey" not in report.seconds
    assert report.output.read_bytes() == at_once.output.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_without_a_folder_nothing_is_written(face_clip, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    with VideoReader(face_clip) as reader:
        faces = ClipFaces(Clip(reader), ClipRequest(face_clip, settings=SETTINGS), Networks(embed=grey_embed))
        assert len(faces.anchors()) == len(faces.survey().survey.tracks) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def decided(face_clip) -> DecidedPeople:  # noqa: F811
    with VideoReader(face_clip) as reader:
        faces = ClipFaces(Clip(reader), ClipRequest(face_clip, settings=SETTINGS), Networks(embed=grey_embed))
        return DecidedPeople(ChosenPeople(faces.survey().survey, names={0: "Eileen"}))


def test_what_was_decided_is_obeyed_without_another_survey(decided, face_clip, tmp_path):  # noqa: F811
    skipping = DecidedPeople(replace(decided.chosen, skipped=frozenset({0})))
    reports, marks = [], []
    for name, people in (("all", decided), ("none", skipping)):
        request = ClipRequest(face_clip, tmp_path / f"{name}.mkv", SETTINGS, ReferenceChoice(decided=people))
        with ClipSession.open(request, Networks(Sharpener(), embed=grey_embed)) as session:
            reports.append(session.render())
            marks.append(session.provenance.faces_mark["made_from"])
    everybody, nobody = reports
    assert "survey" not in everybody.seconds
    assert everybody.faces == nobody.faces == everybody.faces_restored
    assert nobody.left_alone == {"skipped by you (Eileen)": nobody.faces}
    assert nobody.faces_restored == 0
    assert "there is no face to restore: the picture is as it was" in nobody.notes
    assert marks[0] != marks[1]


class LookingSharpener(Sharpener):
    """A face is the brighter the more neighbours it has."""

    neighbours = 3

    def fuse(self, window):
        found = sum(picture is not window[3] for picture in window)
        return np.clip(window[3].astype(int) + 9 * found, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", [Sharpener, LookingSharpener])
def test_a_stretch_shows_what_the_whole_will_be(kind, decided, face_clip, tmp_path):  # noqa: F811
    settings = replace(SETTINGS, render=replace(SETTINGS.render, temporal_filter=False, strength=0.5, color_match=False))
    request = ClipRequest(face_clip, tmp_path / "out.mkv", settings, ReferenceChoice(decided=decided))
    full = replace(request, settings=replace(settings, render=replace(settings.render, strength=1.0)))
    with ClipSession.open(full, Networks(kind(), embed=grey_embed)) as session:
        output = session.render().output
    pts = decided.chosen.survey.tracks[0].pts
    first, last = int(pts[8]), int(pts[12])  # in the middle: the whole fades faces in and out at its own ends
    with VideoReader(output) as whole, VideoReader(face_clip) as reader:
        wanted = list(whole.frames())[8:13]
        faces = ClipFaces(Clip(reader), request, Networks(embed=grey_embed))
        with restored_stretch(faces, kind(), first, last, tmp_path / "crops") as pairs:
            shown = list(pairs)
    assert [before.pts for before, _ in shown] == [int(number) for number in pts[8:13]]
    for (before, after), frame in zip(shown, wanted):
        assert not np.array_equal(before.planes[0], after.planes[0])
        np.testing.assert_array_equal(after.planes[0], frame.planes[0])


@pytest.mark.parametrize(("fixed", "ending"), [(False, "choose another place with `output`."), (True, "Free some space.")])
def test_a_refusal_proposes_only_what_the_caller_can_do(fixed, ending, face_clip, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(memory, "_SPARE_BYTES", 1 << 60)
    request = ClipRequest(face_clip, tmp_path / "out.mkv", SETTINGS, places_are_fixed=fixed)
    with (
        pytest.raises(OutputError, match="free there") as caught,
        ClipSession.open(request, Networks(Sharpener(), embed=grey_embed)),
    ):
        pytest.fail("the session was opened")
    assert str(caught.value).endswith(ending)


def test_a_kept_folder_without_its_output_is_rendered_from(at_once, face_clip, tmp_path):  # noqa: F811
    """As the browser does: another strength of the same faces takes no model."""
    work: Path = tmp_path / "work"
    for name, model, strength in (("a.mkv", Sharpener(), 1.0), ("b.mkv", Unasked(), 0.5)):
        settings = replace(SETTINGS, render=replace(SETTINGS.render, strength=strength))
        request = ClipRequest(face_clip, tmp_path / name, settings, work=work, keep_work=True)
        with ClipSession.open(request, Networks(model, embed=grey_embed)) as session:
            report = session.render()
        assert report.work == work
    assert (tmp_path / "a.mkv").read_bytes() == at_once.output.read_bytes() != (tmp_path / "b.mkv").read_bytes()
