"""Responsible use: an output says that its faces were restored, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iconface_video.pipelines.render import render_store
from iconface_video.pipelines.restore import restore_video
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.settings import EncodeSettings, RenderSettings
from iconface_video.video.probe import probe
from tests.pipelines.conftest import Sharpener, grey_embed

FAST = EncodeSettings(codec="h264", preset="ultrafast")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_marks_follow_what_was_really_done(suffix, face_clip, settings, tmp_path):
    settings = replace(settings, encode=FAST, render=RenderSettings(strength=0.8))
    output = tmp_path / f"out{suffix}"
    report = restore_video(face_clip, output, settings=settings, model=Sharpener(), embed=grey_embed, keep_work=True)
    (mark,) = read_restoration_marks(probe(report.output).metadata)
    assert (mark["model"], mark["strength"], mark["seed"], mark["people_with_photos"]) == ("sharpener", 0.8, 42, 0)
    assert (mark["keep_monochrome"], mark["grain"], mark["guidance_scale"]) == ("auto", 0.0, None)
    assert mark["crop_sizes"] == [128]
    again = render_store(report.work, tmp_path / f"again{suffix}", render=RenderSettings(strength=0.25), encode=FAST)
    assert [mark["strength"] for mark in read_restoration_marks(probe(again.output).metadata)] == [0.25]
    untouched = render_store(report.work, tmp_path / f"untouched{suffix}", render=RenderSettings(strength=0.0), encode=FAST)
    assert read_restoration_marks(probe(untouched.output).metadata) == []


def test_a_container_without_a_place_for_the_mark_is_told(face_clip, settings, tmp_path):
    settings = replace(settings, encode=FAST)
    report = restore_video(
        face_clip, tmp_path / "out.ts", settings=settings, model=Sharpener(), embed=grey_embed, keep_work=True
    )
    assert report.output.suffix == ".ts"
    assert any("does not say that its faces were restored" in note for note in report.notes)
    again = render_store(report.work, tmp_path / "out.mp4", encode=FAST)
    assert not any("does not say" in note for note in again.notes)


def test_a_video_without_faces_is_not_marked(empty_clip, settings, tmp_path):
    settings = replace(settings, encode=FAST)
    report = restore_video(empty_clip, tmp_path / "out.mp4", settings=settings, model=Sharpener(), embed=grey_embed)
    assert read_restoration_marks(probe(report.output).metadata) == []
