"""Reading a video as a stream of frames with exact times, in memory that does not grow with the clip."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType

import av

from iconface_video.errors import IconFaceError
from iconface_video.files import SteadyFile
from iconface_video.settings import ReadSettings
from iconface_video.types import Frame, Timestamp, VideoInfo
from iconface_video.video.clock import told_resets
from iconface_video.video.container import check_input_file
from iconface_video.video.decode import DecodeReport, decode_pictures
from iconface_video.video.deinterlace import Deinterlacer
from iconface_video.video.planes import DecodedPicture, planes_of
from iconface_video.video.probe import flags_pictures, has_slots_only, probe
from iconface_video.video.timestamps import StandIn, only_others_go_on

_SEEK_MARGINS_SECONDS = (0, 2, 10)
"""How far before the wanted frame a seek aims; where even the last lands too late, reading begins at the beginning."""
_SHORT_SECONDS, _SHORT_SHARE = 0.3, 0.03
"""A film that ends this much before its promised length is said to end early; sound often is a little longer."""
_NAMED_RESETS = 5
_LEAST_FILM_SHARE = 0.9
"""Of the file's bytes: sound alone does not take up the rest."""


def _counted(number: int) -> str:
    return "1 frame" if number == 1 else f"{number} frames"


class VideoReader:
    """Frames of one file, in presentation order. A context manager; `frames` may be called any number of times.

    PTS are the container's, with edit lists and discarded packets honoured. Pictures stay as stored (not rotated), in
    the planar form of their own format; interlaced ones are deinterlaced as `settings` say.
    """

    def __init__(self, path: Path | str, settings: ReadSettings | None = None, file: SteadyFile | None = None) -> None:
        """file: of an earlier reader, where the file must not have changed since. Raises InputError or VideoOpenError, as
        `probe` does.
        """
        self.path = Path(path)
        check_input_file(self.path)
        self.file = file or SteadyFile(self.path)
        """Checked at the beginning and the end of each pass."""
        self.file.check()
        self.settings = settings or ReadSettings()
        self.info: VideoInfo = probe(self.path)
        self._report = DecodeReport()
        self._concealed = self._stood_in = 0
        self._read: tuple[int, int] | None = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Nothing to release: each iteration closes its own file when it ends or is dropped."""

    @property
    def corrupt_frames(self) -> int:
        """Frames of the latest `frames` call that were damaged: concealed, or lost altogether."""
        return self._concealed + self._stood_in + self._report.lost

    @property
    def repaired_timestamps(self) -> int:
        """Frames of the latest `frames` call whose time was missing or ran backwards."""
        return self._report.repaired_timestamps

    @property
    def is_truncated(self) -> bool:
        """The latest `frames` call met damage in the container that hid the rest of the file."""
        return self._report.is_truncated

    @property
    def damage(self) -> tuple[str, ...]:
        """What a person should know of the latest `frames` call: damage that was concealed, and what is missing."""
        report, found = self._report, list(self._clock_notes())
        if self._concealed:
            found.append(f"{_counted(self._concealed)} damaged, concealed by the decoder")
        if self._stood_in:
            found.append(f"{_counted(self._stood_in)} could not be decoded; the one before is shown in its place")
        if report.lost:
            found.append(f"{_counted(report.lost)} could not be decoded and left out")
        if report.repaired_timestamps:
            found.append(f"{_counted(report.repaired_timestamps)} had no usable time; it was set from its neighbours")
        if report.is_truncated:
            found.append("the file is damaged: the film ends where it can be read no further")
        elif self._is_short():
            found.append(
                f"the film ends early, at {self._seconds_read():.2f} s: the file promises {self.info.duration_seconds:.2f} s"
            )
        if report.end_pts is not None and self.info.film_share < _LEAST_FILM_SHARE:
            found.append(
                f"the film ends at {self.info.film_share:.0%} of the file: what follows has other streams (another recording that "
                "was appended?) and is not read"
            )
        return tuple(found)

    def _clock_notes(self) -> Iterator[str]:
        """Of the clock's resets between the first and the last frame that were read."""
        if self._read is None:
            return
        first, last = self._read
        met = [reset for reset in told_resets(self.info) if first < reset.pts <= last]
        places = [f"{float((reset.pts - self.info.first_pts) * self.info.time_base):.1f} s" for reset in met[:_NAMED_RESETS]]
        if len(met) == 1:
            yield f"the recording's clock was reset at {places[0]}; what follows goes on from there"
        elif met:
            named = ", ".join(places) + (" ..." if len(met) > len(places) else "")
            yield f"the recording's clock was reset {len(met)} times (at {named}); what follows each goes on from there"

    def _seconds_read(self) -> float:
        return float(((self._report.end_pts or 0) - self.info.first_pts) * self.info.time_base)

    def _is_short(self) -> bool:
        """Whether the film was read to its end, and that comes clearly before where the header puts it."""
        promised = self.info.duration_seconds
        if promised is None or self._report.end_pts is None:
            return False
        is_short = promised - self._seconds_read() > max(_SHORT_SECONDS, _SHORT_SHARE * promised)
        return is_short and not only_others_go_on(self.info, self._report.end_pts, promised)

    @property
    def deinterlaces(self) -> bool:
        """Whether all frames go through the deinterlacer (in auto mode one may still begin at a first interlaced frame)."""
        if self.settings.deinterlace == "auto":
            return self.info.field_order in ("tt", "bb", "tb", "bt")
        return self.settings.deinterlace == "on"

    def frames(self, start: Timestamp | None = None, end: Timestamp | None = None) -> Iterator[Frame]:
        """Frames whose time lies in [start, end); the same as those of a full read.

        `Frame.index` counts from the first frame of this call. Each call opens the file anew, so iterations do not
        disturb each other. Raises DecodeError when the picture changes size on the way or decoding fails without end,
        InputError when the file is another one than at first.
        """
        self._report, self._concealed, self._stood_in, self._read = DecodeReport(), 0, 0, None
        return self._checked(self._frames(self._ticks(start), self._ticks(end)))

    def _ticks(self, time: Timestamp | None) -> Fraction | None:
        return None if time is None else time.seconds / self.info.time_base

    def _checked(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """That all of them are of the same file: none may be believed where it has changed meanwhile."""
        self.file.check()
        try:
            yield from frames
        except IconFaceError:
            self.file.check()  # a better reason than the damage that was met
            raise
        self.file.check()

    def _frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        index = 0
        for picture in self._deinterlaced(self._decoded_from(start)):
            assert picture.pts is not None
            if start is not None and picture.pts < start:
                continue
            if end is not None and picture.pts >= end:
                return
            self._read = (picture.pts if self._read is None else self._read[0], picture.pts)
            yield self._frame(picture, index)
            index += 1

    def _decoded_from(self, start: Fraction | None) -> Iterator[av.VideoFrame]:
        """Pictures from the beginning, or from a seek point that lies provably at or before `start`."""
        if start is not None and start > self.info.first_pts and self._can_seek():
            # The deinterlacer looks at the picture before, too.
            needed = start if self.settings.deinterlace == "off" else start - 1
            for margin in _SEEK_MARGINS_SECONDS:
                target = int(needed - margin / self.info.time_base)
                if target <= self.info.first_pts:
                    break
                pictures = self._decoded(target)
                first = next(pictures, None)
                if first is not None and first.pts is not None and first.pts <= needed:
                    return chain([first], pictures)
                pictures.close()
        return self._decoded(None)

    def _can_seek(self) -> bool:
        """Where pictures are timed by counting, one has to count from the beginning, unless none are reordered."""
        return not has_slots_only(self.info.container) or av.Codec(self.info.codec, "r").intra_only

    def _decoded(self, seek_to: int | None) -> Generator[av.VideoFrame, None, None]:
        self._report = DecodeReport()
        return decode_pictures(self.info, self._report, seek_to)

    def _deinterlaced(self, pictures: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Deinterlaced where wanted; in auto mode from the first picture on that says it is interlaced."""
        deinterlacer: Deinterlacer | None = None
        for picture in pictures:
            flagged = self.settings.deinterlace == "auto" and picture.interlaced_frame
            if deinterlacer is None and (self.deinterlaces or flagged):
                every_frame = self.settings.deinterlace == "on" or not flags_pictures(self.info.codec)
                deinterlacer = Deinterlacer(every_frame, self.info.field_order)
            if deinterlacer is None:
                yield picture
            else:
                yield from deinterlacer.push(picture)
        if deinterlacer is not None:
            yield from deinterlacer.finish()

    def _frame(self, picture: av.VideoFrame, index: int) -> Frame:
        info = self.info
        planes = planes_of(picture, info.pix_fmt)
        is_stand_in, is_concealed = isinstance(picture.opaque, StandIn), bool(picture.is_corrupt)
        self._stood_in += is_stand_in
        self._concealed += is_concealed and not is_stand_in
        assert picture.pts is not None
        return Frame(
            pts=picture.pts,
            time_base=info.time_base,
            duration=max(0, picture.duration),
            planes=planes,
            pix_fmt=info.pix_fmt,
            width=info.width,
            height=info.height,
            color=info.color,
            index=index,
            is_corrupt=is_stand_in or is_concealed,
            side_data=(DecodedPicture(picture, planes),),
        )
