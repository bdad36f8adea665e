"""What a browser can play: before and after in one film, side by side, so that they can never run apart.

Browsers know few of the formats that archives keep. The page plays a copy made for looking at: H.264, upright, square pixels,
at most 960 x 720 a side; it draws the two halves over each other or beside each other itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.container
import cv2
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.video.stream import VideoStream

from iconface_video.session.clip import to_display
from iconface_video.types import Frame, Survey, UInt8, VideoInfo
from iconface_video.video.clock import Mender
from iconface_video.video.container import demuxed, open_input
from iconface_video.video.display_light import shown_rgb

MOST_WIDTH, MOST_HEIGHT = 960, 720
_CLOCK = 90000
"""Ticks a second of the copy."""
_BT709 = 1
_CLOSE_UPS_A_SECOND = 10
_MARGIN = 0.9
"""Side of the close-up, in sides of the aligned crop, which shows more than the face."""


def shown(frame: Frame, info: VideoInfo) -> UInt8:
    """(h, w, 3) RGB, upright, square pixels, no larger than the page shows it, even sides."""
    picture = to_display(shown_rgb(frame), info.display_size, info.rotation, info.is_mirrored)
    return fitted(picture)


def fitted(picture: UInt8) -> UInt8:
    """Scaled down where needed."""
    width, height = shown_size(picture.shape[1], picture.shape[0])
    if (picture.shape[1], picture.shape[0]) == (width, height):
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def shown_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) on the page."""
    scale = min(1.0, MOST_WIDTH / width, MOST_HEIGHT / height)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def write_comparison(
    path: Path,
    pairs: Iterable[tuple[Frame, Frame]],
    info: VideoInfo,
    *,
    with_sound: bool = False,
    on_frame: Callable[[int], None] = lambda done: None,
) -> int:
    """Write (before, after) pairs as one film, before on the left; returns the number of frames.

    with_sound: the input's first audio stream goes along, where it has one.  on_frame: called with the number of frames written; may raise.
    """

    def both() -> Iterator[tuple[float, UInt8]]:
        for before, after in pairs:
            seconds = float((before.pts - info.first_pts) * info.time_base)
            yield seconds, np.concatenate([shown(before, info), shown(after, info)], axis=1)

    return write_film(path, both(), info, with_sound=with_sound, on_frame=on_frame)


def write_film(
    path: Path,
    pictures: Iterable[tuple[float, UInt8]],
    info: VideoInfo,
    *,
    with_sound: bool = False,
    on_frame: Callable[[int], None] = lambda done: None,
) -> int:
    """The same of pictures (h, w, 3) RGB, each with its time in seconds after the input's first frame."""
    count = 0
    with_sound = with_sound and any(stream.kind == "audio" for stream in info.streams)
    first: float | None = None
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as output:
        stream: VideoStream | None = None
        audio: _Sound | None = None
        for time, both in pictures:
            if stream is None or first is None:
                first = time
                stream = _film(output, both)
                audio = _Sound(info, output, first + float(info.first_pts * info.time_base)) if with_sound else None
            seconds = time - first
            if audio is not None:
                audio.write_until(seconds)
            picture = av.VideoFrame.from_ndarray(both, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = round(seconds * _CLOCK), Fraction(1, _CLOCK)
            output.mux(stream.encode(picture))
            count += 1
            on_frame(count)
        if stream is not None:
            output.mux(stream.encode(None))
        if audio is not None and first is not None:
            audio.finish()
    return count


def _film(output: av.container.OutputContainer, picture: UInt8) -> VideoStream:
    stream = output.add_stream("libx264", rate=25)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    stream.time_base = Fraction(1, _CLOCK)
    context: Any = stream.codec_context
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, _BT709, _BT709, _BT709
    context.options = {"preset": "veryfast", "crf": "18", "g": "50"}  # short groups: seeking has to be quick
    return stream


class _Sound:
    """The input's first audio stream as AAC, written in step with the picture. Sound that cannot be decoded is left out."""

    def __init__(self, info: VideoInfo, output: av.container.OutputContainer, begin: float) -> None:
        """begin: seconds at which the picture begins in the file."""
        self._output = output
        self._stream = output.add_stream("aac", rate=48000, layout="stereo")
        self._frames = _decoded(info, begin)
        self._waiting: Any = None

    def write_until(self, seconds: float) -> None:
        while True:
            if self._waiting is None:
                self._waiting = next(self._frames, None)
            if self._waiting is None or self._waiting.pts / 48000 > seconds:
                return
            self._output.mux(self._stream.encode(self._waiting))
            self._waiting = None

    def finish(self) -> None:
        self._output.mux(self._stream.encode(None))
        self._frames.close()


def _decoded(info: VideoInfo, begin: float) -> Generator[Any, None, None]:
    resampler = AudioResampler("fltp", "stereo", 48000)
    try:
        with open_input(info.path) as container:
            stream = container.streams.audio[0]
            packets = Mender(info).mended(demuxed(container, stream))
            for frame in chain.from_iterable(stream.decode(packet) for packet in packets):
                for piece in resampler.resample(frame):
                    seconds = float(piece.time or 0.0) - begin
                    if seconds >= 0:
                        piece.pts, piece.time_base = round(seconds * 48000), Fraction(1, 48000)
                        yield piece
    except (FFmpegError, ValueError):
        return


def close_ups(survey: Survey, first_pts: int, last_pts: int) -> list[list[float]]:
    """Where to look, a few times a second: rows of seconds after `first_pts`, centre x and y, side, track id.

    The largest face of each moment; x, y and side as shares of the picture's width (so that a square stays one).
    """
    base, width = survey.info.time_base, survey.info.display_size[0]
    step = max(1, round(1 / (_CLOSE_UPS_A_SECOND * base)))
    rows: dict[int, list[float]] = {}
    for track in survey.tracks:
        begin, end = np.searchsorted(track.pts, [first_pts, last_pts + 1])
        for row in range(int(begin), int(end)):
            slot = (int(track.pts[row]) - first_pts) // step
            log_scale, angle, x, y = track.parameters[row]
            side = float(512 / np.exp(log_scale)) * _MARGIN / width
            if slot in rows and side <= rows[slot][3]:
                continue
            # The middle of the template, brought back to the picture.
            turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / np.exp(log_scale)
            middle = turned @ (np.array([255.5, 255.5]) - [x, y])
            seconds = float((int(track.pts[row]) - first_pts) * base)
            rows[slot] = [seconds, float(middle[0]) / width, float(middle[1]) / width, side, track.track_id]
    return [[round(value, 5) for value in rows[slot]] for slot in sorted(rows)]
