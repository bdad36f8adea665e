"""Faces smaller than the default's smallest, with the real detector, and the steadier picture that they are looked for on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from iconface_video.settings import SurveySettings
from iconface_video.tracking.small_faces import settings_for_small_faces, steadied
from iconface_video.tracking.surveyor import run_survey
from iconface_video.video.reader import VideoReader
from tests.tracking.survey_clips import paste, scene, write_clip

ASKED = SurveySettings(min_face_px=16.0, detection_size=320)
FACE_OF_PORTRAIT = 96
"""px of the detector's box in the fixture's portrait."""


@pytest.fixture(scope="module")
def noisy_clip(tmp_path_factory, portrait):
    """Ten noisy frames of 400 x 320 with a face of about 18 px."""
    size = [round(side * 18 / FACE_OF_PORTRAIT) for side in portrait.rgb.shape[1::-1]]
    picture = paste(scene(400, 320, 1), cv2.resize(portrait.rgb, size, interpolation=cv2.INTER_AREA), 180, 140)
    rng = np.random.default_rng(1)
    frames = [np.clip(picture + rng.normal(0, 14, picture.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    return write_clip(tmp_path_factory.mktemp("clips") / "noisy.mp4", frames)


def test_a_small_face_in_noise_is_found_where_small_faces_are_asked_for(noisy_clip):
    with VideoReader(noisy_clip) as reader:
        found = run_survey(reader, ASKED)
        missed = run_survey(reader, replace(ASKED, min_face_px=24.0))
    assert [len(track) for track in found.tracks] == [10]
    x, y = (found.tracks[0].boxes[:, :2] + found.tracks[0].boxes[:, 2:]).mean(axis=0) / 2
    assert abs(x - 197) < 8
    assert abs(y - 156) < 10
    assert missed.tracks == ()


def test_a_survey_of_small_faces_is_the_same_each_time(noisy_clip):
    with VideoReader(noisy_clip) as reader:
        first, again = run_survey(reader, ASKED), run_survey(reader, ASKED)
    np.testing.assert_array_equal(first.tracks[0].boxes, again.tracks[0].boxes)
    np.testing.assert_array_equal(first.tracks[0].parameters, again.tracks[0].parameters)


def test_nothing_changes_for_those_who_do_not_ask():
    settings = SurveySettings()
    assert settings_for_small_faces(settings, (720, 576)) is settings


def test_the_detector_sees_small_faces_larger_but_not_without_end():
    sizes = [settings_for_small_faces(ASKED, size).detection_size for size in ((320, 240), (720, 576), (3840, 2160))]
    assert sizes == [560, 1260, 1280]
    larger = replace(ASKED, detection_size=1600)
    assert settings_for_small_faces(larger, (720, 576)).detection_size == 1600


def test_the_smallest_face_that_can_be_asked_for_is_allowed():
    assert settings_for_small_faces(SurveySettings(min_face_px=8.0), (720, 576)).min_face_px == 8.0


def test_noise_is_averaged_away_and_motion_is_not():
    rng = np.random.default_rng(2)
    clean = np.full((60, 80, 3), 110, np.uint8)
    clean[20:40, 10:30] = 200
    moved = np.full_like(clean, 110)
    moved[20:40, 45:65] = 200
    noisy = [np.clip(item + rng.normal(0, 8, item.shape), 0, 255).astype(np.uint8) for item in (clean, clean, clean)]
    left = steadied(noisy[1], (noisy[0], noisy[2])).astype(float) - clean
    assert left.std() < 0.7 * (noisy[1].astype(float) - clean).std()
    np.testing.assert_array_equal(steadied(clean, (moved, None))[22:38, 12:28], clean[22:38, 12:28])


def test_a_picture_without_neighbours_stays():
    picture = scene(64, 48, 3)
    np.testing.assert_array_equal(steadied(picture, (None, picture[:, :32])), picture)
