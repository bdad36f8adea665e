"""Our encoders: which pixel format each can hold, and how each is set up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from iconface_video.errors import EncodeError, UsageError
from iconface_video.settings import EncodeSettings
from iconface_video.types import ColorTags
from iconface_video.video.inventory import SideFacts
from iconface_video.video.planes import PlaneLayout, layout_of, packed_form, planar_name

ENCODERS = {"h264": "libx264", "hevc": "libx265", "prores": "prores_ks", "ffv1": "ffv1"}
_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc"}
_NVENC_PRESETS = {
    "ultrafast": "p1",
    "superfast": "p2",
    "veryfast": "p3",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
    "placebo": "p7",
}
"""NVENC's for x264's and x265's, by what they are for."""
_USUAL_SIZE = (256, 256)
"""px; every encoder takes it in each of its formats."""
_CHROMA_LOCATIONS = {1: "left", 2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
_FIELD_ORDERS = {"progressive": 1, "tt": 2, "bb": 3, "tb": 4, "bt": 5}

_X264_REPEATABLE = {"mbtree": "0"}
"""Macroblock trees read memory that x264 never wrote: with them two encodes of the same frames may differ by some bytes."""

_CODING_FIELDS = ("libx264", "libx264rgb", "prores_ks")
"""Encoders that have a way of their own to code two fields in a frame."""

_THREADS = {"libx264": 4, "libx264rgb": 4, "libx265": 3}
"""Frames encoded at once. The number alters the output, so it must not come from the machine; other encoders do not care."""


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder and the format in which it takes the frames."""

    name: str
    pix_fmt: str
    """What the encoder is given; may be a packed form of `planar`."""
    planar: str
    """The planar format that a decoder of the output will be read in."""

    def changes(self, source: str) -> bool:
        """Whether samples have to be converted (not only laid out anew)."""
        return self.planar != source


def choose_encoder(settings: EncodeSettings, source: str, size: tuple[int, int] = _USUAL_SIZE) -> EncoderChoice:
    """The encoder that is asked for and the format nearest to the planar format `source` that it takes in this size.

    size: (width, height) of the film in px; found out by opening the encoder.
    Raises EncodeError where this FFmpeg lacks the encoder, UsageError where the GPU that is asked for is not there or the
    encoder takes no pictures of this size.
    """
    name = ENCODERS[settings.codec] if settings.hardware == "off" else _on_gpu(settings.codec)
    choice = next((choice for choice in _choices(name, source) if _opens(choice, settings, size)), None)
    if choice is None:
        raise UsageError(f"{name} takes no pictures of {size[0]}x{size[1]} px.{_others(settings, source, size)}")
    return choice


def _choices(name: str, source: str) -> Iterator[EncoderChoice]:
    """What an encoder could be given, nearest first."""
    formats = _formats(name)
    if source in formats:
        yield EncoderChoice(name, source, source)
    packed = packed_form(source, formats)
    if packed is not None:
        yield EncoderChoice(name, packed, source)
    if name == "libx264" and source == "gbrp":
        yield EncoderChoice("libx264rgb", "rgb24", source)
    candidates = [pix_fmt for pix_fmt in formats if planar_name(pix_fmt) == pix_fmt and _is_kept(pix_fmt)]
    for nearest in sorted(candidates, key=lambda pix_fmt: _loss(layout_of(source), layout_of(pix_fmt))):
        yield EncoderChoice(name, nearest, nearest)


def trial_options(encoder: str) -> dict[str, str]:
    """For an encoder that is opened only to see whether it can be: x265 would tell the terminal all about it."""
    return {"x265-params": "log-level=none"} if encoder == "libx265" else {}


def _opens(choice: EncoderChoice, settings: EncodeSettings, size: tuple[int, int]) -> bool:
    try:
        context = CodecContext.create(choice.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = size
        context.pix_fmt, context.time_base = choice.pix_fmt, Fraction(1, 25)
        context.options = {**_options(choice.name, settings, choice.pix_fmt), **trial_options(choice.name)}
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _others(settings: EncodeSettings, source: str, size: tuple[int, int]) -> str:
    """ " Choose --codec ffv1." for the codecs that do take such pictures."""
    able = [
        codec for codec, name in ENCODERS.items() if any(_opens(choice, settings, size) for choice in _choices(name, source))
    ]
    return f" Choose another codec: {' or '.join(able)}." if able else ""


def _on_gpu(codec: str) -> str:
    """The GPU's encoder for `codec`, once it was seen to open: better now than after hours of restoring."""
    if codec not in _NVENC:
        raise UsageError(f"hardware is 'nvenc', which has no {codec}: choose h264 or hevc, or leave `hardware` out")
    name = _NVENC[codec]
    _formats(name)
    try:
        context = CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", Fraction(1, 25)
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{name}: no NVIDIA GPU that encodes can be used here ({reason}); leave `hardware` out to encode on the processor"
        ) from error
    return name


@cache
def _formats(encoder: str) -> tuple[str, ...]:
    try:
        formats = av.Codec(encoder, "w").video_formats
    except (av.error.FFmpegError, ValueError) as error:
        raise EncodeError(f"this FFmpeg (PyAV {av.__version__}) has no encoder '{encoder}'; choose another `codec`") from error
    return tuple(pix_fmt.name for pix_fmt in formats or ())


def _is_kept(pix_fmt: str) -> bool:
    try:
        layout_of(pix_fmt)
    except ValueError:
        return False
    return True


def _loss(source: PlaneLayout, target: PlaneLayout) -> tuple[int, ...]:
    """Sort key: what would be lost first, then what would be wasted."""
    source_shift, target_shift = source.chroma_shift, target.chroma_shift
    lost_chroma = 0 if source.is_gray else sum(max(0, t - s) for s, t in zip(source_shift, target_shift)) + 8 * target.is_gray
    return (
        max(0, source.depth - target.depth),
        lost_chroma,
        int(source.has_alpha and not target.has_alpha),
        int(source.is_rgb != target.is_rgb),
        int(target.is_gray != source.is_gray),
        max(0, target.depth - source.depth),
        sum(max(0, s - t) for s, t in zip(source_shift, target_shift)),
        int(target.has_alpha and not source.has_alpha),
    )


def set_up(
    context: VideoCodecContext,
    settings: EncodeSettings,
    color: ColorTags,
    field_order: str | None,
    side: SideFacts,
) -> None:
    """Tags and options of an encoder that is not open yet.

    `field_order` is given for interlaced output only. HDR10 metadata goes into the stream's own headers where the codec has them.
    """
    context.color_range = color.range
    context.colorspace = color.space
    context.color_primaries = color.primaries
    context.color_trc = color.transfer
    context.thread_count = settings.encoder_threads or _THREADS.get(context.name, 0)
    options = _options(context.name, settings, context.pix_fmt or "")
    hdr = _hdr_parameters(side)
    bottom_first = field_order in ("bb", "bt")
    if context.name in ("libx264", "libx264rgb"):
        parameters = {key: hdr[value] for key, value in (("mastering-display", "display"), ("cll", "light")) if value in hdr}
        if bottom_first and splits_into_fields(context.pix_fmt or "", context.height):
            parameters["bff"] = "1"  # x264's own default is top, which its parameter sets say before the first picture does
        options["x264-params"] = ":".join(f"{key}={value}" for key, value in {**_X264_REPEATABLE, **parameters}.items())
    elif context.name == "libx265":
        parameters = {key: hdr[value] for key, value in (("master-display", "display"), ("max-cll", "light")) if value in hdr}
        if field_order is not None:
            parameters["pic-struct"] = "4" if bottom_first else "3"  # a frame of two fields (H.265, table D.2)
        options |= {"a53cc": "1", "dolbyvision": "0"}
        options["x265-params"] = ":".join(f"{key}={value}" for key, value in {"log-level": "error", **parameters}.items())
    if color.chroma_location in _CHROMA_LOCATIONS:
        options["chroma_sample_location"] = _CHROMA_LOCATIONS[color.chroma_location]
    flags = int(context.flags) | int(av.codec.context.Flags.frame_duration)
    if field_order is not None:
        context.field_order = _FIELD_ORDERS.get(field_order, 2)
        if context.name in _CODING_FIELDS and splits_into_fields(context.pix_fmt or "", context.height):
            flags |= int(av.codec.context.Flags.interlaced_dct) | int(av.codec.context.Flags.interlaced_me)
    else:
        context.field_order = 1
    context.flags = flags
    context.options = {key: value for key, value in options.items() if value}


def splits_into_fields(pix_fmt: str, height: int) -> bool:
    """Whether each field has whole lines of chroma: x264 refuses pictures such as 720x486 at 4:2:0 otherwise. They are coded
    as frames then; the container says that they hold fields."""
    return height % (2 << layout_of(planar_name(pix_fmt)).chroma_shift[1]) == 0


def _options(encoder: str, settings: EncodeSettings, pix_fmt: str) -> dict[str, str]:
    if encoder in ("libx264", "libx264rgb", "libx265"):
        return {"crf": str(settings.crf), "preset": settings.preset}
    if encoder in _NVENC.values():
        return {"rc": "vbr", "cq": str(settings.crf), "preset": _NVENC_PRESETS.get(settings.preset, "p5")}
    if encoder == "prores_ks":
        return {"profile": "4444" if "444" in pix_fmt else "hq", "vendor": "apl0"}
    # FFV1 version 3, every frame a keyframe, checksummed slices: what archives ask for.
    return {"level": "3", "slicecrc": "1", "g": "1", "slices": "4"}


def _hdr_parameters(side: SideFacts) -> dict[str, str]:
    """HDR10 static metadata in x264's and x265's notation (SMPTE ST 2086, CTA-861.3)."""
    found: dict[str, str] = {}
    if side.mastering is not None:
        xy = [round(value * 50000) for value in side.mastering.primaries]
        least, most = (round(value * 10000) for value in (side.mastering.least, side.mastering.most))
        red, green, blue, white = (f"({xy[k]},{xy[k + 1]})" for k in (0, 2, 4, 6))
        found["display"] = f"G{green}B{blue}R{red}WP{white}L({most},{least})"
    if side.light is not None:
        found["light"] = "{},{}".format(*side.light)
    return found
