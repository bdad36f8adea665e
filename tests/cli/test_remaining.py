"""How long it still takes in all: of a run's stages together, and of a batch's files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from iconface_video.cli.batch_table import FileLines
from iconface_video.cli.display import USUAL_SECONDS, BatchRemaining, Lines, RunRemaining
from iconface_video.session.clip_batch import BatchJob, BatchRow
from iconface_video.types import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


USUAL = (("survey", "frames", 200), ("restore", "faces", 200), ("render", "frames", 200))
WITH_LEARNING = (USUAL[0], ("learn", "steps", 80), *USUAL[1:])


def run_through(remaining: RunRemaining, clock: Clock, slowness: float, stages=USUAL) -> list[tuple[float, float | None]]:
    """(what was left in truth, what was said) after each event of a run whose costs are the usual ones, times `slowness`."""
    total = slowness * sum(USUAL_SECONDS[stage] * count for stage, _, count in stages)
    said = []
    for stage, unit, count in stages:
        for done in range(count + 1):
            remaining.tell(Progress(stage, done, count, unit=unit))
            said.append((total - clock.now, remaining.seconds))
            clock.now += USUAL_SECONDS[stage] * slowness * (done < count)
    return said


@pytest.mark.parametrize("slowness", [0.5, 1.0, 20.0])
def test_a_run_knows_about_all_its_stages_from_the_first(slowness):
    clock = Clock()
    said = run_through(RunRemaining(clock), clock, slowness)
    assert said[0][1] is None
    for truth, told in said[20:]:
        assert told == pytest.approx(truth, rel=0.15, abs=0.5)


def test_learning_people_counts_from_when_it_begins():
    """Most runs have none of it."""
    clock = Clock()
    said = run_through(RunRemaining(clock), clock, 1.0, WITH_LEARNING)
    for truth, told in said[-402:]:
        assert told == pytest.approx(truth, rel=0.15, abs=0.5)
    learning = said[201:282]
    assert all(told == pytest.approx(truth, rel=0.2) for truth, told in learning[2:])


def test_a_clip_of_unknown_length_gets_no_guess():
    remaining = RunRemaining(Clock())
    remaining.tell(Progress("survey", 5, None))
    assert remaining.seconds is None


def test_a_batch_counts_the_files_that_are_left():
    clock = Clock()
    batch = BatchRemaining([100, 100, 300], clock)
    batch.begin(0)
    assert batch.seconds is None
    clock.now = 10
    batch.end(0, worked=True)
    assert batch.seconds == pytest.approx(40)
    batch.begin(1)
    batch.end(1, worked=False)
    assert batch.seconds == pytest.approx(30)


def test_a_log_file_is_told_of_a_file_at_work_and_of_the_whole():
    out = io.StringIO()
    lines = FileLines(out, every=0.0)
    lines.start([BatchJob(Path("a.mp4"), Path("out/a.mp4")), BatchJob(Path("b.mp4"), Path("out/b.mp4"))])
    lines.row(0, BatchRow(Path("a.mp4"), "running"))
    tell = lines.progress(0)
    assert tell is not None
    for done in (0, 40):
        tell(Progress("survey", done, 100))
    said = out.getvalue().splitlines()
    assert said[0] == "[1/2] a.mp4: begun"
    assert said[-1].startswith("[1/2] a.mp4: finding faces 40 %")


def test_a_run_in_a_log_file_says_what_is_left_of_the_whole(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("iconface_video.cli.display.time.monotonic", clock)
    out = io.StringIO()
    lines = Lines(out)
    lines._remaining = RunRemaining(clock)
    for done in range(0, 101, 10):
        lines(Progress("survey", done, 1000))
        clock.now += 10
    assert "left in all" in out.getvalue()
