"""Twice the size: the same faces, finer; from kept crops, too; the rest is Lanczos and nothing else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from iconface_video.pipelines.image import restore_faces
from iconface_video.pipelines.render import render_store
from iconface_video.pipelines.restore import restore_video
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.session.run_report import FaceObserver
from iconface_video.settings import EncodeSettings, ReadSettings, RenderSettings
from iconface_video.video.enlarge import Enlarger
from iconface_video.video.output_size import enlarged
from iconface_video.video.probe import probe
from iconface_video.video.reader import VideoReader
from tests.conftest import ffmpeg
from tests.pipelines.conftest import HEIGHT, WIDTH, Sharpener, audio_md5, grey_embed, packet_times

TWICE = RenderSettings(scale=2.0)
LOSSLESS = EncodeSettings(codec="ffv1", encoder_threads=1)


def frames(path) -> list:
    with VideoReader(path) as reader:
        return list(reader.frames())


@pytest.fixture(scope="module")
def kept(face_clip, tmp_path_factory):
    """Restored at its own size, faces kept."""
    from iconface_video.settings import RestoreSettings, RunSettings, SurveySettings

    settings = RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1), restore=RestoreSettings(batch=4), encode=LOSSLESS
    )
    out = tmp_path_factory.mktemp("kept") / "out.mkv"
    return restore_video(face_clip, out, settings=settings, model=Sharpener(), embed=grey_embed, keep_work=True)


def test_the_picture_outside_the_faces_is_lanczos_and_the_face_is_restored_finer(face_clip, settings, tmp_path):
    settings = replace(settings, render=TWICE)
    observer = FaceObserver()
    report = restore_video(
        face_clip,
        tmp_path / "out.mkv",
        settings=settings,
        model=Sharpener(),
        embed=grey_embed,
        keep_work=True,
        observer=observer,
    )
    info = probe(report.output)
    assert (info.width, info.height) == (2 * WIDTH, 2 * HEIGHT)
    assert any("512x384" in note for note in report.notes)
    assert audio_md5(report.output) == audio_md5(face_clip)
    times, own = ([float(time) for time in packet_times(path)] for path in (report.output, face_clip))
    assert np.diff(times) == pytest.approx(np.diff(own), abs=0.0011)
    before = probe(face_clip)
    enlarge = Enlarger(before, enlarged(before, TWICE))
    pasted = 0
    for old, new in zip(frames(face_clip), frames(report.output), strict=True):
        plain = enlarge(old)
        changed = plain.planes[0] != new.planes[0]
        pasted += changed.mean() > 0.02
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        outside = np.ones(changed.shape, bool)
        if len(rows):
            outside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
        assert outside.mean() > 0.3
        assert np.array_equal(plain.planes[0][outside], new.planes[0][outside])
    assert pasted > 15
    (mark,) = read_restoration_marks(info.metadata)
    assert (mark["scale"], mark["crop_sizes"]) == (2.0, [128])
    (figures,) = observer.tracks.values()
    sharp_before, sharp_after = figures.sharpness.means
    assert sharp_after > 1.2 * sharp_before


def test_where_the_face_is_pasted_follows_the_scale(face_clip, kept, tmp_path):
    """The change, shrunk again, is the change at the clip's own size."""
    large = render_store(kept.work, tmp_path / "large.mkv", render=TWICE, encode=LOSSLESS)
    before = probe(face_clip)
    enlarge = Enlarger(before, enlarged(before, TWICE))
    found = []
    for source, small, big in zip(frames(face_clip), frames(kept.output), frames(large.output), strict=True):
        own = small.planes[0].astype(np.float32) - source.planes[0]
        twice = big.planes[0].astype(np.float32) - enlarge(source).planes[0]
        shrunk = cv2.resize(twice, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        own, shrunk = (cv2.GaussianBlur(change, (0, 0), 1.5) for change in (own, shrunk))
        if np.abs(own).max() > 4:
            found.append(float(np.corrcoef(own.ravel(), shrunk.ravel())[0, 1]))
    assert len(found) > 15
    assert min(found) > 0.97


def test_kept_faces_serve_any_scale_and_it_is_said_where_they_are_coarse(kept, tmp_path):
    fine = render_store(kept.work, tmp_path / "a.mkv", render=RenderSettings(scale=1.05), encode=LOSSLESS)
    assert not any("enlarged with it" in note for note in fine.notes)
    coarse = render_store(kept.work, tmp_path / "b.mkv", render=RenderSettings(scale=4.0), encode=LOSSLESS)
    (told,) = [note for note in coarse.notes if "enlarged with it" in note]
    assert "`scale`" in told
    assert probe(coarse.output).width == 4 * WIDTH
    plain = render_store(kept.work, tmp_path / "c.mkv", encode=LOSSLESS)
    assert plain.output.read_bytes() == kept.output.read_bytes()


def test_a_run_of_another_scale_keeps_the_survey_but_not_faces_that_are_too_small(face_clip, settings, tmp_path):
    small = Sharpener()
    small.crop_sizes = (32, 64, 128, 256)
    first = restore_video(face_clip, tmp_path / "o.mkv", settings=settings, model=small, embed=grey_embed, keep_work=True)
    twice = replace(settings, render=TWICE)
    again = Sharpener()
    again.crop_sizes = small.crop_sizes
    second = restore_video(
        face_clip, tmp_path / "o.mkv", settings=twice, model=again, embed=grey_embed, keep_work=True, force=True
    )
    assert "survey" not in second.seconds
    assert again.faces > 0
    sizes = [read_restoration_marks(probe(first.output).metadata)]
    assert sizes[0][0]["scale"] == 2.0
    assert sizes[0][0]["crop_sizes"] == [256]


def test_strength_0_only_enlarges(face_clip, settings, tmp_path):
    plain = replace(settings, render=RenderSettings(scale=1.5, strength=0.0))
    report = restore_video(face_clip, tmp_path / "o.mkv", settings=plain, model=Sharpener(), embed=grey_embed)
    before = probe(face_clip)
    enlarge = Enlarger(before, enlarged(before, plain.render))
    for old, new in zip(frames(face_clip), frames(report.output), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(enlarge(old).planes, new.planes, strict=True))


def test_a_photo_is_enlarged_with_its_faces(portrait, settings):
    picture = np.ascontiguousarray(portrait[:256, 100:400])
    small = restore_faces(picture, settings=settings, model=Sharpener(), embed=grey_embed)
    large = restore_faces(picture, settings=replace(settings, render=TWICE), model=Sharpener(), embed=grey_embed)
    assert (small.faces, large.faces) == (1, 1)
    assert large.image.shape == (512, 600, 3)
    shrunk = cv2.resize(large.image, (300, 256), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shrunk - small.image).mean() < 3
    none = restore_faces(np.full((64, 64, 3), 90, np.uint8), settings=replace(settings, render=TWICE), embed=grey_embed)
    assert none.image.shape == (128, 128, 3)
    assert (none.image == 90).all()


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_fields_that_are_kept_are_enlarged_one_by_one_and_stay_fields(strength, astronaut_png, settings, tmp_path):
    clip = tmp_path / "tape.mpg"
    drift = "scale=480:480,crop=300:240:'2*n':'20+n',scale=320:256,interlace=scan=tff:lowpass=off"
    mpeg2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-pix_fmt", "yuv420p", "-top", "1")
    ffmpeg("-loop", "1", "-framerate", "50", "-t", "0.24", "-i", astronaut_png, "-vf", drift, *mpeg2, clip)
    settings = replace(settings, render=RenderSettings(scale=1.1, strength=strength))
    report = restore_video(clip, tmp_path / "o.mkv", settings=settings, model=Sharpener(), embed=grey_embed)
    with VideoReader(clip) as reader:  # pictures of fields, at their own times
        fields, info = list(reader.frames()), reader.info
    with VideoReader(report.output, ReadSettings(fields="weave")) as reader:
        written, made = list(reader.frames()), reader.info
    assert (made.width, made.height) == (352, 282)
    assert made.field_order in ("tt", "tb")
    assert 2 * len(written) == len(fields) == report.frames
    enlarge = Enlarger(info, enlarged(info, settings.render))
    changed = 0
    for number, frame in enumerate(written):
        for parity in (0, 1):
            plain = enlarge(fields[2 * number + parity])
            for new, old in zip(frame.planes, plain.planes, strict=True):
                same = new[parity::2] == old[parity::2]
                assert same[-8:].all()
                assert same[:, :16].all()
                changed += int((~same).sum())
    assert (changed > 0) == (strength > 0)
