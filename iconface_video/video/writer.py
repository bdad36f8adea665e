"""Writing the output: one encoder for the film, all else copied, under its name only when whole."""

from __future__ import annotations

import errno
import math
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from iconface_video.errors import EncodeError, OutputError
from iconface_video.files import sync_path
from iconface_video.settings import EncodeSettings
from iconface_video.types import Frame, Timestamp, VideoInfo
from iconface_video.video.carrying import muxer_flags
from iconface_video.video.clock import Mender
from iconface_video.video.conform import EncoderPictures, decoded_of
from iconface_video.video.container import is_attachable, local_url, open_input, read_cover
from iconface_video.video.encoders import set_up
from iconface_video.video.fields import film_clock
from iconface_video.video.holding import copy_stream, is_picture_beside, video_stream_of
from iconface_video.video.inventory import doubled_time_code, later_time_code
from iconface_video.video.output_plan import OutputPlan, plan_output
from iconface_video.video.remux import CopyReport, Cut, Remuxer, container_metadata, stream_metadata, trimmed_chapters
from iconface_video.video.seal import PADDING, Sealed, seal
from iconface_video.video.verify import Expected, missing_facts

__all__ = ["OutputPlan", "VideoWriter", "plan_output"]

_MAX_TIMESCALE = 2**31 - 1
_CLOCKS = {"mp4": Fraction(1, 8000), "mov": Fraction(1, 8000), "mpegts": Fraction(1, 90000)}
"""Coarsest tick of sound, in seconds, in containers that want its times to rise (MP4 counts samples)."""
_TIME_CODE_KEYS = ("timecode", "reel_name")


class VideoWriter:
    """Encodes frames and carries everything else of the input along. A context manager.

    The file grows beside its final place and is renamed when the block ends without an exception; otherwise it is
    removed. Frames are written in presentation order, with the PTS and time base that the reader gave them.
    """

    def __init__(
        self,
        plan: OutputPlan,
        info: VideoInfo,
        settings: EncodeSettings,
        metadata: dict[str, str] | None = None,
        *,
        first: Timestamp | None = None,
        end: Timestamp | None = None,
        on_whole: Callable[[Path, int], None] | None = None,
    ) -> None:
        """`metadata` is added to the container's. With `first` (time of the first frame) and `end` only packets
        that begin in [first, end) are copied, and all times move so that `first` becomes 0.
        `on_whole` is called with the finished, synced file and the number of frames, before the file gets its name.
        """
        self._plan, self._info, self._settings = plan, info, settings
        self._metadata = metadata or {}
        self._on_whole = on_whole
        # Players and MP4 cut away what lies before 0, so a film that begins there is moved as a whole.
        self._shift = min(0, info.first_pts) if first is None else round(first.seconds / info.time_base)
        self._cut = Cut(
            None if first is None else first.seconds, None if end is None else end.seconds, self._shift * info.time_base
        )
        self._stack = ExitStack()
        self._output: av.container.OutputContainer | None = None
        self._film: VideoStream | None = None
        self._pictures: EncoderPictures | None = None
        self._remuxer: Remuxer | None = None
        self._pairs: list[tuple[Stream, Stream]] = []
        self._source: VideoStream | None = None
        self._packets: Counter[int] = Counter()
        self._field_order: str | None = None
        self._chapters = 0
        self._film_track = 0
        self.frames_written = 0
        self.copying = CopyReport()
        """What of sound, subtitles and the like could not be copied as it was."""

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        partial = self._plan.partial_path
        try:
            if error is None:
                self._finish()
                if self._on_whole is not None:
                    self._on_whole(partial, self.frames_written)
                self._give_name()
        finally:
            self._release()
            partial.unlink(missing_ok=True)

    def _give_name(self) -> None:
        if not self._plan.may_replace and self._plan.path.exists():
            raise OutputError(
                f"{self._plan.path}: somebody put a file there while this one was being made; it is left as it is. "
                "Move it away or name another output, then try again."
            )
        try:
            os.replace(self._plan.partial_path, self._plan.path)
            sync_path(self._plan.path.parent)
        except OSError as error:
            raise self._failure(error) from error

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises EncodeError when the encoder, the muxer or the disk refuses."""
        try:
            if self._output is None:
                self._start(frame)
            assert self._film is not None
            assert self._pictures is not None
            picture = self._pictures.picture_of(frame)
            picture.pts = frame.pts - self._shift
            picture.duration = frame.duration
            picture.time_base = frame.time_base
            picture.pict_type = 0  # The input's choice of keyframes is not ours.
            self._mux(self._film.encode(picture))
        except (FFmpegError, ValueError) as error:
            raise self._failure(error) from error
        self.frames_written += 1

    def _failure(self, error: Exception) -> EncodeError:
        reason = getattr(error, "strerror", None) or error
        return EncodeError(
            f"{self._plan.path}: writing failed after {self.frames_written} frames ({reason}). {_remedy(error, self._plan)}"
        )

    def _start(self, frame: Frame) -> None:
        """Open the output with all its streams; the first frame tells what the encoder gets to see."""
        plan, info = self._plan, self._info
        source = self._stack.enter_context(open_input(info.path))
        self._output = av.open(
            local_url(plan.partial_path),
            "w",
            format=plan.container,
            container_options=self._muxer_options(source),
            metadata_errors="replace",
        )
        pairs = self._pairs
        for stream in source.streams:
            if stream.index == info.stream_index:
                self._film = self._add_film(frame, source)
                self._film_track = sum(copy.type != "attachment" for _, copy in pairs)
            elif stream.index not in plan.dropped_streams + plan.rewritten_streams:
                self._add_copy(stream)
        self._output.metadata.update(_without_time_code(container_metadata(info.metadata, self._metadata)))
        chapters = trimmed_chapters(source.chapters(), self._cut)
        self._output.set_chapters(chapters)
        self._chapters = len(chapters)
        tick, mender = _CLOCKS.get(plan.container, Fraction(0)), Mender(film_clock(info))
        self._remuxer = Remuxer(source, pairs, self._cut, self.copying, tick, mender)

    def _add_copy(self, stream: Stream) -> None:
        assert self._output is not None
        if self._plan.container == "matroska" and is_picture_beside(stream) and is_attachable(stream):
            cover = read_cover(self._info.path, stream)
            if cover is not None:
                self._output.add_attachment(cover.name, cover.media_type, cover.data)
            return
        copy = copy_stream(self._output, stream)
        tags = stream_metadata(stream.metadata, packets_kept=self._cut.is_whole)
        copy.metadata.clear()
        copy.metadata.update(tags if self._cut.is_whole else _without_time_code(tags))
        self._pairs.append((stream, copy))

    def _add_film(self, frame: Frame, source: av.container.InputContainer) -> VideoStream:
        assert self._output is not None
        plan, info = self._plan, self._info
        original = self._source = video_stream_of(info, source)
        video_stream = self._output.add_stream(plan.encoder.name, rate=info.average_rate or Fraction(25))
        assert isinstance(video_stream, VideoStream)
        context = video_stream.codec_context
        decoded = decoded_of(frame)
        is_interlaced = decoded is not None and decoded.picture.interlaced_frame
        self._field_order = info.field_order if is_interlaced and info.field_order != "progressive" else None
        self._pictures = EncoderPictures(plan.encoder, frame, plan.color, self._field_order)
        video_stream.width, video_stream.height = info.width, info.height
        video_stream.pix_fmt = self._pictures.pix_fmt
        video_stream.time_base = context.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect_ratio
        set_up(context, self._settings, plan.color, self._field_order, plan.side)
        if context.name in ("libx265", "hevc_nvenc") and plan.container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players want it; the default is hev1.
        if info.display_matrix is not None:
            video_stream.set_display_matrix(info.display_matrix)
        video_stream.disposition = original.disposition
        video_stream.metadata.update(_without_time_code(stream_metadata(original.metadata, packets_kept=False)))
        video_stream.metadata.update(self._time_code_tags())
        return video_stream

    def _time_code(self) -> str | None:
        """Of the output's first frame."""
        code, film = self._plan.side.time_code, film_clock(self._info)
        if code is None or "time_code" in self._plan.lost:
            return None
        if self._cut.first is not None:
            code = later_time_code(code, self._cut.first - film.first_pts * film.time_base, film.average_rate)
        return doubled_time_code(code) if code is not None and self._info.counts_fields else code

    def _time_code_tags(self) -> dict[str, str]:
        """On the film, where the muxers look for them; Matroska keeps them as tags, in capitals."""
        values = (self._time_code(), None if "reel" in self._plan.lost else self._plan.side.reel)
        is_matroska = self._plan.container == "matroska"
        return {
            (key.upper() if is_matroska else key): value for key, value in zip(_TIME_CODE_KEYS, values) if value is not None
        }

    def _muxer_options(self, source: av.container.InputContainer) -> dict[str, str]:
        info, container = self._info, self._plan.container
        if container == "mpegts":
            return {"mpegts_copyts": "1"}
        if container == "matroska":
            # Bit-exact, or else its identifiers are random, and no two files the same. The padding is for `seal`.
            return {"fflags": "+bitexact", "metadata_header_padding": str(PADDING)}
        options = {"video_track_timescale": str(info.time_base.denominator)}
        starts_later = info.first_pts != 0 or any(stream.start_time for stream in source.streams)
        if starts_later and self._cut.first is None:
            # A start above 0 is an empty edit, counted in the movie's own clock: milliseconds unless told otherwise.
            clocks = [info.time_base.denominator] + [s.time_base.denominator for s in source.streams if s.time_base]
            exact = math.lcm(*clocks)
            options["movie_timescale"] = str(exact if exact <= _MAX_TIMESCALE else info.time_base.denominator)
        return {**options, **muxer_flags(info.metadata)}

    def _mux(self, packets: list[Packet]) -> None:
        assert self._output is not None
        assert self._remuxer is not None
        for packet in packets:
            if packet.dts is not None:
                reached = (packet.dts + self._shift) * packet.time_base
                self._copy(reached)
            self._output.mux(packet)

    def _copy(self, until: Fraction | None) -> None:
        """The other streams' packets up to a time (None: all that are left). What is too damaged to be written is left out."""
        assert self._output is not None
        assert self._remuxer is not None
        for packet in self._remuxer.up_to(until):
            index = packet.stream_index
            try:
                self._output.mux(packet)
                self._packets[index] += 1
            except (av.error.ArgumentError, av.error.InvalidDataError):
                self._remuxer.refused(packet)

    def _finish(self) -> None:
        if self._output is None:
            raise EncodeError(
                f"{self._plan.path}: no frame was written: none could be read of {self._info.path} in the chosen range. "
                "Check `start` and `end` against the clip's length."
            )
        assert self._film is not None
        assert self._remuxer is not None
        try:
            self._mux(self._film.encode(None))
            self._copy(None)
            self._output.close()
            self._seal_and_verify()
            sync_path(self._plan.partial_path)  # the disk holds it before the name says so
        except (FFmpegError, ValueError, OSError) as error:
            raise self._failure(error) from error

    def _seal_and_verify(self) -> None:
        """Put in what the muxer could not be told, then look whether all is there."""
        plan, info = self._plan, self._info
        assert self._film is not None
        assert self._source is not None
        there = [copy for old, copy in self._pairs if self._packets[copy.index] and not is_picture_beside(old)]
        sealed = Sealed(
            self._film.index, self._film_track, self._source, tuple(self._pairs), dict(self._packets), self._cut.is_whole
        )
        try:
            seal(plan, info, sealed)
        except ValueError as error:
            self.copying.not_arrived.append(f"the output could not be completed: {error}")
        code = self._time_code()
        if code is None and plan.side.time_code is not None and "time_code" not in plan.lost:
            self.copying.not_arrived.append(
                f"the time code ({plan.side.time_code}) cannot be counted on to this part; it is left out"
            )
        expected = Expected(self._field_order, code, self._chapters, self.frames_written, Counter(copy.type for copy in there))
        self.copying.not_arrived += missing_facts(plan.partial_path, plan, info, expected)

    def _release(self) -> None:
        self._stack.close()
        self._output = self._film = self._source = self._pictures = self._remuxer = None
        self._pairs = []


def _remedy(error: Exception, plan: OutputPlan) -> str:
    """What helps against it: a full disk and an encoder that refuses pictures ask for different things."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space there, or choose another place for the output."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EIO):
        return "Check that the folder is still there, and that it can be written to."
    return (
        f"{plan.encoder.name} or the {plan.container} container refused what it was given: choose another codec or container."
    )


def _without_time_code(metadata: dict[str, str]) -> dict[str, str]:
    """It is told anew: a part of a film begins later. Nor does what is opaque say any more that it is transparent."""
    return {key: value for key, value in metadata.items() if key.lower() not in (*_TIME_CODE_KEYS, "alpha_mode")}
