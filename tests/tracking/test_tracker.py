"""Association and the tracker: who is who, when faces cross, vanish, hide, come back."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.settings import SurveySettings
from iconface_video.tracking.tracker import Expected, Tracker, associate, covered, is_ambiguous, overlaps
from iconface_video.types import Detection

FRAME = 0.04
"""Seconds: 25 frames per second, one tick per frame."""
SHAPE = np.array([(-18, -12), (18, -12), (0, 8), (-14, 24), (14, 24)], dtype=np.float32)
ALICE, BOB = np.eye(512, dtype=np.float32)[:2] * 20


def face(x: float, y: float = 100, size: float = 80, score: float = 0.9) -> Detection:
    box = np.array([x - size / 2, y - 0.6 * size, x + size / 2, y + 0.6 * size], dtype=np.float32)
    return Detection(box, score, (SHAPE * size / 80 + (x, y)).astype(np.float32))


def follow(frames, describe=None, **settings):
    """Push one list of detections per frame; returns the tracker and what each push gave."""
    tracker = Tracker(SurveySettings(**settings))
    given = []
    for i, found in enumerate(frames):
        asked = None if describe is None else (lambda indices, i=i: [describe[i][k] for k in indices])
        given.append(tracker.push(i, i * FRAME, found, asked))
    return tracker, given


def test_overlap_of_known_boxes():
    first = np.array([[0, 0, 10, 10]])
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [2, 2, 4, 4]])
    np.testing.assert_allclose(overlaps(first, second), [[1, 1 / 3, 0, 0.04]])
    np.testing.assert_allclose(covered(first, second), [[1, 0.5, 0, 1]])


def test_the_cheapest_assignment_is_for_all_not_for_the_first():
    """Greedily the left track would take the middle face and leave the right one with nothing."""
    expected = [Expected(face(100).box, 3), Expected(face(60).box, 3)]
    found = [face(85), face(118)]
    assert sorted(associate(expected, found)) == [(0, 1), (1, 0)]


def test_far_and_unlike_sizes_are_ruled_out():
    expected = [Expected(face(100).box, 3)]
    assert associate(expected, [face(300)]) == []
    assert associate(expected, [face(100, size=240)]) == []
    assert associate([], [face(1)]) == []
    assert associate(expected, []) == []


def test_identity_decides_between_equally_near_faces():
    expected = [Expected(face(100).box, 10, ALICE / 20), Expected(face(140).box, 10, BOB / 20)]
    found = [face(112), face(128)]
    assert is_ambiguous(expected, found)
    assert sorted(associate(expected, found)) == [(0, 0), (1, 1)]
    assert sorted(associate(expected, found, [BOB / 20, ALICE / 20])) == [(0, 1), (1, 0)]


def test_one_face_is_one_track_and_results_are_aligned_with_the_input():
    tracker, given = follow([[face(300), face(100 + 4 * i)] for i in range(20)])
    assert len({id(pair[0]) for pair in given}) == 1
    assert len({id(pair[1]) for pair in given}) == 1
    found = tracker.finish()
    assert [len(item.rows) for item in found] == [20, 20]
    assert found[0].first["box"][0] < found[1].first["box"][0], "left to right among those born in one frame"


def test_a_gap_is_bridged_up_to_the_limit_and_not_beyond():
    def gap(frames: int) -> int:
        clip = [[face(100)]] * 10 + [[]] * frames + [[face(104)]] * 10
        return len(follow(clip, max_gap_seconds=0.4)[0].finish())

    assert gap(8) == 1
    assert gap(12) == 2


def test_a_moving_face_is_found_again_where_it_should_be_by_then():
    clip = [[face(100 + 8 * i)] if not 12 <= i < 18 else [] for i in range(30)]
    assert len(follow(clip)[0].finish()) == 1


def test_doubtful_detections_continue_a_track_but_begin_none():
    clip = [[face(100, score=0.9 if i < 10 else 0.3), face(400, score=0.3)] for i in range(20)]
    tracker, given = follow(clip)
    assert all(pair[0] is not None for pair in given)
    assert all(pair[1] is None for pair in given)
    assert [len(item.rows) for item in tracker.finish()] == [20]


def test_a_new_track_takes_along_the_doubtful_detections_just_before():
    clip = [[face(100, score=0.3)]] * 5 + [[face(100)]] * 5
    (track,) = follow(clip)[0].finish()
    assert list(track.rows.table["pts"]) == list(range(10))


def test_the_look_back_ends_after_a_third_of_a_second():
    clip = [[face(100, score=0.3)]] * 40 + [[face(100)]] * 5
    (track,) = follow(clip)[0].finish()
    assert 0 < 40 - track.first["pts"] <= 8


def test_crossing_faces_keep_their_identity():
    """They pass each other, one hidden for six frames. By position alone either answer would do; the embeddings know."""
    frames, identities = [], []
    for i in range(40):
        alice, bob = face(60 + 6 * i), face(300 - 6 * i)
        if 17 <= i <= 22:
            frames.append([alice])
            identities.append([ALICE])
        else:
            frames.append([alice, bob])
            identities.append([ALICE, BOB])
    tracker = Tracker(SurveySettings())
    owners: dict[int, set[str]] = {}
    for i, found in enumerate(frames):
        given = tracker.push(i, i * FRAME, found, lambda indices, i=i: [identities[i][k] for k in indices])
        for k, track in enumerate(given):
            track.embedded(i, i * FRAME, identities[i][k])
            owners.setdefault(id(track), set()).add("alice" if identities[i][k] is ALICE else "bob")
    assert sorted(map(sorted, owners.values())) == [["alice"], ["bob"]]


def test_another_person_in_the_same_place_after_a_gap_is_another_track():
    """She leaves, he steps into her place 0.3 s later, half a head aside: one track by position, two by identity."""
    tracker = Tracker(SurveySettings())
    for i in range(30):
        if 10 <= i < 18:
            tracker.push(i, i * FRAME, [])
            continue
        who = ALICE if i < 10 else BOB
        (track,) = tracker.push(i, i * FRAME, [face(100 if i < 10 else 140)], lambda _, who=who: [who])
        track.embedded(i, i * FRAME, who)
    assert len(tracker.finish()) == 2


def test_the_same_face_found_twice_is_not_a_second_track():
    clip = [[face(100), face(104, size=50, score=0.6)] for _ in range(10)]
    assert len(follow(clip)[0].finish()) == 1


def test_a_cut_ends_everything_and_nothing_leaks_over():
    tracker, _ = follow([[face(100)]] * 5)
    (before,) = tracker.finish()
    (after,) = tracker.push(5, 5 * FRAME, [face(100)])
    assert after is not before
    assert len(after.rows) == 1
    assert len(tracker.finish()) == 1
    assert tracker.finish() == []


def test_two_trackers_share_nothing():
    first, second = Tracker(SurveySettings()), Tracker(SurveySettings())
    first.push(0, 0.0, [face(100)])
    assert second.finish() == []
    assert len(first.finish()) == 1


@pytest.mark.parametrize(("same", "tracks"), [(True, 1), (False, 2)])
def test_a_sudden_jump_is_joined_afterwards_only_for_the_same_identity(same, tracks):
    """The motion filter cannot follow a jump of 1.7 face sizes within one frame; identity can."""
    tracker = Tracker(SurveySettings())
    for i in range(20):
        who = BOB if i >= 10 and not same else ALICE
        (track,) = tracker.push(i, i * FRAME, [face(100 if i < 10 else 236)], lambda _, who=who: [who])
        track.embedded(i, i * FRAME, who)
    found = tracker.finish()
    assert len(found) == tracks
    if same:
        assert list(found[0].rows.table["pts"]) == list(range(20))
        assert len(found[0].embeddings) == 20
