"""Recordings whose clock starts anew on the way: where that is, and how the later part goes on right after the earlier one.

MPEG transport and program streams (.ts, .m2ts, .vob, .mpg) carry the recorder's own clock. Two of them appended with
``cat``, a capture that was restarted, or a clock that ran over make all times jump. FFmpeg's command line closes such
jumps as it meets them; here the packets are looked at once, beforehand, so that a frame has the same time whichever part
of the file is read, and picture, sound and subtitles move by the same amount.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from iconface_video.types import ClockReset, VideoInfo
from iconface_video.video.container import demuxed, open_input

_CLOCKED = frozenset({"mpegts", "mpeg"})
_SECOND = 90000
"""Ticks: all streams of these containers count so."""
_BACK = _SECOND // 5
"""A stream's decode times run back by less only through sloppy muxing."""
_AHEAD = 60 * _SECOND
"""A longer gap of picture and sound alike is taken for a reset clock, if the packets after it bear it out."""
_AHEAD_ALONE = 600 * _SECOND
"""Likewise of a film without sound: slides may stand for a minute."""
_STEP = _SECOND
_NEAR = 10 * _SECOND
"""How far streams may be apart about how much the clock jumped: one ends later, or begins earlier, than the other."""
_BORNE_OUT = 8
"""Packets in a row of one stream that agree about the time: fewer are damaged times."""
_REORDERED = 2 * _SECOND
"""Presentation and decode time are not farther apart."""
_NEAR_BYTES = 1 << 20
_WRAP = 1 << 33
"""Ticks after which the clock begins at 0 again: it has 33 bits."""
_HOUR = 3600 * _SECOND


@dataclass(frozen=True)
class Clock:
    """What a walk through the packets found."""

    resets: tuple[ClockReset, ...] = ()
    end_pts: int | None = None
    """Where the film ends, in the clock that goes on. None: not one packet has a time."""
    last_position: int = 0
    """Byte of the file at which the film's last packet begins."""


def has_recorder_clock(container: str) -> bool:
    """Whether files of this kind carry the clock of what recorded them, which may start anew on the way."""
    return container in _CLOCKED


def read_clock(path: Path, video_stream: int, step: int) -> Clock:
    """Walk through the packets of a whole file, decoding nothing; a file that did not change is walked through once.

    film: index of its stream.  step: ticks between its pictures, where packets do not say.
    """
    status = path.stat()
    return _read_clock(path, video_stream, step, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _read_clock(path: Path, video_stream: int, step: int, _size: int, _changed: int) -> Clock:
    with open_input(path) as container:
        followed: dict[int, _Followed] = {}
        for stream in container.streams:
            if stream.index == video_stream or (
                stream.type == "audio" and stream.time_base == container.streams[video_stream].time_base
            ):
                followed[stream.index] = _Followed(step)
            else:
                stream.discard = Discard.all
        try:
            for packet in demuxed(container):
                if packet.stream_index in followed:
                    followed[packet.stream_index].add(packet)
        except FFmpegError:
            pass  # damage: the rest cannot be reached by those who read the pictures, either
    return _compared(video_stream, followed)


@dataclass(frozen=True)
class _Stamp:
    position: int
    """Byte of the file."""
    time: int
    """Decode time, or what comes nearest."""
    begins: int
    ends: int


class _Run:
    """Packets of one stream that go by one clock."""

    def __init__(self, first: list[_Stamp]) -> None:
        self.position, self.first = first[0].position, first[0].time
        self.last = self.first
        self.count = 0
        self._head: list[_Stamp] = []
        self._tail: deque[_Stamp] = deque(maxlen=2 * _BORNE_OUT)
        self._before_step: int | None = None
        self._since_step = 0
        for stamp in first:
            self._add(stamp)

    def takes(self, stamp: _Stamp) -> bool:
        """Whether the packet goes by this clock; it is added then."""
        before = self._before_step
        if self.last - _BACK <= stamp.time <= self.last + _AHEAD:
            if stamp.time > self.last + _STEP:
                self._before_step, self._since_step = self.last, 0
        elif before is not None and before - _BACK <= stamp.time <= before + _NEAR:
            self._before_step = None  # what jumped ahead was damaged
        else:
            return False
        self._add(stamp)
        return True

    def _add(self, stamp: _Stamp) -> None:
        self.last = stamp.time
        self.count += 1
        self._since_step += 1
        if self._since_step > _BORNE_OUT:
            self._before_step = None
        if len(self._head) < _BORNE_OUT:
            self._head.append(stamp)
        self._tail.append(stamp)

    @property
    def begins(self) -> int:
        """The earliest presentation time."""
        return min((item.begins for item in self._head if item.begins >= self.first - _REORDERED), default=self.first)

    @property
    def ends(self) -> int:
        """When the last picture or sound is over."""
        last = self.last if self._before_step is None else self._before_step
        return max((item.ends for item in self._tail if item.ends <= last + _REORDERED), default=last)


class _Followed:
    """The clocks that one stream went by, in file order."""

    def __init__(self, step: int) -> None:
        self.runs: list[_Run] = []
        self.position = 0
        """Of the latest packet."""
        self._step = step
        self._doubted: list[_Stamp] = []

    def add(self, packet: Packet) -> None:
        time = packet.dts if packet.dts is not None else packet.pts
        if packet.pos is not None:
            self.position = packet.pos
        if time is None:
            return
        begins = packet.pts if packet.pts is not None else time
        stamp = _Stamp(self.position, time, begins, begins + (packet.duration or self._step))
        if not self.runs:
            self.runs.append(_Run([stamp]))
        elif self.runs[-1].takes(stamp):
            self._doubted.clear()
        else:
            self._doubt(stamp)

    def _doubt(self, stamp: _Stamp) -> None:
        """One packet with another time is damaged; several that agree go by another clock."""
        step = stamp.time - self._doubted[-1].time if self._doubted else 0
        if _NEAR < step <= _AHEAD_ALONE and 0 < self._doubted[0].time - self.runs[-1].last <= _AHEAD_ALONE:
            self.runs[-1].last = self._doubted[-1].time  # a slow show of slides
        if not -_BACK <= step <= _NEAR:
            self._doubted.clear()
        self._doubted.append(stamp)
        if len(self._doubted) < _BORNE_OUT:
            return
        if self.runs[-1].count < _BORNE_OUT:
            self.runs.pop()  # the file began with a damaged time
        self.runs.append(_Run(self._doubted))
        self._doubted.clear()

    def jump_near(self, position: int) -> tuple[_Run, _Run] | None:
        """The runs before and after the change of clock that is nearest to a place in the file."""
        return min(pairwise(self.runs), key=lambda pair: abs(pair[1].position - position), default=None)

    def spans(self, position: int) -> bool:
        """Whether there are packets on both sides of a place."""
        return bool(self.runs) and self.runs[0].position < position < self.position


def _compared(video_stream: int, followed: dict[int, _Followed]) -> Clock:
    """Resets that film and sound agree about: where only one of them jumps, its times are damaged."""
    resets: list[ClockReset] = []
    runs, offset = followed[video_stream].runs, 0
    for earlier, later in pairwise(runs):
        jumps = {video_stream: (earlier, later)}
        for index, other in followed.items():
            jump = other.jump_near(later.position)
            if jump is not None and abs((jump[1].first - jump[0].last) - (later.first - earlier.last)) <= _NEAR:
                jumps[index] = jump
            elif other.spans(later.position):
                break
        else:
            if len(jumps) == 1 and 0 < later.first - earlier.last <= _AHEAD_ALONE:
                continue
            # No stream's later part begins before its earlier one is over.
            moved = max(before.ends - after.begins for before, after in jumps.values())
            offset += _WRAP if abs(moved - _WRAP) < _SECOND else moved
            starts = tuple((index, after.position) for index, (_, after) in sorted(jumps.items()))
            resets.append(ClockReset(later.begins + offset, offset, min(position for _, position in starts), starts))
    return Clock(tuple(resets), runs[-1].ends + offset if runs else None, followed[video_stream].position)


def told_resets(info: VideoInfo) -> list[ClockReset]:
    """Those that a person should know of: not where the clock only ran over, as it does once in 26 hours."""
    offsets = [0, *(reset.offset for reset in info.clock_resets)]
    return [reset for before, reset in zip(offsets, info.clock_resets) if reset.offset - before != _WRAP]


class Mender:
    """Sets packets' times to the clock that goes on."""

    def __init__(self, info: VideoInfo, position: int = 0) -> None:
        """position: byte of the file where reading begins."""
        self._resets, self._time_base, self._begins_at = info.clock_resets, info.time_base, position
        self._latest: dict[int, int] = {}
        self._starts: dict[int, list[int]] = {}

    def mended(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """The packets, each after `mend`."""
        for packet in packets:
            self.mend(packet)
            yield packet

    def mend(self, packet: Packet) -> None:
        """A packet without a place in the file came out of the one before it."""
        if not self._resets:
            return
        index = packet.stream_index
        if packet.pos is not None:
            self._latest[index] = packet.pos
        offset, first = self._part(index, self._latest.get(index, self._begins_at))
        if packet.time_base != self._time_base:
            return
        packet.pts = None if packet.pts is None else _unwrapped(packet.pts + offset, first)
        packet.dts = None if packet.dts is None else _unwrapped(packet.dts + offset, first)

    def _part(self, stream: int, position: int) -> tuple[int, int | None]:
        """What is added to times at a byte of the file, and the first PTS behind the latest reset."""
        if stream not in self._starts:
            self._starts[stream] = [dict(reset.starts).get(stream, reset.position) for reset in self._resets]
        passed = bisect_right(self._starts[stream], position)
        return (self._resets[passed - 1].offset, self._resets[passed - 1].pts) if passed else (0, None)


def _unwrapped(time: int, first: int | None) -> int:
    """Where a clock runs over, times of either side stand among each other. (FFmpeg sees to the first part.)"""
    if first is None:
        return time
    if time < first - _HOUR:
        return time + _WRAP
    return time - _WRAP if time > first + _WRAP - _HOUR else time


def seek(container: av.container.InputContainer, stream: VideoStream, info: VideoInfo, pts: int) -> Mender:
    """Go to a key frame near a time, mostly before it; the mender for what is read from there.

    Where the clock was reset, FFmpeg's search by time goes astray; the place is searched within the right part instead.
    """
    if not info.clock_resets:
        container.seek(pts, stream=stream, backward=True)
        return Mender(info)
    ends = [*(reset.position for reset in info.clock_resets), info.path.stat().st_size]
    part = sum(reset.pts <= pts for reset in info.clock_resets)
    low, high = ends[part - 1] if part else 0, ends[part]
    while high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        time = _time_at(container, stream, info, middle)
        low, high = (middle, high) if time is not None and time <= pts else (low, middle)
    container.seek(low, unsupported_byte_offset=True)
    return Mender(info, low)


def _time_at(container: av.container.InputContainer, stream: VideoStream, info: VideoInfo, position: int) -> int | None:
    """PTS of the first picture behind a byte of the file."""
    container.seek(position, unsupported_byte_offset=True)
    mender = Mender(info, position)
    try:
        for packet in mender.mended(demuxed(container, stream)):
            if packet.pos is not None and packet.pos >= position and packet.pts is not None:
                return packet.pts
    except FFmpegError:
        pass
    return None
