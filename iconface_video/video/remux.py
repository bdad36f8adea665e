"""Carrying everything but the film from the input to the output: packet for packet, with chapters and metadata."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Stream

from iconface_video.video.clock import Mender
from iconface_video.video.container import demuxed

if TYPE_CHECKING:
    from av.container.core import Chapter  # exists in PyAV's stubs only

_OWN_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
"""Container metadata that a muxer writes about itself."""
_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS")
"""mkvmerge's tags about a stream's packets; no longer true of re-encoded or trimmed ones."""

_JUMP_SECONDS = 10
"""Sound that jumps this far ahead has to be borne out by the packet after it: a damaged time would push all that follows."""
_MOST_DOUBTED = 64
_LONGEST_SECONDS, _LONGEST_SOUND_SECONDS, _LONGEST_TICKS = 86400, 60, 2**31 - 1
"""Of one packet. Beyond it the duration is damage, and muxers refuse the packet, or a later one that waits behind it."""


@dataclass
class CopyReport:
    """What could not be copied as it was; packets by the kind of their stream ("audio": 3)."""

    moved: Counter[str] = field(default_factory=Counter)
    """Packets whose times ran backwards and were set after the one before."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Packets that are damaged beyond copying: with an impossible time or duration, or refused by the muxer."""
    not_arrived: list[str] = field(default_factory=list)
    """What the plan promised and the finished file does not have, in sentences."""
    is_truncated: bool = False
    """The input's container was damaged so that the rest could not be reached."""

    @property
    def damage(self) -> tuple[str, ...]:
        """Sentences for a person; empty where all was copied as it was."""
        found = [f"{_counted(count, kind)} ran backwards in time and moved" for kind, count in sorted(self.moved.items())]
        found += [f"{_counted(count, kind)} damaged and left out" for kind, count in sorted(self.left_out.items())]
        if self.is_truncated:
            found.append("the file is damaged: sound and subtitles end where it can be read no further")
        return (*found, *self.not_arrived)


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind} packet{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Cut:
    """Which part of a film is copied, and where it begins in the output. Seconds of the source's time."""

    first: Fraction | None
    """None: from the beginning."""
    end: Fraction | None
    """Exclusive; None: to the end."""
    shift: Fraction
    """By which all times move towards the past."""

    @property
    def is_whole(self) -> bool:
        return self.first is None and self.end is None


class Remuxer:
    """Hands over the packets of the copied streams in file order, each batch up to a given time; only those that begin inside the cut."""

    def __init__(
        self,
        source: av.container.InputContainer,
        pairs: list[tuple[Stream, Stream]],
        cut: Cut,
        report: CopyReport,
        tick: Fraction,
        mender: Mender,
    ) -> None:
        """`pairs`: each copied stream of the source with its stream in the output.
        tick: of the output's clock in seconds, by which sound has to move on from packet to packet; 0 where it may stand.
        mender: keeps the packets to the clock that the film goes by.
        """
        self._targets = {stream.index: target for stream, target in pairs}
        self._report, self._tick, self._mender = report, tick, mender
        self._cut = cut
        self._last_dts: dict[int, int] = {}
        for stream in source.streams:
            if stream.index not in self._targets:
                stream.discard = Discard.all
        streams = [stream for stream, _ in pairs if stream.type != "attachment"]
        self._packets = self._plausible(self._read(source, streams))
        self._held: Packet | None = None

    def up_to(self, seconds: Fraction | None) -> Iterator[Packet]:
        """Packets that begin at or before `seconds` of the source's time (None: all that are left)."""
        while True:
            packet = self._held if self._held is not None else next(self._packets, None)
            self._held = None
            if packet is None:
                return
            if seconds is not None and _begins(packet) > seconds:
                self._held = packet
                return
            prepared = self._prepared(packet)
            if prepared is not None:
                yield prepared

    def _read(self, source: av.container.InputContainer, streams: list[Stream]) -> Iterator[Packet]:
        if not streams:
            return
        try:
            for packet in self._mender.mended(demuxed(source, *streams)):
                if packet.dts is None and packet.pts is None and packet.size == 0:
                    continue  # PyAV's own end mark
                yield packet
        except FFmpegError:
            self._report.is_truncated = True

    def _plausible(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Without sound that jumps far ahead while the packet after it does not."""
        ends: dict[int, Fraction] = {}
        doubted: dict[int, list[Packet]] = {}
        for packet in packets:
            if packet.stream.type != "audio" or _has_no_time(packet):
                yield packet
                continue
            index, begins = packet.stream_index, _begins(packet)
            held = doubted.get(index, [])
            if held and packet.pos is None and len(held) < _MOST_DOUBTED:
                held.append(packet)  # cut out of the same piece of the container: it has no time of its own
                continue
            doubted.pop(index, None)
            if held and begins < _begins(held[0]):
                self._report.left_out["audio"] += len(held)
            elif held:
                yield from held
                ends[index] = _begins(held[-1])
            if index in ends and begins > ends[index] + _JUMP_SECONDS:
                doubted[index] = [packet]
                continue
            ends[index] = begins
            yield packet
        for held in doubted.values():
            yield from held

    def _prepared(self, packet: Packet) -> Packet | None:
        target = self._targets[packet.stream_index]
        is_cover = packet.stream.type == "video"
        begins, first, end = _begins(packet), self._cut.first, self._cut.end
        if not is_cover and ((first is not None and begins < first) or (end is not None and begins >= end)):
            return None
        if _is_endless(packet):
            self._report.left_out[packet.stream.type] += 1
            return None
        if self._cut.shift:
            shift = round(self._cut.shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is not None:
            self._keep_rising(packet)
        packet.stream = target
        return packet

    def _keep_rising(self, packet: Packet) -> None:
        """Muxers refuse a DTS that runs backwards; in broken files FFmpeg's own tool nudges it, too."""
        assert packet.dts is not None
        last = self._last_dts.get(packet.stream_index)
        # Titles may share a time; sound must be told apart in the output's coarser clock, too.
        step = 0 if packet.stream.type != "audio" else math.ceil(self._tick / packet.time_base)
        if last is not None and packet.dts < last + step:
            packet.dts = last + step
            self._report.moved[packet.stream.type] += 1
        if packet.pts is not None and packet.pts < packet.dts:
            packet.pts = packet.dts
        self._last_dts[packet.stream_index] = packet.dts

    def refused(self, packet: Packet) -> None:
        """The muxer would not take it."""
        self._report.left_out[packet.stream.type] += 1


def _has_no_time(packet: Packet) -> bool:
    return packet.pts is None and packet.dts is None


def _is_endless(packet: Packet) -> bool:
    longest = _LONGEST_SOUND_SECONDS if packet.stream.type == "audio" else _LONGEST_SECONDS
    duration = packet.duration or 0
    return not 0 <= duration <= _LONGEST_TICKS or duration * packet.time_base > longest


def _begins(packet: Packet) -> Fraction:
    """Presentation time in seconds (decode time where that is all there is)."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def container_metadata(source: dict[str, str], added: dict[str, str]) -> dict[str, str]:
    """The input's metadata without what describes its container, and what is added to it."""
    return {**{key: value for key, value in source.items() if key not in _OWN_KEYS}, **added}


def stream_metadata(source: dict[str, str], packets_kept: bool) -> dict[str, str]:
    """A stream's metadata; statistics about packets only while the packets are the same."""
    dropped = {"encoder", "rotate"} if packets_kept else {"encoder", "rotate", "vendor_id"}
    return {
        key: value for key, value in source.items() if key not in dropped and (packets_kept or not key.startswith(_STATISTICS))
    }


def trimmed_chapters(chapters: list[Chapter], cut: Cut) -> list[Chapter]:
    """Chapters that overlap the cut, shortened to it and moved with it."""
    kept: list[Chapter] = []
    for chapter in chapters:
        time_base = chapter["time_base"]
        if time_base is None:
            continue
        start, stop = chapter["start"], chapter["end"]
        low = None if cut.first is None else round(cut.first / time_base)
        high = None if cut.end is None else round(cut.end / time_base)
        if (low is not None and stop <= low) or (high is not None and start >= high):
            continue
        start = start if low is None else max(start, low)
        stop = stop if high is None else min(stop, high)
        moved = chapter.copy()
        ticks = round(cut.shift / time_base)
        moved["start"], moved["end"] = start - ticks, stop - ticks
        kept.append(moved)
    return kept
