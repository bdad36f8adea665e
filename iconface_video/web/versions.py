"""Two results of one project beside each other, as a film for the page's own viewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from iconface_video.errors import UsageError
from iconface_video.settings import ReadSettings
from iconface_video.types import UInt8, VideoInfo
from iconface_video.video.reader import VideoReader
from iconface_video.web.jobs import Job
from iconface_video.web.results import Result
from iconface_video.web.viewing import shown, write_film

Pictures = Iterator[tuple[float, UInt8]]
"""Seconds after the clip's first frame, and what is shown from then on."""
_SAME_SECONDS = 0.002
"""Clocks of two containers round differently."""
_LONGEST_PICTURE = 0.2
"""Seconds: the last picture of a film counts no longer than that."""


def film_of(result: Result, other: Result) -> Path:
    """Where the film stands that shows the other on the left and this result on the right."""
    return result.folder / f"against-{other.id}.mp4"


def check_overlap(result: Result, other: Result) -> None:
    """Raises UsageError where the two show no common moment."""
    begins, ends = zip(*(one.recipe["part"] for one in (result, other)))
    if max(begin or 0.0 for begin in begins) >= min(float("inf") if end is None else end for end in ends):
        raise UsageError("these two results show different parts of the video; there is nothing to compare")


def make_versions(info: VideoInfo, result: Result, other: Result, job: Job) -> None:
    """Where their parts differ, what both show. Raises DecodeError; Cancelled when the job is told to stop."""
    path = film_of(result, other)
    unfinished = path.with_name(f".{path.name}")

    def on_frame(done: int) -> None:
        job.check()
        job.step("compare", done, result.report.frames)

    try:
        pairs = _paired(_pictures(other, info), _pictures(result, info))
        write_film(unfinished, pairs, info, with_sound=True, on_frame=on_frame)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _pictures(result: Result, info: VideoInfo) -> Pictures:
    begin = float(result.recipe["part"][0] or 0.0)
    with VideoReader(result.report.output, ReadSettings(result.made_with["fields"])) as reader:
        first: int | None = None
        for frame in reader.frames():
            first = frame.pts if first is None else first
            yield begin + float((frame.pts - first) * reader.info.time_base), shown(frame, info)


def _paired(left: Pictures, right: Pictures) -> Pictures:
    """At each of the right one's times, with what the left one shows then."""
    now = next(left, None)
    following = next(left, None)
    for seconds, picture in right:
        while following is not None and following[0] <= seconds + _SAME_SECONDS:
            now, following = following, next(left, None)
        if now is None or (following is None and seconds > now[0] + _LONGEST_PICTURE):
            return
        if now[0] <= seconds + _SAME_SECONDS:
            yield seconds, np.concatenate([now[1], picture], axis=1)
