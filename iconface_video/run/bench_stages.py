"""How fast each stage is alone, on the frames of one clip, and how fast whole passes are beside FFmpeg's own transcode."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Job = Callable[[], int]
"""Does something once; returns how many (frames, faces) it did."""


@dataclass(frozen=True)
class Rate:
    """One way of several rounds."""

    what: str
    unit: str
    median: float
    """Units a second."""
    slowest: float
    fastest: float
    seconds: float
    """Median time of a round."""
    cpu_seconds: float
    """Processor time of a round (median), of this process and those that it started."""


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on."""

    processor: str
    cores: int
    """That this process may use."""
    threads: int
    """Of the model on the processor."""
    system: str
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        import torch

        from iconface_video.run.fingerprint import library_versions

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(_processor(), cores, torch.get_num_threads(), platform.platform(terse=True), library_versions())


def _processor() -> str:
    """The processor's own name where Linux tells it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measure(jobs: Mapping[str, tuple[str, Job]], rounds: int, warm_up: int = 1) -> list[Rate]:
    """Time each job `rounds` times, in turn, so that a busy machine disturbs all alike.

    jobs: what -> (unit, job). A job that did nothing (no face in the clip) is left out.
    """
    walls: dict[str, list[float]] = {what: [] for what in jobs}
    processors: dict[str, list[float]] = {what: [] for what in jobs}
    counts: dict[str, int] = {}
    for turn in range(warm_up + rounds):
        for what, (_, job) in jobs.items():
            begun, before = time.perf_counter(), _processor_seconds()
            counts[what] = job()
            if turn >= warm_up:
                walls[what].append(time.perf_counter() - begun)
                processors[what].append(_processor_seconds() - before)
    return [
        _rate(what, unit, counts[what], walls[what], processors[what]) for what, (unit, _) in jobs.items() if counts[what] > 0
    ]


def _processor_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _rate(what: str, unit: str, count: int, walls: Sequence[float], processors: Sequence[float]) -> Rate:
    middle = statistics.median(walls)
    return Rate(what, unit, count / middle, count / max(walls), count / min(walls), middle, statistics.median(processors))


def ffmpeg_transcode(clip: Path, out: Path, crf: int, preset: str, seconds: float | None, frames: int) -> Job | None:
    """The physical limit: the ffmpeg program's own transcode with the same encoder settings; None where it is not installed."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    length = [] if seconds is None else ["-t", f"{seconds:.6f}"]
    command = [program, "-v", "error", "-y", "-i", f"file:{clip}", *length, "-c:v", "libx264", "-crf", str(crf)]
    command += ["-preset", preset, "-c:a", "copy", f"file:{out}"]

    def transcode() -> int:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return frames

    return transcode
