"""What a container cannot say of the streams that are copied and of the file as a whole: roles and tags, told before the work."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import av.container
from av.error import FFmpegError
from av.stream import Disposition, Stream

from iconface_video.video.carrying import CONTAINER_NAMES
from iconface_video.video.remux import container_metadata

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
