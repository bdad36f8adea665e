"""Who works: the slots of a crew, what their workers are doing, and what becomes of slots whose workers die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from iconface_video.errors import WorkerError
from iconface_video.session.engines.job import ModelFacts, RestoreJob
from iconface_video.session.engines.messages import Broken, Died, Message, Ready, Refused

WAIT_SECONDS = 0.2
"""So long at most until a wish to stop is noticed."""
MOST_DEATHS_IN_A_ROW = 3
"""A slot whose workers die so often, with no segment finished in between, is given up."""


class Crew(Protocol):
    """Workers, each in its slot, wherever they are. Of a worker that died or was dismissed nothing more is heard."""

    patience_seconds: float | None
    """How long to wait while no worker at all is ready; None: for ever (its death would be heard of)."""

    def start(self, slot: str) -> None:
        """A worker for the slot; it will say `Ready`."""
        ...

    def open(self, slot: str, job: RestoreJob) -> None:
        """It will say `Opened`."""
        ...

    def restore(self, slot: str, index: int) -> None:
        """It will say `Faces` now and then, and at last `Done`."""
        ...

    def hear(self, timeout: float) -> list[tuple[str, Message]]:
        """(slot, what was said), in order; waits at most so many seconds for the first."""
        ...

    def describe(self, slot: str) -> str:
        """For people: "cuda:1", "worker 3 on node 10.0.0.7"."""
        ...

    def dismiss(self, slot: str) -> None:
        """End the slot's worker, whatever it does."""
        ...

    def close(self) -> None:
        """End all of them."""
        ...


class State(Enum):
    """Of a slot."""

    STOPPED = auto()
    """Nobody is there; may be started."""
    STARTING = auto()
    READY = auto()
    """The model is loaded."""
    OPENING = auto()
    IDLE = auto()
    """The clip is open."""
    AT_WORK = auto()
    GIVEN_UP = auto()


@dataclass(eq=False)
class Slot:
    """A worker's place."""

    name: str
    state: State = State.STOPPED
    segment: int | None = None
    """At work."""
    faces: int = 0
    """Done in that segment."""
    deaths: int = 0
    """Since the last finished segment."""
    last_reason: str = ""
    """Why its last worker died, or why it was given up."""

    def rest(self, state: State) -> None:
        """No segment is at work here any more."""
        self.state, self.segment, self.faces = state, None, 0


class Roster:
    """Slots of a crew, kept over several clips."""

    def __init__(self, crew: Crew, slots: Sequence[str], libraries: Mapping[str, str]) -> None:
        """libraries: versions that a worker has to have, as `expected_libraries` finds them here."""
        self.crew = crew
        self.slots = {name: Slot(name) for name in slots}
        self.notes: set[str] = set()
        """What happened to slots, for the report."""
        self._libraries = libraries
        self._facts: ModelFacts | None = None
        self.start_stopped()

    def start_stopped(self) -> None:
        for slot in self.slots.values():
            if slot.state is State.STOPPED:
                slot.state = State.STARTING
                self.crew.start(slot.name)

    def living(self) -> list[Slot]:
        return [slot for slot in self.slots.values() if slot.state is not State.GIVEN_UP]

    def hear(self) -> Iterator[tuple[Slot, Message]]:
        """What the workers say; what they say of themselves is also noted here."""
        for name, message in self.crew.hear(WAIT_SECONDS):
            slot = self.slots[name]
            yield slot, message
            if isinstance(message, Ready):
                slot.state = State.READY
                self._compare(slot, message.facts)
            elif isinstance(message, Refused):
                if slot.state is State.STARTING:
                    self._stop(slot)  # it has ended; the next clip may start another
                raise message.error
            elif isinstance(message, (Broken, Died)):
                self._bury(slot, message.reason)

    def model(self, check: Callable[[], None] = lambda: None) -> ModelFacts:
        """Waits for a first worker. Raises what it refuses (CheckpointError, UsageError), or WorkerError."""
        begun = time.monotonic()
        self.start_stopped()
        while self._facts is None:
            check()
            for _ in self.hear():
                pass
            self.check_alive(begun)
        return self._facts

    def check_alive(self, waiting_since: float) -> None:
        """Raises WorkerError when there is nobody left, or nobody came since that moment (monotonic seconds)."""
        living = self.living()
        reasons = "; ".join(sorted({slot.last_reason for slot in self.slots.values() if slot.last_reason}))
        if not living:
            raise WorkerError(f"there is no worker left to restore with: {reasons}")
        patience = self.crew.patience_seconds
        if patience is None or time.monotonic() - waiting_since < patience:
            return
        if all(slot.state is State.STARTING for slot in living):
            because = f" Last failures: {reasons}." if reasons else ""
            raise WorkerError(
                f"no worker was ready within {patience:g} s: the machines asked for are not there, or busy.{because}"
            )

    def end_clip(self) -> None:
        """Ready for the next one."""
        for slot in self.living():
            if slot.state is State.OPENING:
                self._stop(slot)  # came too late for this one
            elif slot.state is State.IDLE:
                slot.rest(State.READY)

    def abandon(self) -> None:
        """Nobody goes on with work that is no longer wanted."""
        for slot in self.living():
            if slot.state in (State.OPENING, State.AT_WORK):
                self._stop(slot)
            elif slot.state is State.IDLE:
                slot.rest(State.READY)

    def _stop(self, slot: Slot) -> None:
        self.crew.dismiss(slot.name)
        slot.rest(State.STOPPED)

    def _bury(self, slot: Slot, reason: str) -> None:
        """A worker is no more: start another in its place, unless they die like flies there."""
        slot.deaths += 1
        slot.last_reason = reason
        if slot.deaths >= MOST_DEATHS_IN_A_ROW:
            self._give_up(slot, f"its workers died {slot.deaths} times in a row: {reason}")
            return
        self.crew.dismiss(slot.name)
        slot.rest(State.STARTING)
        self.crew.start(slot.name)

    def _give_up(self, slot: Slot, reason: str) -> None:
        slot.last_reason = f"{self.crew.describe(slot.name)}: {reason}"
        self.notes.add(f"{self.crew.describe(slot.name)} is not used: {reason}")
        self.crew.dismiss(slot.name)
        slot.rest(State.GIVEN_UP)

    def _compare(self, slot: Slot, facts: ModelFacts) -> None:
        """All workers have to give the same bits: one that would not is not used."""
        known = self._facts
        wanted = self._libraries
        unlike = [f"{name} {facts.libraries.get(name)} instead of {version}" for name, version in wanted.items()
                  if facts.libraries.get(name) != version]  # fmt: skip
        if known is not None:
            unlike += [f"{name} {facts.identity.get(name)} instead of {value}" for name, value in known.identity.items()
                       if name != "processor" and facts.identity.get(name) != value]  # fmt: skip
        if unlike:
            return self._give_up(slot, f"it has {', '.join(unlike)}, its faces would differ")
        if known is None:
            self._facts = facts
        elif known.identity.get("processor") != facts.identity.get("processor"):
            both = f"{known.identity.get('processor')}, {facts.identity.get('processor')}"
            self.notes.add(f"the workers' processors differ ({both}): so may the last bits of their faces")
