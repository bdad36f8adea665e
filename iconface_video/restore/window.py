"""The frames around a face that a model may look at: the nearest on each side that show something new, within its track.

Which ones these are depends on the track and the pictures alone, not on where a segment begins: a face looks the same
whether its segment was restored with the others or by itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from iconface_video.types import UInt8

REACH_ROWS = 8
"""So far at most from the face's own frame, in frames of its track: a standstill is no reason to look further."""


@dataclass(frozen=True, eq=False)
class _Seen:
    row: int
    crop: UInt8


class TrackWindow:
    """Crops of one track that show something new, pushed in order; the oldest ones are forgotten."""

    def __init__(self, neighbours: int, rows: int) -> None:
        """neighbours: on each side.  rows: length of the track."""
        self._neighbours, self._rows = neighbours, rows
        self._seen: list[_Seen] = []
        self._last = -1

    def push(self, row: int, crop: UInt8 | None) -> None:
        """The next row of the track. crop: (S, S, 3) RGB; None where it shows what the one before did."""
        self._last = row
        if crop is not None:
            self._seen.append(_Seen(row, crop))
        # What waits for its window began at most a repeat block ago, and looks as far back again.
        while self._seen and self._seen[0].row < row - 4 * REACH_ROWS:
            del self._seen[0]

    def is_ready(self, row: int) -> bool:
        """Whether the row's whole window has been pushed."""
        return (
            self._last >= min(row + REACH_ROWS, self._rows - 1)
            or len(self._seen) - bisect_right(self._seen, row, key=_row) >= self._neighbours
        )

    def around(self, row: int, middle: UInt8) -> list[UInt8]:
        """2 * neighbours + 1 crops, in order; `middle` itself also stands where a neighbour is missing."""
        before = self._seen[: bisect_left(self._seen, row, key=_row)][-self._neighbours :]
        after = self._seen[bisect_right(self._seen, row, key=_row) :][: self._neighbours]
        left = [seen.crop for seen in before if row - seen.row <= REACH_ROWS]
        right = [seen.crop for seen in after if seen.row - row <= REACH_ROWS]
        return [*self._filled(left, middle), *left, middle, *right, *self._filled(right, middle)]

    def _filled(self, side: Sequence[UInt8], middle: UInt8) -> list[UInt8]:
        return [middle] * (self._neighbours - len(side))


def _row(seen: _Seen) -> int:
    return seen.row
