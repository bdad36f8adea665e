"""Reading a video as a stream of frames with exact times, in memory that does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
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
from iconface_video.video.deinterlace import Deinterlacer, is_too_small
from iconface_video.video.fields import (
    INTERLACED_ORDERS,
    FieldSplitter,
    PartOfFilm,
    SplitPicture,
    field_clock,
    with_own_lines,
)
from iconface_video.video.planes import DecodedPicture, planes_of
from iconface_video.video.probe import has_slots_only, probe
from iconface_video.video.scan import Scan, Stretch, find_scan, holds_unmarked_fields
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
    the planar form of their own format. Of an interlaced film they are what `settings.fields` says: the film's frames (half: through
    bwdif; weave: with their combs), or its fields, each a picture at its own time, in half ticks (keep, double; `video.fields`).
    """

    def __init__(
        self,
        path: Path | str,
        settings: ReadSettings | None = None,
        file: SteadyFile | None = None,
        scan: Scan | None = None,
    ) -> None:
        """file, scan: of an earlier reader, where the file must not have changed since. Raises InputError or VideoOpenError, as
        `probe` does.
        """
        self.path = Path(path)
        check_input_file(self.path)
        self.file = file or SteadyFile(self.path)
        """Checked at the beginning and the end of each pass."""
        self.file.check()
        self.settings = settings or ReadSettings()
        self.film: VideoInfo = probe(self.path)
        """As it is stored."""
        self._scan = scan
        self.splits = False
        """Whether pictures are fields, where the film holds some."""
        self.splits = self._must_split()
        self.info: VideoInfo = field_clock(self.film) if self.splits else self.film
        """Of the pictures that `frames` gives."""
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
                f"the film ends early, at {self._seconds_read():.2f} s: the file promises {self.film.duration_seconds:.2f} s"
            )
        if report.end_pts is not None and self.film.film_share < _LEAST_FILM_SHARE:
            found.append(
                f"the film ends at {self.film.film_share:.0%} of the file: what follows has other streams (another recording that "
                "was appended?) and is not read"
            )
        return tuple(found)

    def _clock_notes(self) -> Iterator[str]:
        """Of the clock's resets between the first and the last frame that were read."""
        if self._read is None:
            return
        first, last = self._read
        met = [reset for reset in told_resets(self.film) if first < reset.pts <= last]
        places = [f"{float((reset.pts - self.film.first_pts) * self.film.time_base):.1f} s" for reset in met[:_NAMED_RESETS]]
        if len(met) == 1:
            yield f"the recording's clock was reset at {places[0]}; what follows goes on from there"
        elif met:
            named = ", ".join(places) + (" ..." if len(met) > len(places) else "")
            yield f"the recording's clock was reset {len(met)} times (at {named}); what follows each goes on from there"

    def _seconds_read(self) -> float:
        return float(((self._report.end_pts or 0) - self.film.first_pts) * self.film.time_base)

    def _is_short(self) -> bool:
        """Whether the film was read to its end, and that comes clearly before where the header puts it."""
        promised = self.film.duration_seconds
        if promised is None or self._report.end_pts is None:
            return False
        is_short = promised - self._seconds_read() > max(_SHORT_SECONDS, _SHORT_SHARE * promised)
        return is_short and not only_others_go_on(self.film, self._report.end_pts, promised)

    def _must_split(self) -> bool:
        film = self.film
        if self.settings.fields not in ("keep", "double") or is_too_small(film.width, film.height):
            return False
        if film.field_order in INTERLACED_ORDERS:
            return True
        if self._scan is not None:
            return self._scan.any_interlaced
        try:
            has_fields = holds_unmarked_fields(film, self._pictures)
        except IconFaceError:
            has_fields = False  # what is wrong with it is told when it is read
        if not has_fields:
            self._scan = Scan((Stretch(film.first_pts, is_interlaced=False),), is_top_first=True)
        return has_fields

    def _pictures(self, start: int | None) -> Iterator[av.VideoFrame]:
        return self._decoded_from(None if start is None else Fraction(start))

    @property
    def written(self) -> VideoInfo:
        """The film as it is to be written of the pictures: those of fields that are kept are to be woven before."""
        mode = self.settings.fields
        if mode == "half":
            return replace(self.film, field_order="progressive")
        if mode == "double" and self.splits:
            scan = self._scan
            return self.info if scan is None or scan.any_interlaced else replace(self.info, average_rate=self.film.average_rate)
        return self.film

    def frames_written(self, pictures: int) -> int:
        """About how many frames are written of so many pictures."""
        return -(-pictures // 2) if self.splits and self.settings.fields == "keep" else pictures

    @property
    def scan_is_known(self) -> bool:
        """Or not needed."""
        return not self.splits or self._scan is not None

    @property
    def scan(self) -> Scan | None:
        """What was found of the film's scan so far."""
        return self._scan

    def find_scan(self, check: Callable[[int], None] = lambda done: None) -> Scan:
        """Look at the film: all of it where it is short or mixed. Once; `frames` does it where nobody did.

        check: called with the number of frames that were looked at; may raise to stop.
        """
        if self._scan is None:
            self.file.check()
            self._scan = find_scan(self.film, self._pictures, check)
        return self._scan

    def take_scan(self, scan: Scan) -> None:
        """That was found of this very file before."""
        self._scan = scan

    def again(self) -> VideoReader:
        """Another reader of the same file."""
        return VideoReader(self.path, self.settings, self.file, self._scan)

    def frame_start(self, time: Timestamp) -> Timestamp:
        """When the first whole frame at or after a time begins; the time itself where pictures are no fields, or the film is over."""
        if not self.splits:
            return time
        start = time.seconds / self.film.time_base
        times = (2 * picture.pts for picture in self._decoded_from(start) if picture.pts is not None and picture.pts >= start)
        return Timestamp(first, self.info.time_base) if (first := next(times, None)) is not None else time

    def frames(self, start: Timestamp | None = None, end: Timestamp | None = None) -> Iterator[Frame]:
        """Frames whose time lies in [start, end); the same as those of a full read.

        `Frame.index` counts from the first frame of this call. Each call opens the file anew, so iterations do not
        disturb each other. Raises DecodeError when the picture changes size on the way or decoding fails without end,
        InputError when the file is another one than at first.
        """
        self._report, self._concealed, self._stood_in, self._read = DecodeReport(), 0, 0, None
        if self.splits:
            self.find_scan()
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
        for frame in self._shown(None if start is None else start * self.info.time_base / self.film.time_base):
            if start is not None and frame.pts < start:
                continue
            if end is not None and frame.pts >= end:
                return
            self._note(frame)
            yield replace(frame, index=index)
            index += 1

    def _note(self, frame: Frame) -> None:
        """For what is told of damage. The two fields of a frame are damaged once."""
        pts = next((item.film.pts for item in frame.side_data if isinstance(item, PartOfFilm)), frame.pts)
        is_new = self._read is None or self._read[1] != pts
        self._read = (pts if self._read is None else self._read[0], pts)
        if is_new and frame.is_corrupt:
            is_stand_in = any(isinstance(item, StandIn) for item in frame.side_data)
            self._stood_in += is_stand_in
            self._concealed += not is_stand_in

    def _shown(self, start: Fraction | None) -> Iterator[Frame]:
        """Pictures as they are shown, from the one at `start` (film ticks) or one before it on."""
        pictures = self._decoded_from(start)
        if self.splits:
            yield from self._fields(pictures)
        elif self.settings.fields == "half":
            deinterlacer = Deinterlacer(self.film.field_order)
            for picture in pictures:
                yield from map(self._frame, deinterlacer.push(picture))
            yield from map(self._frame, deinterlacer.finish())
        else:
            yield from map(self._frame, pictures)

    def _fields(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Frame]:
        """Both fields of each picture that has two, each other picture whole."""
        scan = self.find_scan()
        splitter = FieldSplitter(scan.is_top_first)
        for picture in pictures:
            for split in splitter.push(picture, scan.is_interlaced_at(picture.pts or 0)):
                yield from self._parts(split)
        for split in splitter.finish():
            yield from self._parts(split)

    def _parts(self, split: SplitPicture) -> Iterator[Frame]:
        film, base = self._frame(split.film), self.info.time_base
        if not split.fields:
            part = PartOfFilm(film, None, True, film.planes)
            yield replace(film, pts=2 * film.pts, time_base=base, duration=2 * film.duration, side_data=(*film.side_data, part))
            return
        times = ((2 * film.pts, split.middle), (split.middle, split.end))
        for (picture, parity), (begin, end) in zip(split.fields, times):
            planes = planes_of(picture, film.pix_fmt)
            if split.film.format.name != film.pix_fmt:
                planes = with_own_lines(planes, film.planes, parity)
            side_data = (DecodedPicture(picture, planes), PartOfFilm(film, parity, begin == split.middle, planes))
            yield replace(film, pts=begin, time_base=base, duration=end - begin, planes=planes, side_data=side_data)

    def _decoded_from(self, start: Fraction | None) -> Iterator[av.VideoFrame]:
        """Pictures from the beginning, or from a seek point that lies provably before the picture shown at `start` (film ticks)."""
        if start is not None and start > self.film.first_pts and self._can_seek():
            # Deinterlacing looks at the picture before, too: then two must have come by `start`.
            count = 2 if self.splits or self.settings.fields == "half" else 1
            frame = 0 if count == 1 else 1 / ((self.film.average_rate or 25) * self.film.time_base)
            for margin in _SEEK_MARGINS_SECONDS:
                target = int(start - frame - margin / self.film.time_base)
                if target <= self.film.first_pts:
                    break
                pictures = self._decoded(target)
                first = list(islice(pictures, count))
                if len(first) == count and (first[-1].pts or 0) <= start:
                    return chain(first, pictures)
                pictures.close()
        return self._decoded(None)

    def _can_seek(self) -> bool:
        """Where pictures are timed by counting, one has to count from the beginning, unless none are reordered."""
        return not has_slots_only(self.film.container) or av.Codec(self.film.codec, "r").intra_only

    def _decoded(self, seek_to: int | None) -> Generator[av.VideoFrame, None, None]:
        self._report = DecodeReport()
        return decode_pictures(self.film, self._report, seek_to)

    def _frame(self, picture: av.VideoFrame) -> Frame:
        info = self.film
        planes = planes_of(picture, info.pix_fmt)
        decoded = DecodedPicture(picture, planes)
        stand_in = picture.opaque if isinstance(picture.opaque, StandIn) else None
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
            index=0,
            is_corrupt=stand_in is not None or bool(picture.is_corrupt),
            side_data=(decoded,) if stand_in is None else (decoded, stand_in),
        )
