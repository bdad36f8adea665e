"""What each container's muxer takes of the film and of the streams that are copied: found out by writing into memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from fractions import Fraction

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from iconface_video.types import VideoInfo
from iconface_video.video import boxes
from iconface_video.video.carrying import CONTAINER_NAMES
from iconface_video.video.encoders import EncoderChoice, trial_options
from iconface_video.video.probe import stream_codec
from iconface_video.video.remux import container_metadata, stream_metadata

_USUAL_FILM = (256, 256, Fraction(25), Fraction(1, 25))
"""Width, height, rate and time base that every container takes."""
_IN_TRANSPORT_STREAMS = frozenset((
    "h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "dirac", "cavs", "avs2", "avs3", "jpeg2000",
    "aac", "aac_latm", "ac3", "eac3", "mp1", "mp2", "mp3", "dts", "truehd", "opus", "s302m", "pcm_bluray",
    "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "hdmv_text_subtitle",
))  # fmt: skip
"""Codecs that have a stream type in MPEG-TS. The muxer takes all others, too, as private data that no player knows."""
_SELF_DESCRIBING = ("mp4", "mov")
"""Containers into which a data track's own description is put where the muxer has none for it, see `seal_mp4`."""


def refusals(
    container: str,
    info: VideoInfo,
    encoder: EncoderChoice,
    video_stream: VideoStream,
    streams: list[Stream],
    described: Mapping[int, str],
) -> Iterator[tuple[int, str]]:
    """(stream index or -1 for the film, reason) for all that the container cannot hold. described: as for `_holds`."""
    refusal = _film_refusal(container, info, encoder, video_stream)
    if refusal:
        yield -1, f"{CONTAINER_NAMES[container]} cannot hold {refusal}"
    for stream in streams:
        if not _holds(container, stream, described):
            kind = stream_codec(stream)
            kind = described.get(stream.id, kind) if kind.startswith("unknown") else kind
            yield stream.index, f"{CONTAINER_NAMES[container]} cannot hold stream {stream.index} ({kind} {stream.type})"


def _film_refusal(container: str, info: VideoInfo, encoder: EncoderChoice, video_stream: VideoStream) -> str | None:
    """What the muxer does not take, of the film as it will be written: found out by writing a header. None: it takes it all."""
    codec = av.Codec(encoder.name, "w").canonical_name
    if container == "mpegts" and codec not in _IN_TRANSPORT_STREAMS:
        return f"{encoder.name.removeprefix('lib')} video"
    if not _takes_film(container, encoder, _USUAL_FILM, {}, {}):
        return f"{encoder.name.removeprefix('lib')} video"
    real = (info.width, info.height, info.average_rate or _USUAL_FILM[2], info.time_base)
    tags = stream_metadata(video_stream.metadata, packets_kept=False)
    if _takes_film(container, encoder, real, container_metadata(info.metadata, {}), tags):
        return None
    time_code = " with a time code" if "timecode" in {**info.metadata, **tags} else ""
    return f"a film of {real[0]}x{real[1]} px at {float(real[2]):g} pictures a second{time_code}"


def _takes_film(
    container: str,
    encoder: EncoderChoice,
    video_stream: tuple[int, int, Fraction, Fraction],
    metadata: dict[str, str],
    tags: dict[str, str],
) -> bool:
    """film: width, height, rate, time base.  metadata, tags: of the container and of the film's stream."""
    try:
        with av.open(io.BytesIO(), "w", format=container, metadata_errors="replace") as output:
            stream = output.add_stream(encoder.name, rate=video_stream[2], options=trial_options(encoder.name))
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = video_stream[0], video_stream[1], encoder.pix_fmt
            stream.time_base = stream.codec_context.time_base = video_stream[3]
            output.metadata.update(metadata)
            stream.metadata.update(tags)
            output.start_encoding()
    except (FFmpegError, ValueError):
        return False
    return True


def _holds(container: str, stream: Stream, described: Mapping[int, str]) -> bool:
    """Whether the muxer takes the stream: found out by writing a header with it.

    described: kinds of the input's tracks whose descriptions are known, by id; the muxer need not know how to write those.
    """
    if container == "mp4" and stream_codec(stream).startswith("pcm_"):
        return False  # Newer FFmpeg does write it, but hardly any player reads it.
    if container == "mpegts" and stream.type != "data" and stream_codec(stream) not in _IN_TRANSPORT_STREAMS:
        return False
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=container) as output:
            copy = copy_stream(output, stream)
            output.start_encoding()
            if stream.type == "data":  # what is wrong with it shows when its table is written, at the end
                packet = Packet(bytes(4))
                packet.stream, packet.pts, packet.dts, packet.duration = copy, 0, 0, 1
                output.mux(packet)
    except (FFmpegError, ValueError):
        return False
    if stream.type != "data" or container not in _SELF_DESCRIBING or stream.id in described:
        return True
    # The muxer raises no error for data that it cannot describe: it writes a table of one entry that holds none.
    moov = next((box for box in boxes.parsed(file.getvalue()) if box.kind == b"moov"), None)
    return moov is not None and all(boxes.sample_entries(track) for track in moov.all(b"trak"))


def is_picture_beside(stream: Stream) -> bool:
    """Whether MP4's and MOV's muxer writes the stream as a tag (cover art), not as a track."""
    return bool(stream.disposition & Disposition.attached_pic)


def copy_stream(output: av.container.OutputContainer, stream: Stream) -> Stream:
    """Add a stream that takes the packets of `stream` as they are."""
    copy = output.add_stream_from_template(stream, opaque=True)
    copy.disposition = stream.disposition
    copy.metadata.update(stream.metadata)
    return copy


def video_stream_of(info: VideoInfo, source: av.container.InputContainer) -> VideoStream:
    """The film's stream in a newly opened source."""
    stream = source.streams[info.stream_index]
    assert isinstance(stream, VideoStream)
    return stream
