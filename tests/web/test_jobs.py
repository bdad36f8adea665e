"""The queue: one at a time, in order, and out at any moment."""

from __future__ import annotations

import threading

import pytest

from iconface_video.errors import InputError
from iconface_video.types import Progress
from iconface_video.web.jobs import Job, JobQueue


@pytest.fixture
def queue():
    made = JobQueue()
    yield made
    made.close()


def waits(go_on: threading.Event, log: list[str], name: str):
    def act(job: Job) -> None:
        log.append(f"{name} begins")
        while not go_on.wait(0.01):
            job.check()
        log.append(f"{name} ends")

    return act


def test_one_at_a_time_in_order(queue):
    go_on, log = threading.Event(), []
    first, second, third = (queue.submit(Job("run", waits(go_on, log, name))) for name in "abc")
    assert queue.ahead_of(second) in (1, 2)  # the first may not have begun yet
    assert queue.ahead_of(third) == queue.ahead_of(second) + 1
    go_on.set()
    assert all(queue.wait(job, 5) for job in (first, second, third))
    assert log == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


def test_a_running_job_stops_and_the_next_begins(queue):
    go_on, log = threading.Event(), []
    first, second = (queue.submit(Job("run", waits(go_on, log, name))) for name in "ab")
    first.cancel()
    go_on_later = threading.Timer(0.1, go_on.set)
    go_on_later.start()
    assert queue.wait(first, 5)
    assert queue.wait(second, 5)
    assert (first.status, second.status) == ("cancelled", "done")
    assert "a ends" not in log


def test_a_waiting_job_is_dropped(queue):
    go_on, log = threading.Event(), []
    first, second, third = (queue.submit(Job("run", waits(go_on, log, name))) for name in "abc")
    second.cancel()
    assert second.status == "cancelled"
    assert queue.ahead_of(third) in (1, 2)
    go_on.set()
    assert queue.wait(third, 5)
    assert first.status == third.status == "done"
    assert "b begins" not in log


def test_errors_become_sentences_and_the_queue_goes_on(queue):
    def fails(job: Job) -> None:
        raise InputError("tape.mp4: torn")

    broken = queue.submit(Job("run", fails, explain=lambda error: f"said: {error}"))
    fine = queue.submit(Job("run", lambda job: None))
    assert queue.wait(fine, 5)
    assert (broken.status, broken.error, fine.status) == ("failed", "said: tape.mp4: torn", "done")


def test_closing_cancels_everything():
    queue = JobQueue()
    never, log = threading.Event(), []
    jobs = [queue.submit(Job("run", waits(never, log, name))) for name in "ab"]
    queue.close()
    assert [job.status for job in jobs] == ["cancelled", "cancelled"]


def test_time_left_follows_the_pace_of_the_stage(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("iconface_video.web.jobs.time.monotonic", lambda: now[0])
    job = Job("run", lambda job: None)
    job.status = "running"
    job.report(Progress("survey", 0, 200))
    assert job.seconds_left() is None
    now[0] += 5
    job.report(Progress("survey", 50, 200))
    assert job.seconds_left() == pytest.approx(15.0)
    job.report(Progress("restore", 0, 40, unit="faces"))
    assert job.seconds_left() is None
    assert job.snapshot(0)["unit"] == "faces"


def test_a_note_is_kept_once_and_does_not_change_the_stage():
    job = Job("run", lambda job: None)
    job.report(Progress("restore", 3, 10, unit="faces"))
    for _ in range(2):
        job.report(Progress("survey", 0, None, message="the container is changed"))
    assert job.notes == ["the container is changed"]
    assert (job.stage, job.done, job.total) == ("restore", 3, 10)


def test_short_jobs_come_before_long_ones(queue):
    go_on, log = threading.Event(), []
    first, long, short = (queue.submit(Job(kind, waits(go_on, log, kind))) for kind in ("run", "sides", "survey"))
    assert queue.line() in ([first, short, long], [short, first, long])
    go_on.set()
    assert queue.wait(long, 5)
    assert log.index("survey begins") < log.index("sides begins")


def test_the_end_is_told_once_and_not_when_the_server_stops():
    queue, never, ended, log = JobQueue(), threading.Event(), [], []
    running, waiting, dropped = (
        queue.submit(Job("run", waits(never, log, n), on_end=lambda job, status: ended.append((job, status)))) for n in "abc"
    )
    dropped.cancel()
    dropped.cancel()
    assert ended == [(dropped, "cancelled")]
    queue.close()
    assert (running.status, waiting.status) == ("cancelled", "cancelled")
    assert ended == [(dropped, "cancelled")]


def test_a_paused_job_has_another_turn(queue):
    go_on, log = threading.Event(), []
    job = queue.submit(Job("run", waits(go_on, log, "a")))
    while not log:
        pass
    queue.pause(True)
    while job.status != "waiting":
        pass
    assert queue.line() == [job]
    go_on.set()
    queue.pause(False)
    assert queue.wait(job, 5)
    assert (job.status, log) == ("done", ["a begins", "a begins", "a ends"])


def test_time_left_of_all_adds_the_stages_to_come(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("iconface_video.web.jobs.time.monotonic", lambda: now[0])
    job = Job("run", lambda job: None, expected={"load": 4.0, "restore": 60.0, "render": 10.0, "compare": 6.0})
    assert job.snapshot(0)["seconds_left_of_all"] == pytest.approx(80.0)
    job.status = "running"
    job.step("load", 0, None)
    assert job.seconds_left_of_all() == pytest.approx(80.0)
    job.step("restore", 0, 40, "faces")
    assert job.seconds_left_of_all() == pytest.approx(76.0)
    now[0] += 30
    job.step("restore", 10, 40, "faces")  # three times as slow as was expected
    assert job.seconds_left_of_all() == pytest.approx(90.0 + 16.0)
    assert job.share == pytest.approx((4 + 15) / 80)
    job.step("of nobody's", 1, 2)
    assert job.seconds_left_of_all() is None
