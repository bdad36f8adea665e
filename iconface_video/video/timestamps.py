"""Presentation times of decoded pictures: exact where the file has them, sensible where it has none."""

from __future__ import annotations


class PtsGuesser:
    """Chooses each picture's PTS and keeps the sequence strictly rising.

    The choice between the container's PTS and the time derived from DTS follows FFmpeg's "best effort" rule: whichever
    went backwards less often so far (AVI and other old files have DTS only; broken captures have either wrong).
    """

    def __init__(self, default_step: int) -> None:
        """`default_step`: ticks between pictures where the file says nothing at all (raw streams)."""
        self._step = max(1, default_step)
        self._last: int | None = None
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = 0
        self._faulty_dts = 0
        self.repaired = 0
        """Pictures whose time was missing or did not rise and had to be set here."""

    def next(self, pts: int | None, dts: int | None, duration: int) -> int:
        """PTS for the next picture in presentation order."""
        chosen = self._choose(pts, dts)
        if chosen is None:
            self.repaired += 1
            chosen = 0 if self._last is None else self._last + self._step
        elif self._last is not None and chosen <= self._last:
            self.repaired += 1
            chosen = self._last + 1
        self._last = chosen
        if duration > 0:
            self._step = duration
        return chosen

    def _choose(self, pts: int | None, dts: int | None) -> int | None:
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        if pts is not None and (self._faulty_pts <= self._faulty_dts or dts is None):
            return pts
        return dts
