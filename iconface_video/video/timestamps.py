"""Presentation times of decoded pictures: exact where the file has them, sensible where it has none.

Pictures that never came out of the decoder: which ones, so that each can be stood in for and counted.

Where a film ends: what the file says of the film itself, and what only of all its streams together.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from fractions import Fraction

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from iconface_video.types import ColorTags, VideoInfo
from iconface_video.video.container import demuxed, open_input
from iconface_video.video.planes import picture_of, planar_name, planes_of

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


_ONE_PICTURE_A_PACKET = frozenset(
    {
        "h264",
        "hevc",
        "mpeg1video",
        "mpeg2video",
        "mjpeg",
        "prores",
        "dnxhd",
        "dvvideo",
        "ffv1",
        "rawvideo",
        "huffyuv",
        "utvideo",
    }
)
"""Codecs that hide no pictures: a packet without one is a loss. (VP8 and packed MPEG-4 have packets that show nothing.)"""
_NEAR_DAMAGE = 64
"""Pictures after an error in which missing ones are put down to it."""
_LONGEST_GAP = 250
"""Pictures; more than that is a wrong time stamp, or no film is left that could be followed."""
_SILENT_SHARE = 3
"""Up to one in so many pictures may be missing without a word from the decoder (MPEG-2 skips noise silently)."""
_REMEMBERED = 4096


class Gaps:
    """Compares the times of the packets that went in with those of the pictures that came out."""

    def __init__(self, codec: str, *, is_timed: bool, from_beginning: bool) -> None:
        """is_timed: packets carry presentation times (in AVI, pictures are told apart by their slots instead).
        from_beginning: not after a seek, which may leave out the pictures before a key frame.
        """
        self._is_known = is_timed and codec in _ONE_PICTURE_A_PACKET
        self._is_interlaced = False
        self._shown = self._silent = 0
        self._is_seek, self._has_begun = not from_beginning, False
        self._waiting: list[int] = []
        self._late: set[int] = set()
        self._filled: set[int] = set()
        self._trouble = 0
        self.missing = 0
        """Pictures without a stand-in so far: each is lost."""

    def sent(self, packet: Packet) -> None:
        """A packet goes to the decoder."""
        if self._is_known and packet.pts is not None and not packet.is_discard and len(self._waiting) < _REMEMBERED:
            heapq.heappush(self._waiting, packet.pts)

    def failed(self, pts: int | None = None) -> None:
        """The decoder refused something: the picture of this time, where that is known."""
        self._trouble = _NEAR_DAMAGE
        if pts is not None:
            heapq.heappush(self._waiting, pts)

    def shown(self, picture: av.VideoFrame, own_pts: int | None) -> list[int]:
        """A picture came out: PTS of those that should have come before it. Empty where none is missing, or none can be told."""
        if picture.is_corrupt:
            self._trouble = _NEAR_DAMAGE
        self._is_interlaced = picture.interlaced_frame
        if own_pts is None:
            return []
        gone = []
        while self._waiting and self._waiting[0] <= own_pts:
            pts = heapq.heappop(self._waiting)
            if pts != own_pts:
                gone.append(pts)
        if own_pts in self._late:  # it only had a wrong time
            self._late.discard(own_pts)
            self.missing -= 1
        begins, self._has_begun = not self._has_begun, True
        in_trouble, self._trouble = self._trouble > 0, max(0, self._trouble - 1)
        self._shown += 1
        self._silent += 0 if begins or in_trouble else len(gone)
        # Fields of interlaced film may come as two packets for one picture: many are "missing" then, and nothing is wrong.
        is_damage = begins or in_trouble or self._silent * _SILENT_SHARE <= self._shown
        if not gone or self._is_interlaced or (begins and self._is_seek) or not is_damage:
            return []
        self.missing += len(gone)
        if begins or len(gone) > _LONGEST_GAP:
            return []
        if len(self._late) < _REMEMBERED:
            self._late.update(gone)
        return gone

    def filled(self, pts: int) -> None:
        """A stand-in was shown at this time."""
        self.missing -= 1
        self._late.discard(pts)
        if len(self._filled) < _REMEMBERED:
            self._filled.add(pts)

    def is_filled(self, pts: int | None) -> bool:
        """Whether a stand-in has been shown at this time: the picture itself comes too late, after later ones."""
        return pts is not None and pts in self._filled

    def finished(self) -> None:
        """The decoder holds nothing any more: what still waits is lost."""
        if not self._is_interlaced and len(self._waiting) <= _LONGEST_GAP:
            self.missing += len(self._waiting)
        self._waiting.clear()


def stand_in(picture: av.VideoFrame, color: ColorTags) -> av.VideoFrame:
    """A copy of a picture, to be shown at another time in place of one that is lost."""
    planar = planar_name(picture.format.name)
    copy = picture_of(planes_of(picture, planar), planar, picture.width, picture.height, color)
    copy.duration = picture.duration
    copy.opaque = StandIn()
    return copy


class StandIn:
    """`VideoFrame.opaque` of such copies. One each: PyAV forgets an object with the first of the pictures that share it."""


_SHARED_LENGTH = frozenset({"asf"})
"""FFmpeg gives each stream of these containers the length of the whole file."""
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_NEAR_SECONDS = 1.0
"""The other streams end about where the file does: subtitles state no end, and the last sound packet is not cut to length."""


def own_length(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """Seconds of the film according to its own header or tag; None where only the file as a whole states a length.

    Matroska states no stream's length, but its writers leave a DURATION tag: the time at which the stream ends.
    """
    assert stream.time_base is not None
    if stream.duration and container.format.name not in _SHARED_LENGTH:
        return float(stream.duration * stream.time_base)
    tag = next((value for key, value in stream.metadata.items() if key.upper().partition("-")[0] == "DURATION"), "")
    found = _CLOCK.match(tag)
    if found is None:
        return None
    ends = int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
    whole = container.duration / av.time_base if container.duration else float(ends)
    length = float(ends - max(0, stream.start_time or 0) * stream.time_base)
    return length if 0 < length <= whole + _NEAR_SECONDS else None


def only_others_go_on(info: VideoInfo, end_pts: int, promised: float) -> bool:
    """Whether the length that a file promises is that of its sound or subtitles, and those are there to the end.

    end_pts: where the film ended.  promised: seconds.  A file that was cut off has no stream that goes on.
    """
    with open_input(info.path) as container:
        video_stream = container.streams[info.stream_index]
        assert isinstance(video_stream, VideoStream)
        if own_length(container, video_stream) is not None:
            return False
        film_ends = ends = float((end_pts - info.first_pts) * info.time_base)
        try:
            container.seek(max(0, end_pts), stream=video_stream)
            for packet in demuxed(container):
                if packet.stream_index != video_stream.index and packet.pts is not None:
                    ends = max(ends, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except FFmpegError:
            pass
        return ends >= promised - min(_NEAR_SECONDS, (promised - film_ends) / 2)
