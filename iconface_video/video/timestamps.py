"""Presentation times of decoded pictures: exact where the file has them, sensible where it has none."""

from __future__ import annotations

from collections.abc import Iterator

from av.error import FFmpegError
from av.packet import Packet

_JUMP_SECONDS = 10
"""A picture that jumps this far ahead has to be borne out by the next ones."""
_REORDERED_SECONDS = 600
"""Presentation and decode time are not farther apart, not even in a show of slides."""
_BORNE_OUT, _MOST_HELD = 3, 8
"""Packets: so many after the first one that agree with it; so many that are waited for."""


def without_wild_times(packets: Iterator[Packet]) -> Iterator[Packet]:
    """A film's packets, in containers where each has a time of its own, and one of them may be damaged.

    Times that jump far ahead and are not borne out by the packets after them are taken away; else all that follows would
    seem to run backwards.
    """
    held: list[Packet] = []
    sure: int | None = None
    doubted = agreeing = 0
    try:
        for packet in packets:
            time = _time(packet)
            jump = _JUMP_SECONDS / packet.time_base if packet.time_base else 0
            if time is not None:
                agreeing = agreeing + 1 if held and abs(time - doubted) <= jump else 1
            if time is not None and sure is not None and time <= sure + jump:
                _take_away(held)
            elif time is not None and agreeing > _BORNE_OUT:
                _take_away([item for item in held if (_time(item) or 0) > time + jump])
            elif packet.size and len(held) < _MOST_HELD and (held if time is None else sure is not None):
                held.append(packet)
                doubted = doubted if time is None else time
                continue
            sure = time if time is not None else doubted if held else sure
            yield from (*held, packet)
            held = []
    except FFmpegError:
        yield from held
        raise
    yield from held


def _time(packet: Packet) -> int | None:
    """Decode time or what comes nearest; None also where presentation and decode time contradict each other."""
    if packet.pts is None or packet.dts is None:
        return packet.dts if packet.dts is not None else packet.pts
    if abs(packet.pts - packet.dts) > _REORDERED_SECONDS / packet.time_base:
        _take_away([packet])
    return packet.dts


def _take_away(packets: list[Packet]) -> None:
    for packet in packets:
        packet.pts = packet.dts = None


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
