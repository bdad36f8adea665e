"""Which segments wait for a worker, and what becomes of those whose worker died. Knows nothing of processes or machines."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

MOST_RETRIES = 2


@dataclass(frozen=True)
class Loss:
    """A worker that died over a segment."""

    slot: str
    reason: str


class OutOfTries(Exception):
    """A segment's last allowed worker died, too."""

    def __init__(self, index: int, losses: list[Loss]) -> None:
        super().__init__(index, losses)
        self.index = index
        self.losses = losses


@dataclass(eq=False)
class SegmentQueue:
    """Handed out in the order given; whoever is free takes the next one. A slot is a worker's place: a device, a node's GPU."""

    segments: Iterable[int]
    most_retries: int = MOST_RETRIES
    _waiting: deque[int] = field(init=False)
    _at_work: set[int] = field(init=False, default_factory=set)
    _losses: dict[int, list[Loss]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting = deque(self.segments)

    @property
    def is_done(self) -> bool:
        return not self._waiting and not self._at_work

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def take(self, slot: str, living: Collection[str]) -> int | None:
        """The next segment for a slot; None when there is none for it now.

        A lost segment goes to a slot that it was not lost on, as long as any such is among the `living`.
        """
        for index in self._waiting:
            lost_on = {loss.slot for loss in self._losses.get(index, [])}
            if slot not in lost_on or not set(living) - lost_on:
                self._waiting.remove(index)
                self._at_work.add(index)
                return index
        return None

    def finish(self, index: int) -> None:
        self._at_work.remove(index)

    def lose(self, index: int, slot: str, reason: str) -> int:
        """The segment's worker died: it waits again, before all others. Returns how often it was lost.

        Raises OutOfTries beyond `most_retries`.
        """
        self._at_work.remove(index)
        losses = self._losses.setdefault(index, [])
        losses.append(Loss(slot, reason))
        if len(losses) > self.most_retries:
            raise OutOfTries(index, losses)
        self._waiting.appendleft(index)
        return len(losses)
