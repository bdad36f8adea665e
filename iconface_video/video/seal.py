"""Completing a finished output with what FFmpeg's muxers cannot be told through PyAV, before it gets its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from av.stream import Stream

from iconface_video.types import VideoInfo
from iconface_video.video.holding import is_picture_beside
from iconface_video.video.inventory import SideFacts
from iconface_video.video.output_plan import OutputPlan
from iconface_video.video.seal_matroska import seal_matroska
from iconface_video.video.seal_mp4 import Mp4Seal, described_tracks, seal_mp4

_TEXT = "mov_text"


@dataclass(frozen=True)
class Sealed:
    """What was written, as the writer knows it."""

    film: int
    """Index of the film's stream in the output."""
    film_track: int
    """Its place among the tracks: attachments are none."""
    source: Stream
    """The film's stream in the input."""
    pairs: tuple[tuple[Stream, Stream], ...]
    """Each copied stream with its stream in the output."""
    packets: Mapping[int, int]
    """Output stream -> packets that the muxer took."""
    is_whole: bool
    """The film was not trimmed."""


def seal(plan: OutputPlan, info: VideoInfo, written: Sealed) -> None:
    """Change the closed partial file in place. Raises ValueError where its header is not as expected; it is then as it was."""
    side = replace(
        plan.side,
        mastering=None if "mastering" in plan.lost else plan.side.mastering,
        light=None if "light" in plan.lost else plan.side.light,
    )
    if plan.container == "matroska":
        size = (info.width, info.height)
        seal_matroska(plan.partial_path, written.film_track, size, info.sample_aspect_ratio, side)
    elif plan.container in ("mp4", "mov"):
        seal_mp4(plan.partial_path, _mp4_seal(plan, info, side, written))


def _mp4_seal(plan: OutputPlan, info: VideoInfo, side: SideFacts, written: Sealed) -> Mp4Seal:
    """Tracks are numbered as the muxer writes them: those without a packet, and pictures beside the film, have none."""
    there = [
        written.film,
        *(new.index for old, new in written.pairs if written.packets.get(new.index) and not is_picture_beside(old)),
    ]
    number = {index: place for place, index in enumerate(sorted(there))}
    inputs = described_tracks(info.path) if "mov" in info.container.split(",") else {}
    seal_of = Mp4Seal(number[written.film], plan.color if plan.encoder.name == "ffv1" else None, side)
    tracks = [(written.source, written.film), *((old, new.index) for old, new in written.pairs)]
    for old, index in tracks:
        if index not in number:
            continue
        place = number[index]
        seal_of.ids[old.id] = place
        if old.type == "data" and old.id in inputs:
            seal_of.described[place] = inputs[old.id]
        if old.codec_context is not None and old.codec_context.name == _TEXT:
            packets = written.packets[index]
            # FFmpeg's own files end with an empty title of no duration, which its demuxer does not give back.
            seal_of.titles[place] = packets + (written.is_whole and old.frames == packets + 1)
        if plan.container == "mov" and old.language is not None:
            seal_of.languages[place] = old.language
    return seal_of
