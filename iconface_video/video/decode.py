"""Packets in, pictures out: one file's film decoded in presentation order, with repaired times, surviving damage; and a bounded queue
that decodes ahead in a thread of its own.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from iconface_video.errors import DecodeError
from iconface_video.types import VideoInfo
from iconface_video.video.clock import Mender, has_recorder_clock, seek
from iconface_video.video.container import demuxed, open_input
from iconface_video.video.probe import default_step, has_slots_only
from iconface_video.video.timestamps import Gaps, PtsGuesser, stand_in, without_wild_times

_log = logging.getLogger(__name__)

_MAX_ERRORS_IN_A_ROW = 1000
_MAX_OTHER_SIZE = 12
"""Pictures in a row: a damaged header changes the size until the next key frame at most, mostly for one picture."""


@dataclass
class DecodeReport:
    """What went wrong on the way."""

    refused: int = 0
    """How often the decoder refused what it was given, or gave a picture of another size than the film's."""
    lost: int = 0
    """Pictures that could not be decoded, nor stood in for."""
    stood_in: int = 0
    """Pictures that could not be decoded: the one before is shown again at their time."""
    repaired_timestamps: int = 0
    """Pictures whose time was missing or did not rise."""
    is_truncated: bool = False
    """The container was damaged so that the rest of the file could not be reached."""
    end_pts: int | None = None
    """Where the film ended: the last picture's time and duration. None: it was not read to its end."""


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
        mender = Mender(info) if seek_to is None else seek(container, stream, info, seek_to)
        guesser = PtsGuesser(default_step(stream))
        slots: deque[int | None] | None = deque() if has_slots_only(info.container) else None
        gaps = Gaps(info.codec, is_timed=slots is None, from_beginning=seek_to is None)
        sizes = _Sizes(info, report)
        before: av.VideoFrame | None = None
        packets = _packets(info.path, container, stream, report, mender, gaps)
        with closing(_pictures(info, stream, packets, report, seek_to is not None, slots, gaps)) as pictures:
            for picture in pictures:
                if not sizes.fits(picture):
                    gaps.failed()
                    continue
                own = (picture.pts, picture.dts) if slots is None else (slots.popleft() if slots else None, None)
                if gaps.is_filled(own[0]):
                    continue
                missing = gaps.shown(picture, own[0])
                for pts in missing:
                    if before is None:
                        break
                    copy = stand_in(before, info.color)
                    copy.pts = guesser.next(pts, None, 0)
                    copy.time_base = info.time_base
                    gaps.filled(pts)
                    report.stood_in += 1
                    yield copy
                picture.pts = guesser.next(*own, picture.duration)
                picture.time_base = info.time_base
                report.repaired_timestamps = guesser.repaired
                report.lost = max(gaps.missing, report.refused - report.stood_in)
                before = picture
                yield picture
        gaps.finished()
        report.lost = max(gaps.missing, report.refused - report.stood_in)
        report.end_pts = None if before is None or before.pts is None else before.pts + max(0, before.duration)
        if guesser.repaired:
            _log.info("%s: %d frames had no usable time; it was set from their neighbours", info.path, guesser.repaired)


def _pictures(
    info: VideoInfo,
    stream: VideoStream,
    packets: Iterator[Packet | None],
    report: DecodeReport,
    from_keyframe: bool,
    slots: deque[int | None] | None,
    gaps: Gaps,
) -> Generator[av.VideoFrame, None, None]:
    """packets: of `_packets`.  from_keyframe: those before the first key frame are left out."""
    errors_in_a_row = 0
    last: int | None = None
    waiting = from_keyframe
    for packet in packets:
        # Cut into by bytes, a program stream gives pictures without a time of their own a wrong one until the next that has one.
        is_start = packet is None or (packet.is_keyframe and (packet.pos is not None or not info.clock_resets))
        if waiting and not is_start:
            continue
        waiting = False
        if packet is not None:
            gaps.sent(packet)
            if slots is not None:
                slots.append(packet.dts)
        try:
            pictures = stream.decode(packet)
        except EOFError:
            return
        except FFmpegError as error:
            report.refused += 1
            errors_in_a_row += 1
            gaps.failed(slots.pop() if slots else None)
            if packet is None and slots is None:
                yield from _tail(info, last)
            if errors_in_a_row >= _MAX_ERRORS_IN_A_ROW:
                raise DecodeError(
                    f"{info.path}: {errors_in_a_row} pictures in a row could not be decoded (FFmpeg: {error.strerror}). "
                    "The file is damaged from here on; restore the part before with `end`."
                ) from error
            continue
        errors_in_a_row = 0
        for picture in pictures:
            last = picture.pts if picture.pts is not None else last
            yield picture


def _tail(info: VideoInfo, after: int | None) -> Iterator[av.VideoFrame]:
    """The film's last pictures once more, those after a time (None: all), decoded without threads.

    A decoder that works on several pictures at once gives up those it still holds when it meets damage at the very end.
    """
    try:
        with open_input(info.path) as container:
            stream = container.streams[info.stream_index]
            assert isinstance(stream, VideoStream)
            stream.thread_type = "NONE"
            mender = Mender(info) if after is None else seek(container, stream, info, after)
            for packet in mender.mended(demuxed(container, stream)):
                try:
                    pictures = stream.decode(packet if packet.size else None)
                except EOFError:
                    return
                except FFmpegError:
                    continue
                yield from (item for item in pictures if after is None or (item.pts is not None and item.pts > after))
    except FFmpegError:
        return


def _packets(
    path: Path, container: av.container.InputContainer, stream: VideoStream, report: DecodeReport, mender: Mender, gaps: Gaps
) -> Iterator[Packet | None]:
    """The film's packets, then None to drain the decoder, also when the demuxer stops at damage."""
    try:
        packets = mender.mended(demuxed(container, stream))
        for packet in without_wild_times(packets) if has_recorder_clock(container.format.name) else packets:
            if packet.size:
                yield packet
            else:  # AVI's "show the last frame again", damage elsewhere, and at the very end PyAV's own mark
                gaps.sent(packet)
    except FFmpegError as error:
        report.is_truncated = True
        _log.info("%s: the container is damaged; the film ends early here (FFmpeg: %s)", path, error.strerror)
    yield None


class _Sizes:
    """All pictures of a film are of one size. A few of another are damage and left out; more are another film."""

    def __init__(self, info: VideoInfo, report: DecodeReport) -> None:
        self._info, self._report, self._others = info, report, 0

    def fits(self, picture: av.VideoFrame) -> bool:
        """Raises DecodeError where the film goes on in another size."""
        info = self._info
        if (picture.width, picture.height) == (info.width, info.height):
            self._others = 0
            return True
        self._others += 1
        self._report.refused += 1
        if self._others > _MAX_OTHER_SIZE:
            raise DecodeError(
                f"{info.path}: the picture changes from {info.width}x{info.height} to {picture.width}x{picture.height} "
                "in mid-stream. Split the file there, or convert it to one size first."
            )
        return False


T = TypeVar("T")

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: BaseException | None


DECODE_AHEAD_FRAMES = 4
"""Frames that are decoded ahead of whoever works on them."""


@contextmanager
def prefetch(iterable: Iterable[T], depth: int = DECODE_AHEAD_FRAMES) -> Iterator[Iterator[T]]:
    """Iterate in a worker thread, at most `depth` items ahead.

    An exception of the iterable is raised in the caller, with its own traceback, after the items before it. On leaving
    the block the thread is stopped and joined and the iterable (if it is a generator) closed, however the block ends.

        with prefetch(reader.frames(), depth=4) as frames:
            for frame in frames: ...
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, must be at least 1")
    items: queue.Queue[_Item[T] | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    worker = threading.Thread(target=_produce, args=(iterable, items, stop), name="prefetch", daemon=True)
    worker.start()
    try:
        yield _consume(items, stop)
    finally:
        stop.set()
        worker.join()


def _produce(iterable: Iterable[T], items: queue.Queue[_Item[T] | _End], stop: threading.Event) -> None:
    source = iter(iterable)
    error: BaseException | None = None
    try:
        for value in source:
            if not _put(items, _Item(value), stop):
                return
    except BaseException as raised:
        error = raised
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
    _put(items, _End(error), stop)


def _put(items: queue.Queue[_Item[T] | _End], item: _Item[T] | _End, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            items.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False


def _consume(items: queue.Queue[_Item[T] | _End], stop: threading.Event) -> Iterator[T]:
    while not stop.is_set():
        try:
            item = items.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item.value
