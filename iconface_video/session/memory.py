"""Room, looked at before the work: --max-memory (how long the queues may get and how many faces a model call may take, from the size
of a frame), and whether the disks can take what a run is about to write.

All is worked out beforehand from video and settings, never from what happens to be free: the number of faces in a model call
is part of the fingerprint.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iconface_video.errors import OutputError, UsageError
from iconface_video.restore.crop_store import gigabytes
from iconface_video.settings import RunSettings
from iconface_video.types import VideoInfo
from iconface_video.video.decode import DECODE_AHEAD_FRAMES
from iconface_video.video.planes import layout_of

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
PROGRAM_BYTES = 700 << 20
"""Python, the libraries, detector, identity encoder and embedded model, measured once loaded."""
FACE_BYTES_PER_PIXEL = 1000
"""About what the model works with, per px of a crop."""
LARGEST_CROP = 512
"""px, where the crop size follows the face."""
_COPIES = 2
"""A frame's decoded picture, and its planes once something is pasted."""
_ALWAYS_HELD = 13
"""Frames in decoder threads, shot detector, temporal filter and under the hands, whatever the queues hold."""
_OVERLAP_HOLDS = 8
"""Frames more when two streams are decoded at once, beside the queue."""
_ENCODER_HOLDS = {"h264": 16, "hevc": 32, "prores": 4, "ffv1": 2}
"""Frames in the encoder's threads and look-ahead."""


@dataclass(frozen=True)
class MemoryPlan:
    """What the limit leaves."""

    decode_ahead: int
    """Frames decoded ahead of model or encoder."""
    batch: int
    """Faces per model call."""
    notes: tuple[str, ...] = ()
    overlap: bool = True
    """Whether writing beside restoring fits in."""

    def apply(self, settings: RunSettings) -> RunSettings:
        """The settings with its batch."""
        return replace(settings, restore=replace(settings.restore, batch=self.batch))


def parse_size(text: str) -> int:
    """Bytes of "2G", "1500M", "1.5 GB". Raises UsageError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"max_memory is {text!r}, must be a size such as 2G or 1500M")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def plan_memory(settings: RunSettings, info: VideoInfo) -> MemoryPlan:
    """Raises UsageError where not even one frame and one face fit."""
    wish, restore = settings.engine.max_memory, settings.restore
    if wish is None:
        return MemoryPlan(DECODE_AHEAD_FRAMES, restore.batch)
    limit = parse_size(wish)
    frame = _COPIES * frame_bytes(info)
    face = FACE_BYTES_PER_PIXEL * (restore.crop_size or LARGEST_CROP) ** 2
    fixed = PROGRAM_BYTES + frame * (_ALWAYS_HELD + _ENCODER_HOLDS[settings.encode.codec])
    if limit < fixed + frame + face:
        raise UsageError(
            f"`max_memory` {wish} is too small for {info.path.name} ({info.width}x{info.height}): "
            f"it takes at least {-(-(fixed + frame + face) >> 20)}M."
        )
    overlap = limit >= fixed + frame * (_OVERLAP_HOLDS + 2 * DECODE_AHEAD_FRAMES) + face * restore.batch
    ahead = min(DECODE_AHEAD_FRAMES, (limit - fixed - face) // frame)
    batch = min(restore.batch, (limit - fixed - ahead * frame) // face)
    notes = () if batch == restore.batch else (f"`max_memory` {wish}: {batch} faces per model call instead of {restore.batch}",)
    return MemoryPlan(ahead, batch, notes, overlap)


def usual_memory(settings: RunSettings, info: VideoInfo) -> int:
    """About how many bytes a run takes: the limit, where there is one, else what the queues and a model call hold."""
    if settings.engine.max_memory is not None:
        return parse_size(settings.engine.max_memory)
    held = _ALWAYS_HELD + _ENCODER_HOLDS[settings.encode.codec] + _OVERLAP_HOLDS + 2 * DECODE_AHEAD_FRAMES
    face = FACE_BYTES_PER_PIXEL * (settings.restore.crop_size or LARGEST_CROP) ** 2
    return PROGRAM_BYTES + _COPIES * frame_bytes(info) * held + face * settings.restore.batch


def frame_bytes(info: VideoInfo) -> int:
    """Of one decoded picture."""
    layout = layout_of(info.pix_fmt)
    across, down = layout.chroma_shift
    chroma = 0.0 if layout.is_gray else 2 / (1 << (across + down))
    sample = 2 if layout.depth > 8 else 1
    return round(info.width * info.height * (1 + chroma + layout.has_alpha) * sample)


_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Need:
    """Something that is going to be written."""

    path: Path
    """File or folder; need not exist yet."""
    bytes: int
    """About how many."""
    what: str
    """ "the output"."""
    option: str = ""
    """By which the user puts it elsewhere; empty: that cannot be."""


def check_space(needs: Sequence[Need]) -> None:
    """Raises OutputError where a disk has too little room for all that is going to be written to it."""
    disks: dict[int, list[Need]] = {}
    for need in needs:
        disks.setdefault(os.stat(_existing(need.path)).st_dev, []).append(need)
    for together in disks.values():
        free = shutil.disk_usage(_existing(together[0].path)).free
        if free < sum(need.bytes for need in together) + _SPARE_BYTES:
            wanted = " and ".join(f"{gigabytes(need.bytes)} for {need.what}" for need in together)
            options = " or ".join(need.option for need in together if need.option)
            or_elsewhere = f", or choose another place with {options}" if options else ""
            raise OutputError(
                f"{together[0].path}: about {wanted} are needed, and {gigabytes(_SPARE_BYTES)} to spare, but only {gigabytes(free)} are free there. "
                f"Free some space{or_elsewhere}."
            )


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())
