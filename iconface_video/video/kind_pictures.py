"""A few runs of neighbouring frames, spread over a clip: what the kind of a recording is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

from iconface_video.settings import ReadSettings
from iconface_video.types import Timestamp, UInt8, VideoInfo
from iconface_video.video.color import Box
from iconface_video.video.display_light import shown_rgb
from iconface_video.video.reader import VideoReader

RUNS, FRAMES = 4, 10
_MOST = (960, 1152)
"""Columns and rows of a larger picture's middle that are looked at; a tape's picture fits in with all of its lines."""


_LEAST = 64
"""px: a smaller picture has no room for lines and blocks to be compared."""


def runs_of(info: VideoInfo) -> Iterator[list[UInt8]]:
    """Lists of up to FRAMES pictures (h, w, 3), RGB as shown, not turned, from up to RUNS places, one by one; fewer where the clip is short.

    None of a picture with a side below _LEAST px. Raises what the reader raises.
    """
    if min(info.width, info.height) < _LEAST:
        return
    middle = _middle(info.width, info.height)
    with VideoReader(info.path, ReadSettings("weave")) as reader:
        for start in _starts(info):
            frames = reader.frames(start=start)
            pictures = [shown_rgb(frame, middle) for frame in islice(frames, FRAMES)]
            if len(pictures) >= 3:
                yield pictures


def _starts(info: VideoInfo) -> list[Timestamp | None]:
    length = info.duration_seconds
    step = 1 / float(info.average_rate or 25)
    if not length or length <= FRAMES * step:
        return [None]
    count = min(RUNS, max(1, int(length / (FRAMES * step))))
    spread = length - FRAMES * step
    places = [spread * (k + 0.5) / count for k in range(count)]
    return [Timestamp(info.first_pts + int(Fraction(place) / info.time_base), info.time_base) for place in places]


def _middle(width: int, height: int) -> Box:
    """Of the picture, from px that blocks of 16 begin at."""
    left, top = (max(0, (have - most) // 2 // 16 * 16) for have, most in zip((width, height), _MOST))
    return left, top, min(width, left + _MOST[0]), min(height, top + _MOST[1])
