"""Carrying everything but the film from the input to the output: packet for packet, with chapters and metadata."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Stream

if TYPE_CHECKING:
    from av.container.core import Chapter  # exists in PyAV's stubs only

_log = logging.getLogger(__name__)

_OWN_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
"""Container metadata that a muxer writes about itself."""
_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS")
"""mkvmerge's tags about a stream's packets; no longer true of re-encoded or trimmed ones."""


class Remuxer:
    """Hands over the packets of the copied streams in file order, each batch up to a given time.

    With `first`..`end` (seconds; end exclusive) only packets that begin inside are copied. All times move `shift` seconds
    towards the past.
    """

    def __init__(
        self,
        source: av.container.InputContainer,
        pairs: list[tuple[Stream, Stream]],
        first: Fraction | None,
        end: Fraction | None,
        shift: Fraction,
    ) -> None:
        """`pairs`: each copied stream of the source with its stream in the output."""
        self._targets = {stream.index: target for stream, target in pairs}
        self._first, self._end, self._shift = first, end, shift
        self._last_dts: dict[int, int] = {}
        for stream in source.streams:
            if stream.index not in self._targets:
                stream.discard = Discard.all
        streams = [stream for stream, _ in pairs if stream.type != "attachment"]
        self._packets = self._read(source, streams)
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
            for packet in source.demux(*streams):
                if packet.dts is None and packet.pts is None and packet.size == 0:
                    continue  # PyAV's own end mark
                yield packet
        except FFmpegError as error:
            _log.warning(
                "%s: sound and subtitles end early, the container is damaged (FFmpeg: %s)", source.name, error.strerror
            )

    def _prepared(self, packet: Packet) -> Packet | None:
        target = self._targets[packet.stream_index]
        is_cover = packet.stream.type == "video"
        begins = _begins(packet)
        if not is_cover and (
            (self._first is not None and begins < self._first) or (self._end is not None and begins >= self._end)
        ):
            return None
        if self._shift:
            shift = round(self._shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        if packet.dts is None:
            packet.dts = packet.pts
        self._keep_rising(packet)
        packet.stream = target
        return packet

    def _keep_rising(self, packet: Packet) -> None:
        """Muxers refuse a DTS that runs backwards; in broken files FFmpeg's own tool nudges it, too."""
        if packet.dts is None:
            return
        last = self._last_dts.get(packet.stream_index)
        if last is not None and packet.dts < last:
            packet.dts = last
            packet.pts = max(packet.dts, packet.pts if packet.pts is not None else last)
        self._last_dts[packet.stream_index] = packet.dts


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


def trimmed_chapters(chapters: list[Chapter], first: Fraction | None, end: Fraction | None, shift: Fraction) -> list[Chapter]:
    """Chapters that overlap first..end, cut to it and moved by `shift` seconds towards the past."""
    kept: list[Chapter] = []
    for chapter in chapters:
        time_base = chapter["time_base"]
        if time_base is None:
            continue
        start, stop = chapter["start"], chapter["end"]
        low = None if first is None else round(first / time_base)
        high = None if end is None else round(end / time_base)
        if (low is not None and stop <= low) or (high is not None and start >= high):
            continue
        start = start if low is None else max(start, low)
        stop = stop if high is None else min(stop, high)
        moved = chapter.copy()
        ticks = round(shift / time_base)
        moved["start"], moved["end"] = start - ticks, stop - ticks
        kept.append(moved)
    return kept
