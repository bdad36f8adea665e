"""Writing the output: one encoder for the film, all else copied, under its name only when whole."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from iconface_video.durable import sync_path
from iconface_video.errors import EncodeError, OutputError
from iconface_video.settings import EncodeSettings
from iconface_video.types import Frame, Timestamp, VideoInfo
from iconface_video.video.clock import Mender
from iconface_video.video.container import open_input
from iconface_video.video.encoders import set_up
from iconface_video.video.limits import local_url
from iconface_video.video.output_plan import OutputPlan, copy_stream, film_of, plan_output
from iconface_video.video.planes import DecodedPicture, fill_picture, is_packed, packed_picture_of, picture_of, planar_name
from iconface_video.video.remux import CopyReport, Remuxer, container_metadata, stream_metadata, trimmed_chapters

__all__ = ["OutputPlan", "VideoWriter", "plan_output"]

_MAX_TIMESCALE = 2**31 - 1
_CLOCKS = {"mp4": Fraction(1, 8000), "mov": Fraction(1, 8000), "mpegts": Fraction(1, 90000)}
"""Coarsest tick of sound, in seconds, in containers that want its times to rise (MP4 counts samples)."""
_BICUBIC_ACCURATE = 4 | 0x40000 | 0x2000
"""SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT: without the last two swscale darkens by a level or two."""


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
        self._first = None if first is None else first.seconds
        self._end = None if end is None else end.seconds
        # Players and MP4 cut away what lies before 0, so a film that begins there is moved as a whole.
        self._shift = min(0, info.first_pts) if first is None else round(first.seconds / info.time_base)
        self._stack = ExitStack()
        self._output: av.container.OutputContainer | None = None
        self._film: VideoStream | None = None
        self._encoder: VideoCodecContext | None = None
        self._remuxer: Remuxer | None = None
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
            picture = self._picture(frame)
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
        pairs = []
        for stream in source.streams:
            if stream.index == info.stream_index:
                self._film = self._add_film(frame, source)
            elif stream.index not in plan.dropped_streams + plan.rewritten_streams:
                copy = copy_stream(self._output, stream)
                is_whole = self._first is None and self._end is None
                copy.metadata.clear()
                copy.metadata.update(stream_metadata(stream.metadata, packets_kept=is_whole))
                pairs.append((stream, copy))
        self._output.metadata.update(container_metadata(info.metadata, self._metadata))
        self._output.set_chapters(trimmed_chapters(source.chapters(), self._first, self._end, self._shift * info.time_base))
        shift, tick = self._shift * info.time_base, _CLOCKS.get(plan.container, Fraction(0))
        self._remuxer = Remuxer(source, pairs, self._first, self._end, shift, self.copying, tick, Mender(info))

    def _add_film(self, frame: Frame, source: av.container.InputContainer) -> VideoStream:
        assert self._output is not None
        plan, info = self._plan, self._info
        original = film_of(info, source)
        film = self._output.add_stream(plan.encoder.name, rate=info.average_rate or Fraction(25))
        assert isinstance(film, VideoStream)
        context = self._encoder = film.codec_context
        picture = _decoded(frame)
        film.width, film.height = info.width, info.height
        film.pix_fmt = self._encoder_format(picture)
        film.time_base = context.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect_ratio
        own_picture = picture.picture if picture is not None else None
        is_interlaced = own_picture is not None and own_picture.interlaced_frame
        set_up(context, self._settings, frame.color, info.field_order if is_interlaced else None, own_picture)
        if context.name in ("libx265", "hevc_nvenc") and plan.container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players want it; the default is hev1.
        if info.display_matrix is not None:
            film.set_display_matrix(info.display_matrix)
        film.disposition = original.disposition
        film.metadata.update(stream_metadata(original.metadata, packets_kept=False))
        return film

    def _encoder_format(self, picture: DecodedPicture | None) -> str:
        """FFmpeg's deprecated full-range twins (yuvj420p) are used where the decoder does, so that pictures pass as they are."""
        choice = self._plan.encoder
        if picture is None or picture.picture.format.name == choice.pix_fmt:
            return choice.pix_fmt
        own = picture.picture.format.name
        twin = own.startswith("yuvj") and planar_name(own) == choice.pix_fmt
        return own if twin and choice.name in ("libx264", "libx265") else choice.pix_fmt

    def _muxer_options(self, source: av.container.InputContainer) -> dict[str, str]:
        info, container = self._info, self._plan.container
        if container == "mpegts":
            return {"mpegts_copyts": "1"}
        if container == "matroska":
            return {"fflags": "+bitexact"}  # else its identifiers are random, and no two files the same
        options = {"video_track_timescale": str(info.time_base.denominator)}
        starts_later = info.first_pts != 0 or any(stream.start_time for stream in source.streams)
        if starts_later and self._first is None:
            # A start above 0 is an empty edit, counted in the movie's own clock: milliseconds unless told otherwise.
            clocks = [info.time_base.denominator] + [s.time_base.denominator for s in source.streams if s.time_base]
            exact = math.lcm(*clocks)
            options["movie_timescale"] = str(exact if exact <= _MAX_TIMESCALE else info.time_base.denominator)
        if any("." in key for key in info.metadata):
            options["movflags"] = "use_metadata_tags"  # Keys beyond the classic ones, such as com.apple.quicktime.*
        return options

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """FFmpeg's picture for the frame: the decoder's own where possible, with only the changed planes written into it."""
        assert self._encoder is not None
        wanted = self._encoder.pix_fmt
        decoded = _decoded(frame)
        if decoded is not None and decoded.picture.format.name == wanted and planar_name(wanted) == frame.pix_fmt:
            if frame.planes is decoded.planes:
                return decoded.picture
            if not is_packed(wanted):
                _bring_up_to_date(decoded, frame)
                return decoded.picture
        choice = self._plan.encoder
        if choice.planar == frame.pix_fmt and choice.pix_fmt != choice.planar:
            return packed_picture_of(frame.planes, choice.pix_fmt, frame.width, frame.height, frame.color)
        name = wanted if wanted and planar_name(wanted) == frame.pix_fmt else frame.pix_fmt
        picture = picture_of(frame.planes, name, frame.width, frame.height, frame.color)
        return picture if name == wanted else picture.reformat(format=wanted, interpolation=_BICUBIC_ACCURATE)

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
            try:
                self._output.mux(packet)
            except (av.error.ArgumentError, av.error.InvalidDataError):
                self._remuxer.refused(packet)

    def _finish(self) -> None:
        if self._output is None:
            raise EncodeError(
                f"{self._plan.path}: no frame was written: none could be read of {self._info.path} in the chosen range. "
                "Check --start and --end against the clip's length."
            )
        assert self._film is not None
        assert self._remuxer is not None
        try:
            self._mux(self._film.encode(None))
            self._copy(None)
            self._output.close()
            sync_path(self._plan.partial_path)  # the disk holds it before the name says so
        except (FFmpegError, ValueError, OSError) as error:
            raise self._failure(error) from error

    def _release(self) -> None:
        self._stack.close()
        self._output = self._film = self._encoder = self._remuxer = None


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


def _decoded(frame: Frame) -> DecodedPicture | None:
    return next((item for item in frame.side_data if isinstance(item, DecodedPicture)), None)


def _bring_up_to_date(decoded: DecodedPicture, frame: Frame) -> None:
    """Write the frame's changed planes into the picture. Another frame over the same picture finds out by `planes`."""
    changed = [old is not new for old, new in zip(decoded.planes, frame.planes)]
    if any(changed):
        decoded.picture.make_writable()
        fill_picture(decoded.picture, frame.planes, changed)
    decoded.planes = frame.planes
