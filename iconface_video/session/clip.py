"""The part of a file that a run works on, upright pictures of single frames of it, and the glue between the stages and whoever
watches: progress events, the wish to stop, time per stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import TracebackType
from typing import Literal

import cv2
import numpy as np

from iconface_video.errors import Cancelled, UsageError
from iconface_video.types import Frame, Progress, Timestamp, UInt8, VideoInfo
from iconface_video.video.random_access import RandomAccess
from iconface_video.video.reader import VideoReader
from iconface_video.video.remux import CopyReport


class Clip:
    """A reader narrowed to --start/--end: gives the same frames with the same PTS, only fewer."""

    def __init__(self, reader: VideoReader, start: Fraction | None = None, end: Fraction | None = None) -> None:
        """start, end: seconds after the file's first frame, [start, end); None: the file's own. Raises UsageError."""
        self.reader = reader
        self.info: VideoInfo = reader.info
        self.copying: CopyReport | None = None
        """Of the latest output: what besides the film could not be copied as it was."""
        self.start = self._timestamp("start", start)
        self.end = self._timestamp("end", end)
        self.start, self.end = (None if at is None else reader.frame_start(at) for at in (self.start, self.end))
        if self.end is not None and self.end.pts <= (self.info.first_pts if self.start is None else self.start.pts):
            raise UsageError(f"`end` {float(end or 0):g} s does not lie after `start` {float(start or 0):g} s")
        length = self.info.duration_seconds
        if start is not None and length is not None and start >= length:
            raise UsageError(f"{self.info.path}: `start` {float(start):g} s lies beyond its end ({length:.2f} s)")

    @classmethod
    def between(cls, reader: VideoReader, start_pts: int | None, end_pts: int | None) -> Clip:
        """From exact PTS, [start_pts, end_pts), instead of seconds."""
        clip = cls(reader)
        base = reader.info.time_base
        clip.start = None if start_pts is None else Timestamp(start_pts, base)
        clip.end = None if end_pts is None else Timestamp(end_pts, base)
        return clip

    def again(self, reader: VideoReader) -> Clip:
        """The same part of the same file through another reader: two threads cannot share one."""
        return Clip.between(reader, *(None if end is None else end.pts for end in (self.start, self.end)))

    def _timestamp(self, name: str, seconds: Fraction | None) -> Timestamp | None:
        if seconds is None:
            return None
        if seconds < 0:
            raise UsageError(f"--{name} is {float(seconds):g} s, must be 0 or more")
        return Timestamp(self.info.first_pts + round(seconds / self.info.time_base), self.info.time_base)

    @property
    def corrupt_frames(self) -> int:
        return self.reader.corrupt_frames

    @property
    def damage(self) -> tuple[str, ...]:
        """Sentences about what was concealed, repaired or left out of the file in the latest reading and copying."""
        return (*self.reader.damage, *(() if self.copying is None else self.copying.damage))

    @property
    def is_whole(self) -> bool:
        return self.start is None and self.end is None

    @property
    def frame_estimate(self) -> int | None:
        """For progress alone; None: not known."""
        return self.info.frame_count_declared if self.is_whole else None

    def pts_range(self, first_pts: int, last_pts: int) -> tuple[int, int]:
        """PTS where the clip begins and ends, both inclusive; the given ones where it is not narrowed."""
        return first_pts if self.start is None else self.start.pts, last_pts if self.end is None else self.end.pts - 1

    def first_frame(self) -> Timestamp | None:
        """When the clip's first frame is shown, None where it has none: decodes it."""
        return next((frame.timestamp for frame in self.frames()), None)

    def frames(self, start: Timestamp | None = None, end: Timestamp | None = None) -> Iterator[Frame]:
        """Frames of [start, end) within the clip."""
        first = start if self.start is None or (start is not None and start.pts >= self.start.pts) else self.start
        last = end if self.end is None or (end is not None and end.pts <= self.end.pts) else self.end
        return self.reader.frames(first, last)


class DisplayPictures:
    """Random access in display space: upright, square pixels. A context manager, which ends in InputError where the clip's
    file has changed meanwhile.
    """

    def __init__(self, clip: Clip) -> None:
        self._info, self._file = clip.info, clip.reader.file
        # decord's old FFmpeg is not let near a file that is known to be damaged.
        self._access = RandomAccess(
            clip.info.path,
            clip.reader.settings,
            allow_decord=not clip.reader.damage,
            file=self._file,
            scan=clip.reader.scan,
        )

    def __enter__(self) -> DisplayPictures:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._access.close()
        if error is None:
            self._file.check()

    def at(self, pts: int) -> UInt8:
        """(h, w, 3) RGB of the frame with this PTS."""
        return to_display(self._access.frame_at(pts).rgb, self._info.display_size, self._info.rotation, self._info.is_mirrored)


def to_display(rgb: UInt8, display_size: tuple[int, int], rotation: int, is_mirrored: bool) -> UInt8:
    """Frame space -> display space. display_size: (width, height).  rotation: degrees clockwise, then left and right swapped."""
    turned = np.rot90(rgb, -rotation // 90)
    upright = np.ascontiguousarray(turned[:, ::-1] if is_mirrored else turned)
    if (upright.shape[1], upright.shape[0]) == display_size:
        return upright
    return np.asarray(cv2.resize(upright, display_size, interpolation=cv2.INTER_LINEAR), np.uint8)


OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]
Stage = Literal["survey", "anchors", "restore", "render"]

_LEAST_INTERVAL_SECONDS = 0.1
"""Events of one stage come no more often than this, except its first and last."""


class Watch:
    """Hands progress to the caller's callback, asks it whether to stop, and takes the time of each stage."""

    def __init__(self, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> None:
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._last = -1e9
        self.seconds: dict[str, float] = {}

    def check(self) -> None:
        """Raises Cancelled when the caller wants to stop."""
        if self._should_stop is not None and self._should_stop():
            raise Cancelled("stopped on request; nothing was written under the output's name")

    @property
    def should_stop(self) -> ShouldStop:
        """For stages that ask by themselves."""
        return self._should_stop or (lambda: False)

    def report(self, event: Progress) -> None:
        """Pass an event on, unless the last one was just now and this is neither a stage's first nor last nor has a message."""
        now = time.monotonic()
        if self._on_progress is None:
            return
        if event.message or event.done in (0, event.total) or now - self._last >= _LEAST_INTERVAL_SECONDS:
            self._last = now
            self._on_progress(event)

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Times a stage; asks before and after it whether to stop."""
        self.check()
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        self.check()


class Notes:
    """What a person should know: said as soon as it is known, and again in the report; or there alone."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._said: list[str] = []
        self._added: list[str] = []

    def say(self, *notes: str) -> None:
        """At once, and in the report."""
        for note in notes:
            self._said.append(note)
            self._watch.report(Progress("survey", 0, None, message=note))

    def add(self, *notes: str) -> None:
        """In the report alone, after those that were said."""
        self._added += notes

    @property
    def all(self) -> tuple[str, ...]:
        """For the report."""
        return (*self._said, *self._added)
