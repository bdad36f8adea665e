"""Opening a file with FFmpeg: which demuxers may be used, which stream is the film (never cover art, which each container keeps in its
own way), up to which size, and what is said when there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from iconface_video.errors import InputError, VideoOpenError
from iconface_video.video.boxes import read_moov, sample_entries
from iconface_video.video.pictures import is_heic

MAX_PIXELS = 8192 * 8192
"""Of one picture. 8K film is half of this; beyond it, a few bytes of a damaged header could claim gigabytes."""
MAX_STREAMS = 128
"""In one file. FFmpeg opens a decoder for each to look at it."""

_FILMS = (
    "3g2,3gp,mov,mp4,m4a,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h261,h263,h264,hevc,vvc,evc,av1,obu,ivf,vc1,vc1test,cavsvideo,"
    "avs2,avs3,dirac,dnxhd,mjpeg,mjpeg_2000,smjpeg,dv,mxf,gxf,lxf,asf,asf_o,wtv,flv,live_flv,kux,swf,ogg,nut,nuv,nsv,rm,vivo,"
    "yuv4mpegpipe,dhav,ty,pva,pmp,psxstr,thp,moflex,mods,roq,smk,bink,flic,film_cpk,filmstrip,idcin,ea,4xm,r3d,cine,mlv,mtv,mv,"
    "simbiosis_imx,apv,ipu,mvi,dxa,vmd,wc3movie,xmv,yop,gif,apng,jpegxl_anim"
)
_SOUNDS = "aac,amr,ac3,eac3,aiff,ape,au,caf,dts,dtshd,flac,mp3,oma,tak,truehd,mlp,tta,voc,w64,wav,wv,xwma,mpc,mpc8"
_PICTURES = (
    "bmp_pipe,dds_pipe,dpx_pipe,exr_pipe,gif_pipe,hdr_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,jpegxs_pipe,pam_pipe,"
    "pbm_pipe,pcx_pipe,pgm_pipe,pgmyuv_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,sgi_pipe,sunrast_pipe,tiff_pipe,webp_pipe"
)

INPUT_OPTIONS = {
    # Sounds and pictures are opened so that the refusal can name them. Left out on purpose is everything that opens other
    # files or the network by itself: playlists and manifests (hls, concat, dash, sdp, rtsp, image2 ...), devices, lavfi.
    "format_whitelist": ",".join((_FILMS, _SOUNDS, _PICTURES)),
    "protocol_whitelist": "file",
    "max_streams": str(MAX_STREAMS),
    "max_pixels": str(MAX_PIXELS),
}
"""For `av.open` of an input."""

DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
"""For each decoder of pictures."""


def local_url(path: Path | str) -> str:
    """What FFmpeg is given for a path: it is always taken for a local file, never for a URL, whatever its name begins with."""
    return "file:" + os.fspath(path)


_IMAGE_FORMATS = {"ico"}
_FOR_PHOTOS = "Name a video file; `iconface-video image` restores a photo, and photos of a person are given as references."
_PLAYLIST_STARTS = ("#EXTM3U", "ffconcat", "file ", "file\t", "v=0", "[playlist]", "[Reference]", "<MPD", "<?xml", "<asx")
"""How lists of other files begin: HLS, FFmpeg's concat scripts, SDP, PLS, DASH ..."""


def check_input_file(path: Path) -> None:
    """InputError, with what to do, unless `path` is a readable file that is not empty."""
    try:
        if not path.exists():
            raise InputError(f"{path}: there is no such file. Check the path and its spelling.")
        if path.is_dir():
            raise InputError(f"{path}: this is a directory, not a video file. Name the file inside it.")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file but a pipe, socket or device. Name a video file.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    if empty:
        raise InputError(f"{path}: the file is empty (0 bytes). Copy or record it again.")


@contextmanager
def open_input(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a video file for reading; close it at the end.

    Raises InputError (missing, empty, directory) or VideoOpenError (not a video, damaged, an image, text).
    """
    check_input_file(path)
    try:
        container = av.open(local_url(path), metadata_errors="replace", options=INPUT_OPTIONS)
    except (FFmpegError, ValueError) as error:
        raise VideoOpenError(f"{path}: {_why_not_opened(path)} (FFmpeg: {_reason(error)}).") from error
    try:
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = dict(DECODER_OPTIONS)
        _refuse_pictures_and_text(path, container)
        yield container
    finally:
        container.close()


def demuxed(container: av.container.InputContainer, *streams: Stream) -> Iterator[Packet]:
    """Packets of these streams (none given: of all) as PyAV's `demux` hands them out.

    Streams that turn up only on the way (another recording was appended) make PyAV 18 read past its list of streams at the
    end of the file, behind the last packet of those that were asked for; here that is the end.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            return
        yield packet


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _why_not_opened(path: Path) -> str:
    """The likeliest reason, from the file's first bytes."""
    with path.open("rb") as file:
        head = file.read(4096)
    if is_heic(head):
        return f"this is a photo (HEIC), not a video. {_FOR_PHOTOS[:-1]}"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return (
            "this MP4/MOV is cut short or damaged: its index (moov) is missing or broken. "
            "Copy it again from the source, or repair it with a tool such as untrunc"
        )
    if _looks_like_text(head):
        if head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n").startswith(_PLAYLIST_STARTS):
            return "this is a list of other files (a playlist or manifest), not a video. Name the video itself"
        return "this is a text file, not a video. Name a video file"
    return "not a video that FFmpeg can read, or damaged at its beginning. Check that it plays elsewhere"


def _looks_like_text(head: bytes) -> bool:
    try:
        head[: len(head) - 3].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _refuse_pictures_and_text(path: Path, container: av.container.InputContainer) -> None:
    name = container.format.name
    with path.open("rb") as file:
        if is_heic(file.read(48)):
            raise VideoOpenError(f"{path}: this is a photo (HEIC), not a video. {_FOR_PHOTOS}")
    if not container.streams.video and not container.streams.audio and container.streams:
        raise VideoOpenError(f"{path}: this is a text file, not a video. Name a video file.")
    if name.endswith("_pipe") or name in _IMAGE_FORMATS:
        if _is_animated_webp(path):
            raise VideoOpenError(f"{path}: this is an animated WebP, which FFmpeg cannot decode. Convert it to a video first.")
        raise VideoOpenError(f"{path}: this is a single image ({name.removesuffix('_pipe')}), not a video. {_FOR_PHOTOS}")


def _is_animated_webp(path: Path) -> bool:
    """By the animation flag of the extended header."""
    with path.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def is_encrypted(path: Path) -> bool:
    """Whether an MP4 or MOV says that its film is encrypted (Common Encryption, ISO/IEC 23001-7: sample entry "encv")."""
    index = read_moov(path)
    tracks = [] if index is None else index.all(b"trak")
    return any(entry.kind == b"encv" for track in tracks for entry in sample_entries(track))


def chosen_video_stream(path: Path, container: av.container.InputContainer) -> VideoStream:
    """The video stream to restore: FFmpeg's choice, never cover art or a thumbnail. VideoOpenError where there is none."""
    video_streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not video_streams:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        cover = " (its only picture is cover art)" if container.streams.video else ""
        raise VideoOpenError(f"{path}: no video stream{cover}; the file holds {held}. Name a file with moving pictures.")
    best = container.streams.best("video")
    chosen = next((stream for stream in video_streams if best is not None and stream.index == best.index), video_streams[0])
    if chosen.codec_context is None:
        raise VideoOpenError(f"{path}: FFmpeg has no decoder for its video stream. Convert it to a common codec first.")
    check_picture_size(path, chosen.codec_context.width, chosen.codec_context.height)
    return chosen


def check_picture_size(path: Path, width: int, height: int) -> None:
    """VideoOpenError for a size that no film has; nothing of that size is allocated before."""
    if width * height > MAX_PIXELS:
        raise VideoOpenError(
            f"{path}: its header claims pictures of {width}x{height} px; at most {MAX_PIXELS // 10**6} megapixels are read. "
            "The file is damaged, or has to be made smaller first."
        )


def is_cover(stream: VideoStream) -> bool:
    """Whether the "video" is a still picture that goes with the file: cover art, a thumbnail track."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


_KINDS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png"), "bmp": ("cover.bmp", "image/bmp")}
"""File name and media type in Matroska, by codec; the names are those that its specification wants of covers."""


@dataclass(frozen=True)
class Cover:
    """As Matroska attaches it; its muxer would make a film of one picture of a copied stream."""

    name: str
    media_type: str
    data: bytes


def is_attachable(stream: Stream) -> bool:
    """Whether it is a picture of a kind that Matroska's players know."""
    return stream.codec_context is not None and stream.codec_context.name in _KINDS


def read_cover(path: Path, stream: Stream) -> Cover | None:
    """The picture of a stream of the file; None where it has none."""
    assert stream.codec_context is not None
    name, media_type = _KINDS[stream.codec_context.name]
    with open_input(path) as container:
        for packet in demuxed(container, container.streams[stream.index]):
            if packet.size:
                return Cover(stream.metadata.get("filename", name), media_type, bytes(packet))
    return None
