"""Real compression: frames go through an encoder and its decoder as they come, H.264, MPEG-2 or DV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from iconface_video.degrade.clip_effects import ClipFormat, Frames
from iconface_video.errors import EncodeError, UsageError
from iconface_video.types import UInt8

CodecName = Literal["h264", "mpeg2", "dv"]

_ENCODERS = {"h264": "libx264", "mpeg2": "mpeg2video", "dv": "dvvideo"}
_DECODERS = {"h264": "h264", "mpeg2": "mpeg2video", "dv": "dvvideo"}
_DV_SIZE = (720, 576)
_LEAST_BITS = 24_000
"""Per second: below, a small picture drowns in headers."""


@dataclass(frozen=True)
class Codec:
    """Compression of the whole clip. `bits_per_pixel` sets the rate of h264 and mpeg2 (0.03 is poor, 0.2 good); DV has its fixed one,
    at 720x576, to which the picture is scaled and back.
    """

    name: CodecName = "h264"
    bits_per_pixel: float = 0.06
    keyframe_seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.name not in _ENCODERS:
            raise UsageError(f"codec is {self.name!r}, must be one of {', '.join(_ENCODERS)}")
        if not 0.002 <= self.bits_per_pixel <= 10:
            raise UsageError(f"bits_per_pixel is {self.bits_per_pixel}, must be within [0.002, 10]")

    def apply(self, frames: Frames, clip: ClipFormat, rng: np.random.Generator) -> Frames:
        size = _DV_SIZE if self.name == "dv" else (clip.width + clip.width % 2, clip.height + clip.height % 2)
        encoder, decoder = self._encoder(size, clip), _context(_DECODERS[self.name], "r")
        decoder.thread_type, decoder.thread_count = "SLICE", 1
        received = 0
        try:
            for picture in _through(frames, encoder, decoder, size):
                received += 1
                yield _back(picture, clip, size)
        except FFmpegError as error:
            raise EncodeError(
                f"{self.name} at {size[0]}x{size[1]} px: the codec failed after {received} frames ({error})"
            ) from error

    def _encoder(self, size: tuple[int, int], clip: ClipFormat) -> VideoCodecContext:
        encoder = _context(_ENCODERS[self.name], "w")
        rate = Fraction(25) if self.name == "dv" else Fraction(clip.frame_rate).limit_denominator(1001)
        if self.name == "mpeg2":
            rate = Fraction(25)  # it knows only a few rates; time plays no part here
        encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
        encoder.framerate, encoder.time_base, encoder.thread_count = rate, 1 / rate, 1
        if self.name != "dv":
            encoder.bit_rate = max(_LEAST_BITS, int(self.bits_per_pixel * size[0] * size[1] * float(rate)))
            encoder.gop_size = max(1, round(self.keyframe_seconds * float(rate)))
            encoder.options = {"maxrate": str(encoder.bit_rate), "bufsize": str(encoder.bit_rate)}
        if self.name == "h264":
            # Macroblock-tree rate control reads memory that x264 never wrote (shown with MALLOC_PERTURB_): without it, the same
            # frames give the same bytes. Threads would make the result depend on the machine.
            parameters = "mbtree=0:threads=1:sliced-threads=0"
            encoder.options = {**encoder.options, "preset": "veryfast", "rc-lookahead": "10", "x264-params": parameters}
        return encoder


def _context(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    try:
        context = av.CodecContext.create(name, mode)
    except (FFmpegError, ValueError) as error:
        raise EncodeError(f"this FFmpeg build has no codec '{name}' ({error})") from error
    if not isinstance(context, VideoCodecContext):
        raise EncodeError(f"'{name}' is no video codec")
    return context


def _through(
    frames: Frames, encoder: VideoCodecContext, decoder: VideoCodecContext, size: tuple[int, int]
) -> Iterator[av.VideoFrame]:
    """Decoded pictures, one for each frame."""
    for number, frame in enumerate(frames):
        scaled = frame if frame.shape[1::-1] == size else _scaled(frame, size)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scaled), format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = number, encoder.time_base
        for packet in encoder.encode(picture):
            yield from decoder.decode(packet)
    for packet in encoder.encode(None):
        yield from decoder.decode(packet)
    yield from decoder.decode(None)


def _scaled(frame: UInt8, size: tuple[int, int]) -> UInt8:
    """Enlarged by one repeated row or column to even sides, or scaled to a fixed format."""
    width, height = size
    if 0 <= width - frame.shape[1] <= 1 and 0 <= height - frame.shape[0] <= 1:
        return np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), mode="edge")
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _back(picture: av.VideoFrame, clip: ClipFormat, size: tuple[int, int]) -> UInt8:
    rgb = picture.to_ndarray(format="rgb24")
    if 0 <= size[0] - clip.width <= 1 and 0 <= size[1] - clip.height <= 1:
        return np.ascontiguousarray(rgb[: clip.height, : clip.width])
    return np.asarray(cv2.resize(rgb, (clip.width, clip.height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
