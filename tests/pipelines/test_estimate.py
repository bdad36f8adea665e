"""What a dry run expects of a clip, held against what is known of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from iconface_video.pipelines import estimate as module
from iconface_video.pipelines.estimate import SpeedMemory, estimate_run, expected_frames
from iconface_video.session.clip import Clip
from iconface_video.settings import EncodeSettings, RenderSettings
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from tests.pipelines.conftest import FRAMES, RATE, grey_embed

FACE_SECONDS = 0.5


@pytest.fixture(autouse=True)
def known_speed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "load_embedder", lambda: grey_embed)
    monkeypatch.setattr(SpeedMemory, "_measured", lambda self, size: FACE_SECONDS)


def test_frames_and_faces_are_those_of_the_run(face_clip, settings, tmp_path):
    settings = replace(settings, encode=EncodeSettings(preset="ultrafast"))
    with VideoReader(face_clip) as reader:
        clip = Clip(reader)
        target = plan_output(reader.info, tmp_path / "out.mp4", settings.encode, force=False)
        found = estimate_run(clip, target, settings)
        untouched = estimate_run(clip, target, replace(settings, render=RenderSettings(strength=0)))
    assert found is not None
    assert found.frames == FRAMES
    assert FRAMES / 1.5 <= found.faces <= FRAMES * 1.5
    assert found.seconds > found.faces * FACE_SECONDS
    assert found.disk_bytes > 0
    assert 0.5 < found.memory_bytes / 2**30 < 4
    assert untouched is not None
    assert untouched.faces == 0
    assert not (tmp_path / "out.mp4").exists()


def test_a_clip_without_a_face_expects_none(empty_clip, settings, tmp_path):
    with VideoReader(empty_clip) as reader:
        target = plan_output(reader.info, tmp_path / "out.mp4", settings.encode, force=False)
        found = estimate_run(Clip(reader), target, settings)
    assert found is not None
    assert (found.frames, found.faces) == (RATE, 0)


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (None, None, FRAMES),
        (None, Fraction(1), RATE),
        (Fraction(1), None, FRAMES - RATE),
        (Fraction(1, 2), Fraction(1), RATE // 2),
        (None, Fraction(99), FRAMES),
    ],
)
def test_a_part_has_its_share_of_the_frames(start, end, frames, face_clip):
    with VideoReader(face_clip) as reader:
        assert expected_frames(Clip(reader, start, end)) == frames


def test_speed_is_measured_once(settings, monkeypatch):
    assert SpeedMemory(settings.restore).seconds_of(128) == FACE_SECONDS
    monkeypatch.setattr(SpeedMemory, "_measured", lambda self, size: pytest.fail("measured again"))
    assert SpeedMemory(settings.restore).seconds_of(128) == FACE_SECONDS


@pytest.mark.parametrize(
    ("wish", "people", "asked_for", "learning"),
    [("on", 2, 0, 14.0), ("on", 0, 0, 0.0), ("off", 2, 0, 0.0), ("auto", 2, 0, 0.0), ("off", 2, 1, 7.0), ("on", 2, 1, 21.0)],
)
def test_learning_people_is_part_of_the_time(wish, people, asked_for, learning, face_clip, settings, tmp_path, monkeypatch):
    """The clip's face is clear: with `auto` it is not learnt."""
    monkeypatch.setattr(SpeedMemory, "seconds_to_learn", lambda self: 7.0)
    settings = replace(settings, restore=replace(settings.restore, personalize=wish), encode=EncodeSettings(preset="ultrafast"))
    with VideoReader(face_clip) as reader:
        target = plan_output(reader.info, tmp_path / "out.mp4", settings.encode, force=False)
        found = estimate_run(Clip(reader), target, settings, bool(people), people, asked_for)
    assert found is not None
    assert found.learn_seconds == learning
    assert found.seconds >= learning
