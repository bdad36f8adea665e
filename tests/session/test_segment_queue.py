"""Segments wait for workers: nothing is lost, nothing is done twice, a loss is tried elsewhere, but not for ever."""

from __future__ import annotations

from iconface_video.session.engines.pool import SegmentQueue

LIVING = ("a", "b")


def test_whoever_is_free_takes_the_next_one():
    queue = SegmentQueue([4, 5, 6])
    assert [queue.take("a", LIVING), queue.take("b", LIVING), queue.take("b", LIVING)] == [4, 5, 6]
    assert queue.take("a", LIVING) is None
    assert not queue.waiting


def test_a_lost_segment_comes_first_but_not_where_it_was_lost():
    queue = SegmentQueue([0, 1, 2])
    assert queue.take("a", LIVING) == 0
    assert queue.lose(0, "a", "killed") == ["killed"]
    assert queue.take("a", LIVING) == 1
    assert queue.take("b", LIVING) == 0


def test_where_nobody_else_lives_it_is_tried_there_again():
    queue = SegmentQueue([0])
    queue.take("a", ["a"])
    queue.lose(0, "a", "killed")
    assert queue.take("a", LIVING) is None  # b may come back
    assert queue.take("a", ["a"]) == 0


def test_the_reasons_of_all_losses_are_kept():
    queue = SegmentQueue([7])
    for worker in ("a", "b"):
        assert queue.take(worker, LIVING) == 7
        queue.lose(7, worker, f"{worker} died")
    assert queue.take("a", LIVING) == 7  # lost everywhere: anyone may try
    assert queue.lose(7, "a", "a died again") == ["a died", "b died", "a died again"]
