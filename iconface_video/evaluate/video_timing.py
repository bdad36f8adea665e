"""Whether sound and picture of a file still begin and end together, by the packets of its container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iconface_video.video.container import open_input


@dataclass(frozen=True)
class StreamTimes:
    """When a file's first picture and sound begin and its last ones end, seconds; None where it has no sound."""

    video: tuple[float, float]
    audio: tuple[float, float] | None


def stream_times(path: Path) -> StreamTimes:
    """Reads all packets, decodes none. Raises VideoOpenError."""
    with open_input(path) as source:
        chosen = [*source.streams.video[:1], *source.streams.audio[:1]]
        edges: dict[int, tuple[float, float]] = {}
        for packet in source.demux(chosen):
            if packet.pts is None:
                continue
            begin = float(packet.pts * packet.time_base)
            end = begin + float((packet.duration or 0) * packet.time_base)
            first, last = edges.get(packet.stream_index, (begin, end))
            edges[packet.stream_index] = min(first, begin), max(last, end)
        audio = edges.get(chosen[1].index) if len(chosen) > 1 else None
        return StreamTimes(edges.get(chosen[0].index, (0.0, 0.0)), audio)


def sound_offsets_ms(input: Path, output: Path) -> tuple[float, float] | None:
    """By how much the sound begins and ends later against the picture than in the input, ms; None without sound.

    A sound that was lost on the way is infinitely late.
    """
    before, after = stream_times(input), stream_times(output)
    if before.audio is None:
        return None
    if after.audio is None:
        return float("inf"), float("inf")
    lags = [[1000 * (times.audio[i] - times.video[i]) for i in range(2)] for times in (before, after) if times.audio]
    return lags[1][0] - lags[0][0], lags[1][1] - lags[0][1]
