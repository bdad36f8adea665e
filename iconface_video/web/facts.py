"""What the page is told, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iconface_video.identity.people_summary import clip_seconds
from iconface_video.types import Survey, VideoInfo
from iconface_video.web.kept import KeptProject, size_of
from iconface_video.web.record import ClipRecord
from iconface_video.web.results import Result
from iconface_video.web.viewing import shown_size


def clip_facts(info: VideoInfo, clip: ClipRecord, found: Survey | None) -> dict[str, Any]:
    width, height = info.display_size
    length = info.duration_seconds
    if found is not None:
        length = clip_seconds(found)
    shown_width, shown_height = shown_size(width, height)
    return {
        "name": info.path.name,
        "bytes": clip.bytes,
        "width": width,
        "height": height,
        "shown_width": shown_width,
        "shown_height": shown_height,
        "seconds": length,
        "rate": None if info.average_rate is None else float(info.average_rate),
        "frames": info.frame_count_declared if found is None else found.frame_count,
        "is_interlaced": clip.is_interlaced,
        "has_sound": any(stream.kind == "audio" for stream in info.streams),
        "shots": None if found is None else len(found.shots),
        "not_tracked": {} if found is None else dict(found.skipped),
    }


def listed(project: KeptProject, made: Sequence[Result]) -> dict[str, Any]:
    """A project in the list. made: its results."""
    record, job = project.record, project.job
    return {
        "id": project.id,
        "name": record.name,
        "file": record.clip.name,
        "seconds": record.clip.seconds,
        "bytes": size_of(project.folder),
        "people": None if record.people is None else len(record.people),
        "harder": record.options.harder,
        "results": len(made),
        "is_in_vain": bool(made) and made[-1].is_in_vain,
        "failed": record.failed,
        "trouble": project.trouble(),
        "ended": None if job is None or job.is_active else job.status,
        "job": job.snapshot(project.queue.ahead_of(job)) if job is not None and job.is_active else None,
    }
