"""What the planned output (encoder x container) can carry of the film's side facts, of the streams that are copied and of the file as a
whole, and what is said before the work of the rest.

One rule a fact. What the rules promise is compared with the finished file, see `verify`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
from av.error import FFmpegError
from av.stream import Disposition, Stream

from iconface_video.types import ColorTags, VideoInfo
from iconface_video.video.encoders import EncoderChoice, splits_into_fields
from iconface_video.video.inventory import SideFacts, later_time_code
from iconface_video.video.planes import FULL_RANGE, layout_of
from iconface_video.video.remux import container_metadata

CONTAINER_NAMES = {"mp4": "MP4", "mov": "MOV", "matroska": "Matroska (MKV)", "mpegts": "MPEG-TS"}
_CODEC_NAMES = {
    "libx264": "H.264",
    "libx264rgb": "H.264",
    "libx265": "HEVC",
    "h264_nvenc": "H.264",
    "hevc_nvenc": "HEVC",
    "ffv1": "FFV1",
    "prores_ks": "ProRes",
}
_LOCATIONS = {1: "left", 2: "center", 3: "top-left", 4: "top", 5: "bottom-left", 6: "bottom"}
_WITH_CAPTIONS = ("libx264", "libx264rgb", "libx265", "h264_nvenc", "hevc_nvenc")
_WITH_HEADERS = _WITH_CAPTIONS
"""Encoders whose own stream says what its samples mean: range, matrix, chroma location, shape."""
_BASE_LAYERS = {
    True: "what is left is its base layer, which other players show, too",
    False: "its base layer alone has WRONG COLORS: convert it to HDR10 first",
}
_INTERLACED = ("tt", "bb", "tb", "bt")


@dataclass(frozen=True)
class Loss:
    """A fact that does not arrive."""

    fact: str
    """Name of the field in `SideFacts` or `VideoInfo`."""
    sentence: str
    """For the user, before the work."""


def is_limited_only(encoder: str) -> bool:
    """Whether all decoders take its codes for limited range."""
    return encoder == "prores_ks"


def film_losses(
    info: VideoInfo, side: SideFacts, encoder: EncoderChoice, container: str, target: ColorTags
) -> tuple[Loss, ...]:
    """target: color tags of what is written."""
    return (
        *_picture_losses(info, encoder, container, target),
        *_side_losses(side, encoder, container),
        *_container_losses(info, side, container),
    )


def _picture_losses(info: VideoInfo, encoder: EncoderChoice, container: str, target: ColorTags) -> Iterator[Loss]:
    codec, kind = _CODEC_NAMES[encoder.name], CONTAINER_NAMES[container]
    if info.color.range == FULL_RANGE and target.range != FULL_RANGE and not layout_of(info.pix_fmt).is_rgb:
        yield Loss(
            "color_range",
            f"Full-range samples are scaled to limited range: {codec} is always read as limited. `codec` ffv1, h264 and hevc keep them.",
        )
    before, after = layout_of(info.pix_fmt).chroma_shift, layout_of(encoder.planar).chroma_shift
    location = info.color.chroma_location
    if before == (1, 1) and location > 1 and encoder.planar != info.pix_fmt and after != (1, 1):
        yield Loss(
            "chroma_location",
            f"Chroma samples that lie {_LOCATIONS.get(location, 'elsewhere')} in the input are moved to where {codec} has them.",
        )
    elif before == after == (1, 1) and location > 1 and encoder.name not in _WITH_HEADERS and container != "matroska":
        yield Loss(
            "chroma_location",
            f"Where chroma samples lie ({_LOCATIONS.get(location, 'elsewhere')}) is not written: {codec} in {kind} has no place "
            "for it, and players take left. An output that ends in .mkv keeps it.",
        )
    if info.field_order in _INTERLACED and codec == "HEVC":
        yield Loss(
            "field_order",
            "The film is interlaced and stays so; HEVC marks it in a way that few players heed: "
            "`codec` h264, ffv1 and prores keep the mark.",
        )
    elif info.field_order in _INTERLACED and codec == "H.264" and not splits_into_fields(encoder.planar, info.height):
        yield Loss(
            "field_order",
            f"The film is interlaced and stays so; H.264 has no mark for it in pictures of {info.height} lines: "
            "`codec` ffv1 and prores keep the mark.",
        )
    if info.is_mirrored and container == "matroska":
        yield Loss(
            "display_matrix",
            f"The picture is mirrored for display, which {kind} says in a way that few players heed: "
            "an output that ends in .mp4 or .mov says it better.",
        )
    elif (info.rotation or info.is_mirrored) and container == "mpegts":
        how = f"turned by {info.rotation} degrees" if info.rotation else "mirrored"
        yield Loss("display_matrix", f"The picture is {how} for display, which {kind} cannot say.")


def _side_losses(side: SideFacts, encoder: EncoderChoice, container: str) -> Iterator[Loss]:
    codec, kind = _CODEC_NAMES[encoder.name], CONTAINER_NAMES[container]
    if side.captions and encoder.name not in _WITH_CAPTIONS:
        yield Loss(
            "captions",
            f"Closed captions inside the pictures are left out: {codec} has no place for them. `codec` h264 and hevc keep them.",
        )
    if side.mastering is not None and container == "mpegts" and encoder.name not in ("libx264", "libx265"):
        yield Loss("mastering", f"The HDR10 mastering display is left out: {codec} in {kind} has no place for it.")
    if side.light is not None and container == "mpegts" and encoder.name not in ("libx264", "libx265"):
        yield Loss("light", f"The HDR10 content light level is left out: {codec} in {kind} has no place for it.")
    if side.dolby_vision is not None:
        number = "" if side.dolby_vision.profile is None else f" (profile {side.dolby_vision.profile})"
        yield Loss(
            "dolby_vision", f"Dolby Vision{number} cannot be written: {_BASE_LAYERS[side.dolby_vision.compatible != 0]}."
        )
    if side.hdr10_plus:
        yield Loss("hdr10_plus", "HDR10+ metadata of single scenes cannot be written: the film becomes plain HDR10.")
    if side.hidden_alpha:
        yield Loss(
            "hidden_alpha",
            "The film's transparency (alpha_mode) cannot be decoded: the output is opaque, and no longer says that it is not.",
        )
    if side.others:
        yield Loss("others", f"Left out, as it cannot be written: {'; '.join(side.others)}.")


def is_countable(code: str | None, rate: Fraction | None) -> bool:
    """Whether MOV's and MP4's time code track can hold it: a count of frames, at most 255 a second."""
    return code is not None and rate is not None and rate <= 255 and later_time_code(code, Fraction(0), rate) is not None


def _container_losses(info: VideoInfo, side: SideFacts, container: str) -> Iterator[Loss]:
    kind = CONTAINER_NAMES[container]
    counts = container == "matroska" or is_countable(side.time_code, info.average_rate)
    if side.time_code is not None and (container == "mpegts" or not counts):
        yield Loss("time_code", f"The time code ({side.time_code}) is left out: {kind} has no place for it.")
    if side.reel is not None and (container in ("mpegts", "mp4") or not counts):
        yield Loss("reel", f"The reel name ({side.reel}) is left out: {kind} has no place for it.")
    if info.chapter_count and container == "mpegts":
        yield Loss("chapter_count", f"The {info.chapter_count} chapters are left out: {kind} has no place for them.")


_ROLES = {
    "mp4": Disposition.dub
    | Disposition.comment
    | Disposition.forced
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.captions
    | Disposition.descriptions,
    "mov": Disposition(0),
    "matroska": Disposition.dub
    | Disposition.original
    | Disposition.comment
    | Disposition.forced
    | Disposition.hearing_impaired
    | Disposition.visual_impaired,
    "mpegts": Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.clean_effects,
}
"""What each container gives back of a stream's disposition; tried with FFmpeg 8."""
_STRUCTURE = Disposition.default | Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
"""Not a role: which is played first, and what is a picture beside the film."""
_OF_THE_FILE = frozenset({"duration", "creation_time", "timecode", "reel_name", "software"})
"""Tags that are written in a place of their own, or that speak of the old file."""


def stream_notes(streams: list[Stream], container: str) -> Iterator[str]:
    """Sentences about the roles of copied streams."""
    for stream in streams:
        lost = stream.disposition & ~(_ROLES[container] | _STRUCTURE)
        if lost:
            names = ", ".join(str(role.name).replace("_", " ") for role in Disposition if role & lost)
            yield (
                f"That stream {stream.index} ({stream.type}) is marked '{names}' is left out: {CONTAINER_NAMES[container]} has no mark for it."
            )


def muxer_flags(metadata: dict[str, str]) -> dict[str, str]:
    """Options of MP4's and MOV's muxer for keys beyond the classic ones, such as com.apple.quicktime.*"""
    return {"movflags": "use_metadata_tags"} if any("." in key for key in metadata) else {}


def tag_notes(metadata: dict[str, str], container: str, options: dict[str, str]) -> Iterator[str]:
    """A sentence about tags of the file that do not come back from a file written with these options."""
    wanted = {key.lower(): value for key, value in container_metadata(metadata, {}).items() if value}
    wanted = {key: value for key, value in wanted.items() if key not in _OF_THE_FILE and not key.startswith("_")}
    if not wanted:
        return
    written = _written_tags(metadata, container, options)
    if written is None:
        return
    lost = [key for key, value in wanted.items() if key not in written and value not in written.values()]
    if lost:
        yield f"Left out, as {CONTAINER_NAMES[container]} has no place for these tags: {', '.join(sorted(lost))}."


def _written_tags(metadata: dict[str, str], container: str, options: dict[str, str]) -> dict[str, str] | None:
    """Found out by writing a file of one small picture into memory; None where that fails."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=container, container_options=options, metadata_errors="replace") as output:
            stream = output.add_stream("mpeg4", rate=25, width=16, height=16)
            output.metadata.update(container_metadata(metadata, {}))
            output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
            output.mux(stream.encode(None))
        with av.open(io.BytesIO(file.getvalue()), metadata_errors="replace") as container_read:
            return {key.lower(): value for key, value in container_read.metadata.items()}
    except (FFmpegError, ValueError):
        return None
