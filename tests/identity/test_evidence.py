"""From tracks (and photos) to anchors: who shares one, what it stands on, what happens when nothing is usable."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.faces.align import TEMPLATE_512
from iconface_video.identity.evidence import build_anchors, describe_matches
from iconface_video.identity.references import Match, ReferencePhoto
from iconface_video.settings import AnchorSettings
from iconface_video.types import ColorTags, Shot, Survey, Track, VideoInfo

INFO = VideoInfo(
    path=Path("clip.mp4"), container="mp4", codec="h264", width=300, height=300, pix_fmt="yuv420p", time_base=Fraction(1, 25),
    average_rate=Fraction(25), is_vfr=False, first_pts=0, duration_seconds=4.0, frame_count_declared=None,
    sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8, field_order="progressive",
)  # fmt: skip


def make_track(
    track_id: int, first: int, count: int, quality: float = 0.5, person: int | None = None, embeddings: int = 0
) -> Track:
    parameters = np.zeros((count, 4))
    parameters[:, 0] = np.log(512 / 128)
    rng = np.random.default_rng(track_id)
    return Track(
        track_id=track_id, shot=0, birth_pts=first, birth_order=0, pts=np.arange(first, first + count),
        boxes=np.zeros((count, 4), np.float32), landmarks=np.broadcast_to(TEMPLATE_512 / 4, (count, 5, 2)).astype(np.float32),
        scores=np.ones(count, np.float32), parameters=parameters, quality=np.full(count, quality, np.float32),
        fade=np.ones(count, np.float32), embeddings=rng.normal(size=(embeddings, 512)).astype(np.float32),
        embedding_pts=np.arange(first, first + embeddings), sharpness=np.ones(count, np.float32), person=person,
    )  # fmt: skip


def make_survey(*tracks: Track) -> Survey:
    return Survey(INFO, (Shot(0, 0, 999),), tracks, 1000, 0, 999)


class Film:
    """Every frame is a flat picture of its PTS; remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def at(self, pts: int) -> np.ndarray:
        self.asked.append(pts)
        return np.full((300, 300, 3), pts % 256, np.uint8)


def embed(crops) -> np.ndarray:
    """Which picture it was, as a direction."""
    found = np.zeros((len(crops), 512), np.float32)
    for row, crop in enumerate(crops):
        found[row, int(crop[0, 0, 0]) % 512] = 2.0
    return found


def test_tracks_of_a_person_share_one_anchor_and_strangers_have_their_own():
    survey = make_survey(make_track(0, 0, 50, person=0), make_track(1, 100, 50, person=0), make_track(2, 100, 50))
    anchors = build_anchors(survey, [], Film().at, embed, AnchorSettings())
    assert anchors[0] is anchors[1]
    assert anchors[2] is not anchors[0]
    assert anchors[0].origin == anchors[2].origin == "track"


def test_best_frames_of_all_tracks_are_looked_at_and_only_these():
    poor, good = make_track(0, 0, 50, quality=0.3, person=0), make_track(1, 100, 50, quality=0.9, person=0)
    film = Film()
    anchor = build_anchors(make_survey(poor, good), [], film.at, embed, AnchorSettings(anchor_crops=5))[0]
    assert len(film.asked) == 5
    assert all(100 <= pts < 150 for pts in film.asked)
    assert film.asked == sorted(film.asked)
    assert np.linalg.norm(anchor.direction) == pytest.approx(1, abs=1e-5)
    assert np.count_nonzero(anchor.direction) == 5
    assert len(anchor.references) == 5  # each frame is shown the nearest three of them
    assert anchor.shown == 3


def test_a_better_frame_comes_first_among_the_references():
    track = make_track(0, 0, 50, person=0)
    track.quality[33] = 0.95
    anchor = build_anchors(make_survey(track), [], Film().at, embed, AnchorSettings())[0]
    assert int(anchor.references[0][0, 0, 0]) == 33


def test_interpolated_frames_are_no_evidence():
    track = make_track(0, 0, 50, person=0)
    track.scores[10:] = 0
    film = Film()
    build_anchors(make_survey(track), [], film.at, embed, AnchorSettings())
    assert max(film.asked) < 10


def test_photos_outrank_the_clips_own_frames():
    photos = tuple(
        ReferencePhoto(Path(f"{i}.jpg"), np.full((64, 64, 3), i, np.uint8), np.eye(512, dtype=np.float32)[i] * (i + 1))
        for i in range(3)
    )
    survey = make_survey(make_track(0, 0, 50, person=0), make_track(1, 100, 50, person=1))
    film = Film()
    anchors = build_anchors(survey, [Match(0, 0.6, photos)], film.at, embed, AnchorSettings(max_references=2))
    assert anchors[0].origin == "user"
    np.testing.assert_allclose(anchors[0].weights, [3 / 6, 2 / 6, 1 / 6], atol=1e-6)
    assert [int(picture[0, 0, 0]) for picture in anchors[0].references] == [2, 1]
    assert anchors[1].origin == "track"
    assert min(film.asked) >= 100


def test_faces_too_poor_for_evidence_fall_back_to_themselves():
    with_embeddings = make_track(0, 0, 50, quality=0.02, embeddings=3)
    without = make_track(1, 100, 50, quality=0.02)
    film = Film()
    anchors = build_anchors(make_survey(with_embeddings, without), [], film.at, embed, AnchorSettings())
    assert [anchors[i].origin for i in (0, 1)] == ["self", "self"]
    assert anchors[0].references == anchors[1].references == ()
    assert len(film.asked) == 1  # the one without embeddings had to be looked at
    assert 100 <= film.asked[0] < 150


def test_progress_counts_people():
    seen = []
    survey = make_survey(make_track(0, 0, 50, person=0), replace(make_track(1, 100, 50), person=1), make_track(2, 300, 9))
    build_anchors(survey, [], Film().at, embed, AnchorSettings(), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_matches_are_told_with_their_score():
    photo = ReferencePhoto(Path("a.jpg"), np.zeros((8, 8, 3), np.uint8), np.ones(512, np.float32))
    lines = describe_matches([Match(1, 0.456, (photo, photo)), Match(0, 0.7, (photo,), "Ada")])
    assert lines == ["2 reference photos for person 2 (similarity 0.46)", "1 reference photo for Ada (similarity 0.70)"]
