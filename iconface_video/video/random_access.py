"""Single pictures from anywhere in a file, for anchors and previews: by decord where it proves right, else by PyAV.

decord 0.6 is fast, but shows frames that edit lists cut away, turns rotated films by itself, knows 8 bits only, and
lands on wrong frames in some files. So each file has to pass a test against PyAV before decord is trusted with it.
"""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from av.error import FFmpegError
from av.stream import Discard

from iconface_video.errors import DecodeError
from iconface_video.files import SteadyFile
from iconface_video.settings import ReadSettings
from iconface_video.types import Frame, Timestamp, UInt8, VideoInfo
from iconface_video.video.clock import Mender
from iconface_video.video.container import demuxed, local_url, open_input
from iconface_video.video.display_light import display_light, shown_rgb
from iconface_video.video.planes import layout_of
from iconface_video.video.probe import has_slots_only
from iconface_video.video.reader import VideoReader
from iconface_video.video.scan import Scan

_log = logging.getLogger(__name__)

_CHECKED_FRAMES = 3
_EQUAL_LEVELS = 3.0
"""Mean difference, in 8-bit levels, up to which two decoders' RGB counts as equal (their rounding differs)."""
_READ_ON_SECONDS = 2
"""A wanted frame this close after the last one is reached by reading on instead of seeking."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame as RGB, as stored (not rotated)."""

    pts: int
    rgb: UInt8
    """(h, w, 3)."""


class RandomAccess:
    """Pictures by time. A context manager."""

    def __init__(
        self,
        path: Path | str,
        settings: ReadSettings | None = None,
        *,
        allow_decord: bool = True,
        file: SteadyFile | None = None,
        scan: Scan | None = None,
    ) -> None:
        """file, scan: as for `VideoReader`. Raises InputError or VideoOpenError, as `probe` does."""
        self._reader = VideoReader(path, settings, file, scan)
        self.info: VideoInfo = self._reader.info
        self.why_not_decord = ""
        """Why PyAV does the work; empty when decord does."""
        self._times: list[int] = []
        self._decord: Any = None
        self._reading: Iterator[Frame] | None = None
        self._position: int | None = None
        if allow_decord:
            self._try_decord()
        else:
            self.why_not_decord = "it was not asked for"

    @property
    def backend(self) -> Literal["decord", "pyav"]:
        return "pyav" if self._decord is None else "decord"

    def __enter__(self) -> RandomAccess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._decord = self._reading = self._position = None

    def frame_at(self, pts: int) -> Picture:
        """The frame with this PTS (ticks of ``info.time_base``), else the last one before it, else the first of all.

        Raises DecodeError when there is nothing to decode there, InputError when the file has changed.
        """
        if self._decord is not None:
            self._reader.file.check()
            index = max(0, bisect_right(self._times, pts) - 1)
            return Picture(self._times[index], self._decord[index].asnumpy())
        return self._by_reading(pts)

    def _by_reading(self, pts: int) -> Picture:
        if self._times:
            pts = self._times[max(0, bisect_right(self._times, pts) - 1)]
        reach = _READ_ON_SECONDS / self.info.time_base
        if self._reading is None or self._position is None or not self._position < pts <= self._position + reach:
            self._reading = self._reader.frames(Timestamp(pts, self.info.time_base))
        for frame in self._reading:
            self._position = frame.pts
            if frame.pts >= pts:
                return Picture(frame.pts, shown_rgb(frame))
        self._reading = self._position = None
        raise DecodeError(f"{self.info.path}: no frame at or after PTS {pts}; the clip ends before. Ask for an earlier time.")

    def _try_decord(self) -> None:
        self._times = [] if self._reader.splits else _packet_times(self.info)
        self.why_not_decord = self._obstacle() or ""
        if self.why_not_decord:
            return
        try:
            import decord

            decord.logging.set_level(decord.logging.QUIET)
            candidate = decord.VideoReader(local_url(self.info.path), num_threads=1)
            self.why_not_decord = self._difference(candidate) or ""
        except ImportError:
            self.why_not_decord = "decord is not installed"
        except Exception as error:  # decord raises its own errors and plain ones for damaged files
            self.why_not_decord = f"decord fails on it ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        if self.why_not_decord:
            _log.debug("%s: random access by PyAV: %s", self.info.path, self.why_not_decord)
        else:
            self._decord = candidate

    def _obstacle(self) -> str | None:
        """What decord cannot do, known without asking it."""
        info = self.info
        if info.bit_depth != 8:
            return f"{info.bit_depth} bits per sample"
        if display_light(info.color) is not None:
            return "its colors are HDR or a wide gamut's"
        if info.clock_resets:
            return "the recording's clock was reset"
        if info.rotation or info.display_matrix is not None:
            return "the film is rotated"
        if self._reader.splits or self._reader.settings.fields == "half":
            return "the film is interlaced"
        if not self._times or len(set(self._times)) < len(self._times):
            return "not every frame has a time of its own"
        return "the picture is not YCbCr" if layout_of(info.pix_fmt).is_rgb else None

    def _difference(self, candidate: Any) -> str | None:
        """The first way in which decord's view of the file differs from PyAV's."""
        times, info = self._times, self.info
        if len(candidate) != len(times):
            return f"decord sees {len(candidate)} frames instead of {len(times)}"
        first = Fraction(float(candidate.get_frame_timestamp(0)[0])).limit_denominator(10**6)
        if abs(first - times[0] * info.time_base) > Fraction(1, 1000):
            return f"decord begins at {float(first):.3f} s instead of {float(times[0] * info.time_base):.3f} s"
        if tuple(candidate[0].shape) != (info.height, info.width, 3):
            return f"decord's pictures are {candidate[0].shape[1]}x{candidate[0].shape[0]}"
        chosen = random.Random(0).sample(range(len(times)), min(_CHECKED_FRAMES, len(times)))
        for index in chosen:
            if not self._shows_frame(candidate[index].asnumpy(), index):
                return f"decord's frame {index} shows something else"
        return None

    def _shows_frame(self, rgb: UInt8, index: int) -> bool:
        """Equal to PyAV's frame, and no nearer to its neighbours (off by one in a slow scene differs little, too)."""
        around = range(max(0, index - 1), min(len(self._times), index + 2))
        errors = {}
        for other in around:
            own = self._by_reading(self._times[other]).rgb
            errors[other] = float(np.abs(own.astype(np.int16) - rgb).mean())
        return errors[index] <= _EQUAL_LEVELS and errors[index] <= min(errors.values()) + 0.02


def _packet_times(info: VideoInfo) -> list[int]:
    """PTS of all frames that are shown, from the packets alone; empty where packets do not tell."""
    times = []
    try:
        with open_input(info.path) as container:
            stream = container.streams[info.stream_index]
            for other in container.streams:
                if other.index != stream.index:
                    other.discard = Discard.all
            for packet in Mender(info).mended(demuxed(container, stream)):
                if packet.size == 0:
                    continue
                if packet.pts is None or has_slots_only(info.container):
                    return []
                if not packet.is_discard:
                    times.append(packet.pts)
    except FFmpegError:
        return []
    return sorted(times)
