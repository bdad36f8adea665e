"""The survey: on real clips with the real detector, and its bookkeeping with a scripted one."""

from __future__ import annotations

import gc
import subprocess
import weakref
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import Cancelled, DecodeError
from iconface_video.settings import SurveySettings
from iconface_video.tracking.surveyor import run_survey
from iconface_video.types import ColorTags, Detection, Frame, Timestamp, VideoInfo
from iconface_video.video.reader import VideoReader
from iconface_video.video.shots import Cut
from tests.tracking.survey_clips import paste, scene, write_clip

SMALL = SurveySettings(detection_size=320)
SHAPE = np.array([(-18, -12), (18, -12), (0, 8), (-14, 24), (14, 24)], dtype=np.float32)


# ---- real clips, real detector


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory, portrait):
    """Shot 1: 20 frames, the face moves right by 3 px a frame. Shot 2: 12 frames, nobody. Shot 3: 14 frames, two faces, still."""
    first, second, third = (scene(320, 240, seed) for seed in (1, 2, 3))
    mirrored = np.ascontiguousarray(portrait.rgb[:, ::-1])
    frames = [paste(first, portrait.rgb, 10 + 3 * i, 20) for i in range(20)]
    frames += [second] * 12
    frames += [paste(paste(third, portrait.rgb[:, 20:170], 5, 25), mirrored[:, 30:180], 165, 25)] * 14
    return write_clip(tmp_path_factory.mktemp("clips") / "three.mp4", frames)


def test_faces_are_followed_through_their_shots_only(three_shots, portrait):
    with VideoReader(three_shots) as reader:
        survey = run_survey(reader, replace(SMALL, detect_every=1))
    assert survey.frame_count == 46
    assert [shot.last_pts - shot.first_pts for shot in survey.shots] == [19 * 512, 11 * 512, 13 * 512]
    assert [(track.shot, len(track)) for track in survey.tracks] == [(0, 20), (2, 14), (2, 14)]
    assert [track.birth_order for track in survey.tracks] == [0, 0, 1]
    assert survey.tracks[1].boxes[0, 0] < survey.tracks[2].boxes[0, 0]
    assert survey.skipped == {}
    moving = survey.tracks[0]
    truth = portrait.landmarks + (10, 20) + 3 * np.arange(20)[:, None, None] * (1, 0)
    np.testing.assert_allclose(moving.landmarks, truth, atol=5)
    for track in survey.tracks:
        assert (track.fade == 1).all(), "there from cut to cut: no fading"
        assert (track.scores > 0.5).all()
        assert (track.quality > 0.1).all()
        assert (track.sharpness > 1).all()


@pytest.mark.parametrize(
    ("options", "turn", "squeeze"),
    [(("-metadata:s:v", "rotate=270"), 1, 1), (("-aspect", "4:3"), 0, 2)],
    ids=["turned", "stretched"],
)
def test_landmarks_are_upright_with_square_pixels(tmp_path, portrait, options, turn, squeeze):
    """Stored on its side with a rotation tag, or squeezed to half the width with a pixel shape of 2:1: found where it is shown."""
    upright = paste(scene(320, 240, 1), portrait.rgb, 60, 20)
    stored = np.rot90(upright, turn)
    stored = stored.reshape(stored.shape[0], -1, squeeze, 3).mean(axis=2).astype(np.uint8)
    path = write_clip(tmp_path / "stored.mp4", [np.ascontiguousarray(stored)] * 6, options if not turn else ())
    if turn:
        subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c", "copy", *options, tmp_path / "tagged.mp4"], check=True)
        path = tmp_path / "tagged.mp4"
    with VideoReader(path) as reader:
        assert reader.info.display_size == (320, 240)
        assert reader.info.rotation == 90 * turn, "FFmpeg's tag counts the other way round"
        survey = run_survey(reader, SMALL)
    (track,) = survey.tracks
    np.testing.assert_allclose(track.landmarks, np.stack([portrait.landmarks + (60, 20)] * 6), atol=5)


def test_no_face_is_a_normal_result(tmp_path):
    with VideoReader(write_clip(tmp_path / "empty.mp4", [scene(160, 120, 5)] * 8)) as reader:
        survey = run_survey(reader, SMALL)
    assert survey.tracks == ()
    assert survey.skipped == {}
    assert (survey.frame_count, len(survey.shots)) == (8, 1)


def test_range_limits_the_survey(three_shots):
    base = Fraction(1, 12800)
    with VideoReader(three_shots) as reader:
        survey = run_survey(reader, SMALL, start=Timestamp(5 * 512, base), end=Timestamp(14 * 512, base))
    assert (survey.first_pts, survey.last_pts, survey.frame_count) == (5 * 512, 13 * 512, 9)
    assert [len(track) for track in survey.tracks] == [9]


# ---- bookkeeping, scripted


def face(x: float, size: float = 60, score: float = 0.9, y: float = 60) -> Detection:
    box = np.array([x - size / 2, y - 0.6 * size, x + size / 2, y + 0.6 * size], dtype=np.float32)
    return Detection(box, score, (SHAPE * size / 80 + (x, y)).astype(np.float32))


class Script:
    """A reader, a detector and a shot detector in one: frame k (25 per second, PTS 1000 + 40 k ms) shows what the script says."""

    name = "script"
    delay = 3

    def __init__(self, frames: list[list[Detection]], cuts: tuple[int, ...] = ()) -> None:
        self.info = VideoInfo(
            path=Path("script"), container="", codec="", width=200, height=120, pix_fmt="gray", time_base=Fraction(1, 1000),
            average_rate=None, is_vfr=False, first_pts=1000, duration_seconds=None, frame_count_declared=len(frames),
            sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8, field_order="progressive",
        )  # fmt: skip
        self.script, self.cut_at = frames, cuts
        self.looked_at: list[int] = []
        self.alive = self.most_alive = 0

    def frames(self, start=None, end=None) -> Iterator[Frame]:
        for index in range(len(self.script)):
            # The picture's grey level tells the detector which frame it sees.
            plane = np.full((120, 200), index, np.uint8)
            frame = Frame(1000 + 40 * index, Fraction(1, 1000), 40, (plane,), "gray", 200, 120, ColorTags(range=2), index)
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
            weakref.finalize(frame, self._gone)
            yield frame

    def _gone(self) -> None:
        self.alive -= 1

    def detect(self, rgb: np.ndarray) -> list[Detection]:
        self.looked_at.append(int(rgb[0, 0, 0]))
        return self.script[self.looked_at[-1]]

    def push(self, frame: Frame) -> list[Cut]:
        """As late as it is allowed to be."""
        late = frame.index - self.delay
        return [Cut(1000 + 40 * late, late)] if late in self.cut_at else []

    def finish(self) -> list[Cut]:
        last = len(self.script) - 1
        return [Cut(1000 + 40 * at, at) for at in self.cut_at if at > last - self.delay]


def survey_of(script: Script, embed=None, **options):
    settings = options.pop("settings", SurveySettings())
    return run_survey(script, settings, embed, detector=script, shot_detector=script, **options)


def test_fades_in_and_out_inside_a_shot_over_five_frames():
    survey = survey_of(Script([[]] * 10 + [[face(90)]] * 20 + [[]] * 10))
    (track,) = survey.tracks
    ramp = np.array([1, 2, 3, 4, 5]) / 6
    np.testing.assert_allclose(track.fade, [*ramp, *[1] * 10, *ramp[::-1]], atol=1e-6)
    assert list(track.pts) == [1000 + 40 * k for k in range(10, 30)], "nothing is carried on beyond the detections"


def test_no_fading_at_cuts():
    survey = survey_of(Script([[face(90)]] * 30, cuts=(12,)))
    assert [(track.shot, len(track)) for track in survey.tracks] == [(0, 12), (1, 18)]
    assert all((track.fade == 1).all() for track in survey.tracks)
    assert [(shot.first_pts, shot.last_pts) for shot in survey.shots] == [(1000, 1440), (1480, 2160)]


def test_cut_in_the_last_frames_is_not_lost():
    survey = survey_of(Script([[face(90)]] * 20, cuts=(18,)))
    assert [shot.last_pts for shot in survey.shots] == [1000 + 40 * 17, 1000 + 40 * 19]


def test_a_face_missed_in_the_first_two_frames_of_a_shot_is_there_from_the_cut():
    (track,) = survey_of(Script([[], [], *[[face(90)]] * 20])).tracks
    assert len(track) == 22
    assert track.birth_pts == 1080
    assert list(track.scores[:3] > 0) == [False, False, True]
    assert (track.fade == 1).all()


def test_a_face_missed_for_longer_fades_in_where_it_is_found():
    (track,) = survey_of(Script([[]] * 5 + [[face(90)]] * 20), settings=SurveySettings(detect_every=1)).tracks
    assert len(track) == 20
    assert track.fade[0] < 0.5


def test_missed_frames_are_rows_without_score():
    frames = [[face(60 + 2 * k)] if not 10 <= k < 16 else [] for k in range(30)]
    (track,) = survey_of(Script(frames)).tracks
    assert len(track) == 30
    assert not track.scores[10:16].any()
    assert not track.quality[10:16].any()
    truth = np.array([60 + 2 * k for k in range(30)])
    np.testing.assert_allclose(track.boxes[:, [0, 2]].mean(axis=1), truth, atol=1)
    np.testing.assert_allclose(track.landmarks[:, 2, 0], truth, atol=1)


def test_detecting_every_third_frame_bridges_the_others():
    script = Script([[face(60 + 0.4 * k)] for k in range(30)], cuts=(17,))
    survey = survey_of(script, settings=SurveySettings(detect_every=3))
    assert script.looked_at == [0, 1, 4, 7, 10, 13, 16, 17, 18, 21, 24, 27, 29], (
        "twice where a face is new, on both frames at a cut"
    )
    assert [len(track) for track in survey.tracks] == [17, 13]
    for track, first in zip(survey.tracks, (0, 17)):
        truth = 60 + 0.4 * (first + np.arange(len(track)))
        np.testing.assert_allclose(track.landmarks[:, 2, 0], truth, atol=0.3)


def test_a_moving_or_missing_face_is_looked_for_in_each_frame():
    moving = Script([[face(40 + 6 * k)] for k in range(20)])
    survey_of(moving, settings=SurveySettings(detect_every=3))
    assert moving.looked_at == list(range(20))
    missing = Script([[face(60)] if k < 8 else [] for k in range(14)])
    survey_of(missing, settings=SurveySettings(detect_every=3))
    assert missing.looked_at == [0, 1, 4, 7, 10, 11, 12, 13], "from the first look that did not find it"


def test_a_picture_shown_twice_has_one_window(tmp_path, portrait):
    """Drawn on twos, as animation and film on video are: the windows of both showings are equal to the bit."""
    frames = [paste(scene(320, 240, 1), portrait.rgb, 10 + 6 * (i // 2), 20) for i in range(16)]
    with VideoReader(write_clip(tmp_path / "twos.mp4", frames)) as reader:
        (track,) = run_survey(reader, SMALL).tracks
    assert len(track) == 16
    np.testing.assert_array_equal(track.parameters[::2], track.parameters[1::2])
    assert (np.diff(track.parameters[::2, 2]) != 0).all()


def test_small_and_short_faces_are_counted_not_tracked():
    frames = [[face(40, size=15), face(90)] + ([face(160)] if 10 <= k < 13 else []) for k in range(30)]
    survey = survey_of(Script(frames))
    assert len(survey.tracks) == 1
    assert survey.skipped == {"too small": 1, "too short": 1}


def test_a_face_that_comes_near_is_one_track():
    survey = survey_of(Script([[face(90, size=10 + 2 * k)] for k in range(30)]))
    assert [len(track) for track in survey.tracks] == [30]


def test_a_very_short_shot_keeps_its_face():
    assert len(survey_of(Script([[face(90)]] * 3)).tracks) == 1


def test_embeddings_are_taken_at_the_asked_interval():
    seen = []

    def embed(crops):
        seen.extend(crops)
        return np.tile(np.arange(512, dtype=np.float32), (len(crops), 1))

    survey = survey_of(
        Script([[face(40), face(150)]] * 50), embed, settings=SurveySettings(embed_every_seconds=0.4, detect_every=1)
    )
    for track in survey.tracks:
        assert list(track.embedding_pts) == [1000, 1400, 1800, 2200, 2600]
        assert track.embeddings.shape == (5, 512)
        np.testing.assert_array_equal(track.embeddings[2], np.arange(512))
    assert {crop.shape for crop in seen} == {(256, 256, 3)}


def test_two_people_crossing_are_kept_apart_by_their_embeddings():
    """They pass each other; for four frames only one is found. The embedding is the identity, read off the crop's order."""
    frames, people = [], []
    for k in range(40):
        pair = [face(30 + 3.5 * k), face(170 - 3.5 * k)]
        frames.append(pair[:1] if 18 <= k <= 21 else pair)
        people.append([0, 1][: len(frames[-1])])

    class Embed:
        """Knows the frame from the crop's grey level and the face from its place in the list."""

        def __call__(self, crops):
            vectors = np.zeros((len(crops), 512), np.float32)
            for i, crop in enumerate(crops):
                # Every request here is for all faces of a frame, in order.
                vectors[i, people[int(crop[128, 128, 0])][i]] = 20
            return vectors

    survey = survey_of(Script(frames), Embed())
    assert len(survey.tracks) == 2
    left, right = survey.tracks
    assert left.boxes[-1, 0] > 120
    assert right.boxes[-1, 0] < 60


def test_birth_order_names_the_tracks_of_one_frame_from_left_to_right():
    frames = [[face(150), face(40)] if k >= 5 else [face(150)] for k in range(20)]
    first, second = survey_of(Script(frames)).tracks
    assert (first.birth_order, second.birth_order) == (0, 0)
    frames = [[face(150), face(40)]] * 20
    survey = survey_of(Script(frames))
    assert [(round(float(t.boxes[0, 0])), t.birth_order) for t in survey.tracks] == [(10, 0), (120, 1)]
    assert survey.key_of(survey.tracks[1]).birth_order == 1


def test_frames_do_not_pile_up():
    """However long the clip, no more than the shot detector's delay, the frames decoded ahead and the one in hand are held."""
    script = Script([[]] * 60)
    gc.collect()
    survey_of(script)
    assert script.most_alive <= script.delay + 10


def test_progress_counts_frames_and_ends_at_the_total():
    events = []
    survey_of(Script([[]] * 35), progress=events.append)
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert (events[-1].stage, events[-1].done, events[-1].total) == ("survey", 35, 35)


def test_stopping_is_an_error_of_its_own():
    with pytest.raises(Cancelled, match="looking for faces"):
        survey_of(Script([[]] * 35), should_stop=lambda: True)


def test_not_one_frame_is_an_error_that_names_the_file():
    with pytest.raises(DecodeError, match="script: not one frame"):
        survey_of(Script([]))
