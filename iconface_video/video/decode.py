"""Packets in, pictures out: one file's film decoded in presentation order, with repaired times, surviving damage."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from iconface_video.errors import DecodeError
from iconface_video.types import VideoInfo
from iconface_video.video.container import open_input
from iconface_video.video.probe import default_step, has_slots_only
from iconface_video.video.timestamps import PtsGuesser

_log = logging.getLogger(__name__)

_MAX_ERRORS_IN_A_ROW = 1000


@dataclass
class DecodeReport:
    """What went wrong on the way."""

    lost_packets: int = 0
    """Packets that the decoder refused altogether."""
    repaired_timestamps: int = 0
    """Pictures whose time was missing or did not rise."""
    is_truncated: bool = False
    """The container was damaged so that the rest of the file could not be reached."""


def decode_pictures(info: VideoInfo, report: DecodeReport, seek_to: int | None = None) -> Generator[av.VideoFrame, None, None]:
    """Pictures of the film in presentation order, with PTS that rise strictly, in ticks of ``info.time_base``.

    With `seek_to` (ticks) decoding begins at a keyframe near it: before it where the container's index is good.
    Raises DecodeError when the picture changes size or when decoding fails without end.
    """
    with open_input(info.path) as container:
        stream = container.streams[info.stream_index]
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        if seek_to is not None:
            container.seek(seek_to, stream=stream, backward=True)
        guesser = PtsGuesser(default_step(stream))
        slots: deque[int | None] | None = deque() if has_slots_only(info.container) else None
        with closing(_pictures(info.path, container, stream, report, seek_to is not None, slots)) as pictures:
            for picture in pictures:
                _check_size(info, picture)
                own = (picture.pts, picture.dts) if slots is None else (slots.popleft() if slots else None, None)
                picture.pts = guesser.next(*own, picture.duration)
                picture.time_base = info.time_base
                report.repaired_timestamps = guesser.repaired
                yield picture
        if guesser.repaired:
            _log.warning("%s: %d frames had no usable time; it was set from their neighbours", info.path, guesser.repaired)


def _pictures(
    path: Path,
    container: av.container.InputContainer,
    stream: VideoStream,
    report: DecodeReport,
    from_keyframe: bool,
    slots: deque[int | None] | None,
) -> Generator[av.VideoFrame, None, None]:
    errors_in_a_row = 0
    waiting = from_keyframe
    for packet in _packets(path, container, stream, report):
        if packet is not None and waiting and not packet.is_keyframe:
            continue
        waiting = False
        if packet is not None and slots is not None:
            slots.append(packet.dts)
        try:
            pictures = stream.decode(packet)
        except EOFError:
            return
        except FFmpegError as error:
            report.lost_packets += 1
            errors_in_a_row += 1
            if slots:
                slots.pop()
            if errors_in_a_row >= _MAX_ERRORS_IN_A_ROW:
                raise DecodeError(
                    f"{path}: {errors_in_a_row} pictures in a row could not be decoded (FFmpeg: {error.strerror}). "
                    "The file is damaged from here on; restore the part before with --end."
                ) from error
            continue
        errors_in_a_row = 0
        yield from pictures


def _packets(
    path: Path, container: av.container.InputContainer, stream: VideoStream, report: DecodeReport
) -> Iterator[Packet | None]:
    """The film's packets, then None to drain the decoder, also when the demuxer stops at damage."""
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                if packet.dts is None:
                    break  # PyAV's own end mark
                continue  # AVI's "show the last frame again"
            yield packet
    except FFmpegError as error:
        report.is_truncated = True
        _log.warning("%s: the container is damaged; the film ends early here (FFmpeg: %s)", path, error.strerror)
    yield None


def _check_size(info: VideoInfo, picture: av.VideoFrame) -> None:
    if (picture.width, picture.height) != (info.width, info.height):
        raise DecodeError(
            f"{info.path}: the picture changes from {info.width}x{info.height} to {picture.width}x{picture.height} "
            "in mid-stream. Split the file there, or convert it to one size first."
        )
