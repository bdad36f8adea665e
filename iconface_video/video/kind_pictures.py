"""A few runs of neighbouring frames, spread over a clip: what the kind of a recording is judged by."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

from iconface_video.settings import ReadSettings
from iconface_video.types import Timestamp, UInt8, VideoInfo
from iconface_video.video.color import to_rgb
from iconface_video.video.reader import VideoReader

RUNS, FRAMES = 4, 10
_SIDE = 960
"""px of a larger picture's middle that are looked at, all of its lines with them: it is lines that tell."""


def runs_of(info: VideoInfo) -> list[list[UInt8]]:
    """Lists of up to FRAMES pictures (h, w, 3), RGB as stored, from up to RUNS places; fewer where the clip is short.

    Raises what the reader raises.
    """
    runs = []
    with VideoReader(info.path, ReadSettings(deinterlace="off")) as reader:
        for start in _starts(info):
            frames = reader.frames(start=start)
            pictures = [_middle(to_rgb(frame)) for frame in islice(frames, FRAMES)]
            if len(pictures) >= 3:
                runs.append(pictures)
    return runs


def _starts(info: VideoInfo) -> list[Timestamp | None]:
    length = info.duration_seconds
    step = 1 / float(info.average_rate or 25)
    if not length or length <= FRAMES * step:
        return [None]
    count = min(RUNS, max(1, int(length / (FRAMES * step))))
    spread = length - FRAMES * step
    places = [spread * (k + 0.5) / count for k in range(count)]
    return [Timestamp(info.first_pts + int(Fraction(place) / info.time_base), info.time_base) for place in places]


def _middle(picture: UInt8) -> UInt8:
    """Its middle columns, from one that blocks of 16 px begin at."""
    width = picture.shape[1]
    if width <= _SIDE:
        return picture
    left = (width - _SIDE) // 2 // 16 * 16
    return picture[:, left : left + _SIDE]
