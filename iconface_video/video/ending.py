"""Where a film ends: what the file says of the film itself, and what only of all its streams together."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import av.container
from av.error import FFmpegError
from av.video.stream import VideoStream

from iconface_video.types import VideoInfo
from iconface_video.video.container import demuxed, open_input

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
        film = container.streams[info.stream_index]
        assert isinstance(film, VideoStream)
        if own_length(container, film) is not None:
            return False
        film_ends = ends = float((end_pts - info.first_pts) * info.time_base)
        try:
            container.seek(max(0, end_pts), stream=film)
            for packet in demuxed(container):
                if packet.stream_index != film.index and packet.pts is not None:
                    ends = max(ends, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except FFmpegError:
            pass
        return ends >= promised - min(_NEAR_SECONDS, (promised - film_ends) / 2)
