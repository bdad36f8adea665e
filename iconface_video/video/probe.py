"""What a video file is: facts from its header and from its first decoded pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

import av
import av.container
import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from iconface_video.errors import VideoOpenError
from iconface_video.types import ColorTags, StreamInfo, VideoInfo, mirrors
from iconface_video.video.clock import has_recorder_clock, read_clock
from iconface_video.video.container import chosen_video_stream, demuxed, is_encrypted, open_input
from iconface_video.video.planes import FULL_RANGE, layout_of, planar_name
from iconface_video.video.stream_header import chroma_location, side_data_of, stream_header
from iconface_video.video.timestamps import PtsGuesser, own_length

FieldOrder = Literal["progressive", "tt", "bb", "tb", "bt", "unknown"]

_PROBED_PICTURES = 30
_PROBED_ERRORS = 300
"""Undecodable packets at the beginning after which a file is given up."""
_FIELD_ORDERS: dict[int, FieldOrder] = {0: "unknown", 1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}
_LEAST_REST_BYTES = 4 << 20
"""Behind the film's last packet: it may be a large one, and sound may follow."""
_ABSURD_FRAMES = 10**8
"""A header that claims more frames than 46 days at 25 per second is not believed."""
_ABSURD_RATE = 1000
"""A header that claims so many pictures a second gives the ticks of a clock instead."""


def probe(path: Path | str) -> VideoInfo:
    """Look at a video file; decodes its first pictures only.

    Where the container carries the clock of what recorded it, all packets are walked through (see `video.clock`).

    Raises InputError (missing, empty, a directory, unreadable) or VideoOpenError (text, an image, audio only, damaged).
    """
    info, step = _looked_at(Path(path))
    return _with_clock(info, step) if has_recorder_clock(info.container) else info


def first_look(path: Path) -> VideoInfo:
    """As `probe`, without a walk through all packets: of files whose clock is known to be whole."""
    return _looked_at(path)[0]


def _looked_at(path: Path) -> tuple[VideoInfo, int]:
    """What stands in the header and the first pictures, and the usual step from picture to picture in ticks."""
    with open_input(path) as container:
        stream = chosen_video_stream(path, container)
        location = chroma_location(stream, stream_header(stream))
        slots: list[int] = []
        if "mp4" in container.format.name and is_encrypted(
            path
        ):  # by what the index says: a decoder makes pictures of some enciphered bytes, and no error
            raise VideoOpenError(
                f"{path}: its film is encrypted (copy protection), and there is no key. Name a file without it."
            )
        pictures = list(islice(_decodable(container, stream, slots), _PROBED_PICTURES))
        if not pictures:
            raise VideoOpenError(
                f"{path}: not one picture of its {stream.codec_context.name} video could be decoded. "
                "The file is damaged or cut short; copy it again from the source."
            )
        return _info(path, container, stream, pictures, location, slots), default_step(stream)


def _with_clock(info: VideoInfo, step: int) -> VideoInfo:
    """With the places where the clock starts anew (FFmpeg's own idea of the length is wrong then), and where the film ends."""
    clock = read_clock(info.path, info.stream_index, step)
    size = info.path.stat().st_size
    if size - clock.last_position > _LEAST_REST_BYTES:
        info = replace(info, film_share=clock.last_position / size)
    if not clock.resets or clock.end_pts is None:
        return info
    return replace(info, clock_resets=clock.resets, duration_seconds=float((clock.end_pts - info.first_pts) * info.time_base))


def _decodable(container: av.container.InputContainer, stream: VideoStream, slots: list[int]) -> Iterable[av.VideoFrame]:
    """Decoded pictures; the packets' DTS go into `slots`."""
    errors = 0
    try:
        for packet in demuxed(container, stream):
            if packet.size and packet.dts is not None:
                slots.append(packet.dts)
            try:
                yield from packet.decode()
            except FFmpegError:
                errors += 1
                if errors > _PROBED_ERRORS:
                    return
    except FFmpegError:
        # The demuxer ran into damage: what the decoder still holds may be shown.
        yield from _drained(stream)


def _drained(stream: VideoStream) -> list[av.VideoFrame]:
    try:
        return stream.decode(None)
    except (FFmpegError, EOFError):
        return []


def _info(
    path: Path,
    container: av.container.InputContainer,
    stream: VideoStream,
    pictures: list[av.VideoFrame],
    location: int,
    slots: list[int],
) -> VideoInfo:
    first = pictures[0]
    assert stream.time_base is not None
    pix_fmt = planar_name(first.format.name)
    times = slots[: len(pictures)] if has_slots_only(container.format.name) and slots else _pts_of(pictures, stream)
    matrix = _display_matrix(first)
    return VideoInfo(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        width=first.width,
        height=first.height,
        pix_fmt=pix_fmt,
        time_base=stream.time_base,
        average_rate=declared_rate(stream) or _shown_rate(times, stream.time_base),
        is_vfr=_is_vfr(times, stream.time_base),
        first_pts=times[0],
        duration_seconds=_duration_seconds(container, stream),
        frame_count_declared=stream.frames if 0 < stream.frames < _ABSURD_FRAMES else None,
        sample_aspect_ratio=_sane_aspect(stream.sample_aspect_ratio),
        rotation=turn_of(matrix),
        color=color_tags(first, stream, location),
        bit_depth=layout_of(pix_fmt).depth,
        field_order=_field_order(stream, pictures),
        streams=tuple(_stream_info(other) for other in container.streams if other.index != stream.index),
        chapter_count=len(container.chapters()),
        metadata=dict(container.metadata),
        stream_index=stream.index,
        display_matrix=matrix,
    )


def default_step(stream: VideoStream) -> int:
    """Ticks between pictures by the declared rate; 1/25 s where there is none."""
    return max(1, round(1 / ((declared_rate(stream) or Fraction(25)) * (stream.time_base or Fraction(1, 25)))))


def declared_rate(stream: VideoStream) -> Fraction | None:
    """Pictures a second on average, of the first part of the stream's description that can be true; None where there is none.

    Some demuxers (raw DV) give the ticks of their clock for the average, while the pictures' own header knows better.
    """
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((Fraction(rate) for rate in rates if rate and 0 < rate < _ABSURD_RATE), None)


def has_slots_only(container: str) -> bool:
    """AVI has no presentation times: its packets fill slots of constant length, and the n-th picture shown takes the n-th slot."""
    return container == "avi"


def _pts_of(pictures: list[av.VideoFrame], stream: VideoStream) -> list[int]:
    guesser = PtsGuesser(default_step(stream))
    return [guesser.next(picture.pts, picture.dts, picture.duration) for picture in pictures]


def _shown_rate(times: list[int], time_base: Fraction) -> Fraction | None:
    """Of the first pictures, where the file states no rate that can be true."""
    ticks = max(times) - min(times)
    return None if ticks <= 0 else ((len(times) - 1) / (ticks * time_base)).limit_denominator(1001)


def _is_vfr(times: list[int], time_base: Fraction) -> bool:
    """Whether intervals differ by more than the rounding to a coarse time base (Matroska's milliseconds) explains."""
    intervals = np.diff(times)
    tolerance = max(1, int(Fraction(1, 1000) / time_base))
    return len(intervals) > 1 and int(intervals.max() - intervals.min()) > tolerance


def _duration_seconds(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """The film's own length; where it is not stated the whole file's, whose sound may go on for longer."""
    own = own_length(container, stream)
    if own is not None:
        return own
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _sane_aspect(ratio: Fraction | None) -> Fraction:
    return ratio if ratio and Fraction(1, 16) <= ratio <= 16 else Fraction(1)


def turn_of(matrix: tuple[int, ...] | None) -> int:
    """Degrees clockwise (0, 90, 180, 270) by which a display matrix turns the picture before it may mirror it (see `VideoInfo`)."""
    if matrix is None:
        return 0
    # The numbers a, b of where the picture's x axis points on the screen, y downwards; a mirror after the turn swaps left and right.
    across, down = (-matrix[0] if mirrors(matrix) else matrix[0]), matrix[1]
    return round(math.degrees(math.atan2(down, across)) / 90) * 90 % 360


def _display_matrix(picture: av.VideoFrame) -> tuple[int, ...] | None:
    data = side_data_of(picture).get("DISPLAYMATRIX", b"")
    return tuple(int(value) for value in np.frombuffer(data, np.int32)[:9]) if len(data) >= 36 else None


def color_tags(picture: av.VideoFrame, stream: VideoStream, location: int) -> ColorTags:
    """The picture's tags; what it leaves unspecified is taken from its stream."""
    context = stream.codec_context
    full = picture.format.name.startswith("yuvj")
    return ColorTags(
        range=FULL_RANGE if full else int(picture.color_range) or int(context.color_range),
        space=_specified(picture.colorspace, context.colorspace, picture.format.is_rgb),
        primaries=_specified(picture.color_primaries, context.color_primaries),
        transfer=_specified(picture.color_trc, context.color_trc),
        chroma_location=location,
    )


def _specified(own: int, fallback: int, zero_is_value: bool = False) -> int:
    """H.273 code; 2 means unspecified, and 0 is a value (RGB) only for the matrix of RGB pictures."""
    for value in (int(own), int(fallback)):
        if value != 2 and (value != 0 or zero_is_value):
            return value
    return 2


def _field_order(stream: VideoStream, pictures: list[av.VideoFrame]) -> FieldOrder:
    """The pictures' own flags come before the stream's claim: soft-telecined DVDs claim fields and hold frames."""
    declared = _FIELD_ORDERS.get(stream.codec_context.field_order, "unknown")
    if any(picture.interlaced_frame for picture in pictures):
        return declared if declared in ("tt", "bb", "tb", "bt") else _usual_order(stream)
    if declared in ("tt", "bb", "tb", "bt") and flags_pictures(stream.codec_context.codec.canonical_name):
        return "progressive"
    return declared


def _usual_order(stream: VideoStream) -> FieldOrder:
    return "bb" if stream.codec_context.name == "dvvideo" else "tt"


def flags_pictures(codec: str) -> bool:
    """Whether this codec says of each picture if it is interlaced; for the others only the container knows."""
    return codec not in _WITHOUT_FLAGS


_WITHOUT_FLAGS = frozenset({"rawvideo", "huffyuv", "ffvhuff", "utvideo", "v210", "v410", "magicyuv", "cfhd", "jpeg2000", "png"})


def _stream_info(stream: Stream) -> StreamInfo:
    return StreamInfo(
        index=stream.index,
        kind=stream.type,
        codec=stream_codec(stream),
        language=stream.metadata.get("language"),
        detail=_detail(stream),
    )


def stream_codec(stream: Stream) -> str:
    """Codec name of any stream, or its kind where FFmpeg knows none."""
    if stream.codec_context is not None:
        return str(stream.codec_context.codec.canonical_name)
    return str(getattr(stream, "name", None) or f"unknown {stream.type}")


def _detail(stream: Stream) -> str:
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return f"{stream.codec_context.sample_rate} Hz {stream.codec_context.layout.name}"
    if isinstance(stream, VideoStream) and stream.codec_context is not None:
        return f"{stream.codec_context.width}x{stream.codec_context.height}"
    return ""
