"""The part of a file that a run works on."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from iconface_video.errors import UsageError
from iconface_video.types import Frame, Timestamp, VideoInfo
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
