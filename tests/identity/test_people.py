"""Tracks of one person across shots are one group; faces seen together never are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.identity.grouping import group_people, person_direction
from iconface_video.settings import AnchorSettings
from iconface_video.types import ColorTags, Shot, Survey, Track, VideoInfo

INFO = VideoInfo(
    path=Path("clip.mp4"), container="mp4", codec="h264", width=64, height=64, pix_fmt="yuv420p", time_base=Fraction(1, 25),
    average_rate=Fraction(25), is_vfr=False, first_pts=0, duration_seconds=4.0, frame_count_declared=None,
    sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8, field_order="progressive",
)  # fmt: skip


def make_track(track_id: int, first: int, last: int, embeddings: np.ndarray) -> Track:
    n = last - first + 1
    return Track(
        track_id=track_id, shot=0, birth_pts=first, birth_order=0, pts=np.arange(first, last + 1),
        boxes=np.zeros((n, 4), np.float32), landmarks=np.zeros((n, 5, 2), np.float32), scores=np.ones(n, np.float32),
        parameters=np.zeros((n, 4)), quality=np.ones(n, np.float32), fade=np.ones(n, np.float32),
        embeddings=embeddings.astype(np.float32), embedding_pts=np.full(len(embeddings), first), sharpness=np.ones(n, np.float32),
    )  # fmt: skip


def make_survey(*tracks: Track) -> Survey:
    return Survey(INFO, (Shot(0, 0, 999),), tracks, 1000, 0, 999)


def seen(person: int, count: int = 3, noise: float = 0.6) -> np.ndarray:
    """Embeddings of one person: a direction of its own plus noise (cosine of two pictures about 0.73)."""
    own = np.random.default_rng(person).normal(size=512)
    return 10 * (
        own / np.linalg.norm(own) + noise * np.random.default_rng([person, count]).normal(size=(count, 512)) / 512**0.5
    )


def test_same_person_after_a_cut_and_two_others():
    survey = make_survey(
        make_track(0, 0, 99, seen(1)),
        make_track(1, 200, 249, seen(2)),
        make_track(2, 300, 399, seen(1, 5)),
        make_track(3, 400, 420, seen(3, 1)),
    )
    people = [track.person for track in group_people(survey, AnchorSettings()).tracks]
    assert people == [0, 1, 0, 2]  # numbered by screen time: 200, 50 and 21 frames


def test_faces_seen_at_the_same_time_are_never_one_person():
    twins = seen(1, 4, noise=0.0)
    survey = make_survey(make_track(0, 0, 99, twins), make_track(1, 50, 149, twins), make_track(2, 200, 299, twins))
    people = [track.person for track in group_people(survey, AnchorSettings()).tracks]
    assert people[0] != people[1]
    assert people[2] in people[:2]


def test_a_track_without_embeddings_belongs_to_nobody():
    survey = make_survey(make_track(0, 0, 9, np.zeros((0, 512))), make_track(1, 20, 29, seen(1)))
    assert [track.person for track in group_people(survey, AnchorSettings()).tracks] == [None, 0]
    assert group_people(make_survey(), AnchorSettings()).tracks == ()


def test_the_threshold_decides():
    survey = make_survey(make_track(0, 0, 9, seen(1, 1, 1.0)), make_track(1, 20, 29, seen(1, 2, 1.0)))
    loose = group_people(survey, AnchorSettings(same_person_similarity=0.2))
    strict = group_people(survey, AnchorSettings(same_person_similarity=0.95))
    assert len({track.person for track in loose.tracks}) == 1
    assert len({track.person for track in strict.tracks}) == 2


def test_direction_of_a_person_spans_its_tracks():
    own = np.random.default_rng(1).normal(size=512)
    direction = person_direction([make_track(0, 0, 9, seen(1)), make_track(1, 20, 29, seen(1, 8))], AnchorSettings())
    assert direction is not None
    assert float(direction @ own / np.linalg.norm(own)) > 0.9
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
    assert person_direction([make_track(0, 0, 9, np.zeros((0, 512)))], AnchorSettings()) is None


def test_strangers_are_not_more_alike_the_longer_they_are_seen():
    """What all faces have in common stays in a long track's anchor; it must not bring strangers together."""
    common = np.random.default_rng(0).normal(size=512) / 512**0.5

    def stranger(person: int, count: int) -> np.ndarray:
        own, rng = np.random.default_rng([person, 1]).normal(size=512) / 512**0.5, np.random.default_rng([person, 2])
        return 10 * (common + 0.7 * own + rng.normal(size=(count, 512)) / 512**0.5)

    for count in (1, 4, 40):
        survey = make_survey(make_track(0, 0, 9, stranger(1, count)), make_track(1, 20, 29, stranger(2, count)))
        people = [track.person for track in group_people(survey, AnchorSettings(same_person_similarity=0.5)).tracks]
        assert people == [0, 1], count


def test_a_chain_of_likenesses_does_not_join_its_ends():
    """Each is like the next, the first is not like the last: on average the two groups are not alike enough."""
    angles = np.radians([0, 30, 70, 100])
    pictures = [np.eye(512)[:1] * np.cos(angle) + np.eye(512)[1:2] * np.sin(angle) for angle in angles]
    survey = make_survey(*(make_track(i, 20 * i, 20 * i + 9, picture) for i, picture in enumerate(pictures)))
    people = [track.person for track in group_people(survey, AnchorSettings(same_person_similarity=0.7)).tracks]
    assert people[0] == people[1] != people[2] == people[3]
