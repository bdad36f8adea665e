"""A pool whose workers are played: who is used, and what becomes of segments. Nothing is lost, nothing is done twice, a loss is
tried elsewhere, but not for ever."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Future
from contextlib import nullcontext

import pytest

from iconface_video.errors import StoreError, WorkerError
from iconface_video.restore.face_model import ModelFacts
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.engines.pool import Pool, State, Worker
from tests.session.engine_parts import SEGMENTS, without

VERSIONS = {"torch": "2.13.0", "weights": "abc"}
DEAD = "is dead"


def outcome(result) -> Future:
    """A task that is done already."""
    future: Future = Future()
    if isinstance(result, Exception):
        future.set_exception(result)
    elif result is not None:
        future.set_result(result)
    return future


class Played(Worker):
    """Starts and restores as it is told to: each task ends with the next result, or in an exception; None: never."""

    def __init__(self, name: str, *starts, restores=()) -> None:
        super().__init__(f"worker {name}")
        self.starts, self.restores = list(starts), list(restores)
        self.done: list[int] = []
        self.kills = 0

    def start(self) -> Future:
        return outcome(self.starts.pop(0) if self.starts else None)

    def restore(self, job, index: int) -> Future:
        result = self.restores.pop(0) if self.restores else SegmentDone(index)
        if result == DEAD:
            raise BrokenExecutor("nobody there")
        if isinstance(result, SegmentDone):
            self.done.append(index)
        return outcome(result)

    def faces(self) -> int:
        return 0

    def why(self, error: Exception) -> str:
        return str(error)

    def kill(self) -> None:
        self.kills += 1

    def join(self) -> None:
        pass


class PlayedPool(Pool):
    name = "played"

    def share(self, job):
        return nullcontext(job)


def pool(*workers: Worker, patience_seconds: float | None = None) -> PlayedPool:
    return PlayedPool(workers, VERSIONS, patience_seconds=patience_seconds)


def ready(threads: int = 2, processor: str = "AVX512", **versions: str) -> ModelFacts:
    identity = {"device": "cpu", "processor": processor, "threads": threads, "format": "torch.float32"}
    return ModelFacts("m", (64,), {64: (3, 64, 64)}, identity, {**VERSIONS, **versions})


def restore(made: Pool, work):
    return made.restore(work, lambda done: None, lambda event: None, lambda: None)


def settle(made: Pool) -> None:
    while any(worker.task is not None and worker.task.done() for worker in made.workers):
        list(made.poll())


def test_one_with_other_threads_is_not_used():
    a, b, c = Played("a", ready()), Played("b", ready(threads=4)), Played("c", ready())
    made = pool(a)
    assert made.model.identity["threads"] == 2
    made.workers = (a, b, c)
    made.start_stopped()
    settle(made)
    assert made.living() == [a, c]
    assert (a.kills, b.kills, c.kills) == (0, 1, 0)
    assert made.notes == {"worker b is not used: it has threads 4 instead of 2, its faces would differ"}


def test_one_with_other_libraries_or_weights_is_not_used_even_if_it_comes_first():
    a, b = Played("a", ready(torch="2.12.0", weights="abd")), Played("b", ready())
    made = pool(a, b)
    assert made.model == ready()
    settle(made)
    assert a.state is State.GIVEN_UP
    assert b.state is State.READY
    (note,) = made.notes
    assert "torch 2.12.0 instead of 2.13.0, weights abd instead of abc" in note


def test_other_processors_are_used_and_told():
    a, b = Played("a", ready()), Played("b", ready(processor="AVX2"))
    made = pool(a)
    assert made.model
    made.workers = (a, b)
    made.start_stopped()
    settle(made)
    assert len(made.living()) == 2
    assert any("processors differ (AVX512, AVX2)" in note for note in made.notes)


def test_where_all_differ_the_run_ends_and_says_why():
    made = pool(Played("a", ready(torch="1.0")))
    with pytest.raises(WorkerError, match=r"no worker left.*torch 1\.0 instead of 2\.13\.0"):
        made.model  # noqa: B018


def test_nobody_comes_in_time():
    made = pool(Played("a", RuntimeError("no such node")), patience_seconds=0.05)
    with pytest.raises(WorkerError, match=r"no worker was ready within 0\.05 s.*Last failures: no such node"):
        made.model  # noqa: B018


# ---- segments


def test_whoever_is_free_takes_the_next_one(found, crops):
    a, b = Played("a", ready()), Played("b", ready(), restores=[None])
    stuck = []

    def check() -> None:
        """Once all others are done, b comes to the end of its one."""
        if len(a.done) == SEGMENTS - 1 and not stuck:
            stuck.append(b.segment)
            b.task.set_result(SegmentDone(b.segment))

    counts = pool(a, b).restore(found.work(crops), lambda done: None, lambda event: None, check)
    assert stuck == [1]
    assert a.done == [0, *range(2, SEGMENTS)]
    assert counts.notes == set()


def test_a_lost_segment_comes_first_but_not_where_it_was_lost(found, crops):
    a, b = Played("a", ready(), ready(), restores=[RuntimeError("killed")]), Played("b", ready())
    counts = restore(pool(a, b), found.work(crops))
    assert b.done[:2] == [1, 0]
    assert sorted(a.done + b.done) == list(range(SEGMENTS))
    assert counts.notes == {
        "segment 0 (0.0 to 0.5 s of the video): its worker on worker a died (killed); restored again, retry 1"
    }


def test_it_waits_for_another_worker_that_may_come_and_is_tried_there_again_where_nobody_else_lives(found, crops):
    a, b = Played("a", ready(), ready(), restores=[RuntimeError("killed")]), Played("b")
    coming = b.start()
    b.start = lambda: coming

    def check() -> None:
        if len(a.done) == SEGMENTS - 1 and not coming.done():
            coming.set_result(ready())

    pool(a, b).restore(found.work(crops), lambda done: None, lambda event: None, check)
    assert a.done == list(range(1, SEGMENTS))
    assert b.done == [0]
    alone = Played("a", ready(), ready(), restores=[RuntimeError("killed")])
    restore(pool(alone), found.work(crops))
    assert alone.done == list(range(SEGMENTS))


def test_a_worker_whose_successors_die_too_is_not_replaced_any_more(found, crops):
    """The other one does all of the work, and hears of no segment twice."""
    a = Played("a", *[ready()] * 3, restores=[RuntimeError("killed")] * 3)
    b = Played("b", ready())
    counts = restore(pool(a, b), found.work(crops))
    assert sorted(b.done) == list(range(SEGMENTS))
    assert a.done == []
    assert a.state is State.GIVEN_UP
    assert "worker a is not used: its workers died 3 times in a row: killed" in counts.notes
    assert sum("retry 1" in note for note in counts.notes) == 3


def test_the_third_loss_of_a_segment_is_the_last(found, crops):
    a, b = (Played(name, *[ready()] * 9, restores=[RuntimeError(f"{name} died")] * 2) for name in "ab")
    with pytest.raises(WorkerError, match=r"clip\.mp4: segment 0 \(0\.0 to 0\.5 s of the video\) .*died 3 times") as caught:
        restore(pool(a, b), without(found.work(crops), *range(1, SEGMENTS)))
    assert "(worker a: a died; worker b: b died; worker a: a died)" in str(caught.value)  # lost everywhere: anyone may try


def test_a_death_between_two_segments_costs_no_segment_a_retry(found, crops):
    a = Played("a", ready(), ready(), restores=[DEAD])
    counts = restore(pool(a), found.work(crops))
    assert a.done == list(range(SEGMENTS))
    assert counts.notes == set()


def test_a_refusal_ends_the_run_and_whoever_is_at_work_but_not_the_others(found, crops):
    a, b, c = Played("a", ready(), restores=[StoreError("disk full")]), Played("b", ready(), restores=[None]), Played("c")
    c.restores = [None]
    with pytest.raises(StoreError, match="disk full"):
        restore(pool(a, b, c), found.work(crops))
    assert [worker.state for worker in (a, b, c)] == [State.READY, State.STOPPED, State.STARTING]
    assert b.kills == 1
    assert a.kills == c.kills == 0
