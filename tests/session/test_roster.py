"""Workers that would make other faces are not used."""

from __future__ import annotations

import pytest

from iconface_video.errors import WorkerError
from iconface_video.session.engines.job import ModelFacts
from iconface_video.session.engines.messages import Died, Ready
from iconface_video.session.engines.roster import Roster, State

LIBRARIES = {"torch": "2.13.0", "weights": "abc"}


class SaidCrew:
    """Says what it was told to say."""

    patience_seconds = 0.05

    def __init__(self, *said) -> None:
        self.said = list(said)
        self.started: list[str] = []
        self.dismissed: list[str] = []

    def start(self, slot: str) -> None:
        self.started.append(slot)

    def hear(self, timeout: float):
        said, self.said = self.said, []
        return said

    def describe(self, slot: str) -> str:
        return f"worker {slot}"

    def dismiss(self, slot: str) -> None:
        self.dismissed.append(slot)


def ready(threads: int = 2, processor: str = "AVX512", **libraries: str) -> Ready:
    identity = {"device": "cpu", "processor": processor, "threads": threads, "format": "torch.float32"}
    return Ready(ModelFacts("m", (64,), {64: (3, 64, 64)}, identity, {**LIBRARIES, **libraries}))


def test_one_with_other_threads_is_not_used():
    crew = SaidCrew(("a", ready()), ("b", ready(threads=4)), ("c", ready()))
    roster = Roster(crew, ["a", "b", "c"], LIBRARIES)
    assert roster.model().identity["threads"] == 2
    assert [slot.name for slot in roster.living()] == ["a", "c"]
    assert crew.dismissed == ["b"]
    assert roster.notes == {"worker b is not used: it has threads 4 instead of 2, its faces would differ"}


def test_one_with_other_libraries_or_weights_is_not_used_even_if_it_comes_first():
    crew = SaidCrew(("a", ready(torch="2.12.0", weights="abd")), ("b", ready()))
    roster = Roster(crew, ["a", "b"], LIBRARIES)
    roster.model()
    assert roster.slots["a"].state is State.GIVEN_UP
    assert roster.slots["b"].state is State.READY
    (note,) = roster.notes
    assert "torch 2.12.0 instead of 2.13.0, weights abd instead of abc" in note


def test_other_processors_are_used_and_told():
    roster = Roster(SaidCrew(("a", ready()), ("b", ready(processor="AVX2"))), ["a", "b"], LIBRARIES)
    roster.model()
    assert len(roster.living()) == 2
    assert any("processors differ (AVX512, AVX2)" in note for note in roster.notes)


def test_where_all_differ_the_run_ends_and_says_why():
    roster = Roster(SaidCrew(("a", ready(torch="1.0"))), ["a"], LIBRARIES)
    with pytest.raises(WorkerError, match=r"no worker left.*torch 1\.0 instead of 2\.13\.0"):
        roster.model()


def test_nobody_comes_in_time():
    roster = Roster(SaidCrew(("a", Died("no such node"))), ["a"], LIBRARIES)
    with pytest.raises(WorkerError, match=r"no worker was ready within 0\.05 s.*Last failures: no such node"):
        roster.model()
