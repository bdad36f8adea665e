"""The finished output, opened again and compared with the plan: that the muxer raised no error does not mean that it wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from iconface_video.errors import IconFaceError
from iconface_video.types import VideoInfo
from iconface_video.video.color import is_full_range
from iconface_video.video.inventory import SideFacts, same_display, side_facts
from iconface_video.video.output_plan import OutputPlan
from iconface_video.video.planes import layout_of
from iconface_video.video.probe import first_look

_ASPECT_TOLERANCE = 1 / 500
_BT_601 = {5, 6}
"""Two codes of one matrix."""


@dataclass(frozen=True)
class Expected:
    """What the writer meant to write, beside the plan."""

    field_order: str | None
    """Of an interlaced output, else None."""
    time_code: str | None
    """Of its first frame."""
    chapters: int
    frames: int
    tracks: Mapping[str, int]
    """How many copied streams of each kind have packets; cover art is none."""


def missing_facts(path: Path, plan: OutputPlan, info: VideoInfo, expected: Expected) -> tuple[str, ...]:
    """Sentences about what a whole, unnamed output lacks of its plan; empty where all arrived."""
    try:
        found = first_look(path)
        side = side_facts(path, found.stream_index)
    except IconFaceError as error:
        return (f"the output cannot be read again: {error}",)
    wrong = [*_picture(found, plan, info, expected), *_side(side, plan, expected), *_streams(found, plan, expected)]
    return tuple(f"in the output {sentence}" for sentence in wrong)


def _picture(found: VideoInfo, plan: OutputPlan, info: VideoInfo, expected: Expected) -> Iterator[str]:
    if abs(found.sample_aspect_ratio / info.sample_aspect_ratio - 1) > _ASPECT_TOLERANCE:
        yield f"the pixels' shape is {found.sample_aspect_ratio}, not {info.sample_aspect_ratio}"
    turned = (found.rotation, found.is_mirrored) != (info.rotation, info.is_mirrored)
    if turned and "display_matrix" not in plan.lost:
        yield "the picture's turn for display is missing or another"
    layout = layout_of(found.pix_fmt)
    if is_full_range(found.color, layout) != is_full_range(plan.color, layout):
        yield "full and limited range are mixed up"
    names = {"space": "matrix", "primaries": "primaries", "transfer": "transfer"}
    for name, words in names.items():
        wanted, is_ = getattr(plan.color, name), getattr(found.color, name)
        specified = wanted not in (0, 2)
        is_same = is_ == wanted or (name == "space" and {is_, wanted} == _BT_601)
        if specified and not is_same and not layout.is_rgb:
            yield f"the color {words} is tagged {is_}, not {wanted}"
    wanted = plan.color.chroma_location
    is_420 = layout.chroma_shift == (1, 1)
    if is_420 and wanted > 1 and found.color.chroma_location != wanted and "chroma_location" not in plan.lost:
        yield "where the chroma samples lie is missing"
    order = expected.field_order
    is_same = order is None or found.field_order[0] == order[0]  # "tt" and "tb": top first
    if not is_same and "field_order" not in plan.lost:
        yield f"the field order is {found.field_order}, not {order}"


def _side(side: SideFacts, plan: OutputPlan, expected: Expected) -> Iterator[str]:
    wanted, lost = plan.side, plan.lost
    if not same_display(wanted.mastering, side.mastering) and "mastering" not in lost:
        yield "the HDR10 mastering display is missing or another"
    if wanted.light != side.light and "light" not in lost:
        yield "the HDR10 content light level is missing or another"
    if wanted.captions and not side.captions and "captions" not in lost:
        yield "the closed captions are missing"
    if expected.time_code != side.time_code and "time_code" not in lost:
        yield f"the time code is {side.time_code or 'missing'}, not {expected.time_code}"
    if wanted.reel != side.reel and "reel" not in lost:
        yield f"the reel name is {side.reel or 'missing'}, not {wanted.reel}"


def _streams(found: VideoInfo, plan: OutputPlan, expected: Expected) -> Iterator[str]:
    if found.chapter_count != expected.chapters and "chapter_count" not in plan.lost:
        yield f"there are {found.chapter_count} chapters, not {expected.chapters}"
    if plan.container in ("mp4", "mov") and found.frame_count_declared not in (None, expected.frames):
        yield f"there are {found.frame_count_declared} frames, not {expected.frames}"
    there = Counter(stream.kind for stream in found.streams)
    for kind, number in expected.tracks.items():
        if there[kind] < number:
            yield f"there are {there[kind]} {kind} streams, not {number}"
