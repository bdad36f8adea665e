"""How fast each stage is alone, on the frames of one clip, whole passes beside FFmpeg's own transcode, and a model with and without
the cache of its references.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from iconface_video.models.context import ReferenceContext
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import Sampling
from iconface_video.types import EMBEDDING_SIZE

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

        from iconface_video.session.fingerprint import library_versions

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


@dataclass(frozen=True)
class Speed:
    """Faces a second over several rounds."""

    median: float
    slowest: float
    fastest: float

    @classmethod
    def of(cls, faces: int, seconds: Sequence[float]) -> Speed:
        return cls(faces / statistics.median(seconds), faces / max(seconds), faces / min(seconds))


@dataclass(frozen=True)
class ModelBench:
    """What `bench_model` measured."""

    model: str
    device: str
    number_format: str
    threads: int
    size: int
    """px."""
    batch: int
    steps: int
    references: int
    rounds: int
    cached: Speed
    """Keys and values of the references computed once, before the clock starts (where the model's references are causal)."""
    uncached: Speed | None
    """References' tokens sent through the transformer again for every face and step; None where the model caches nothing."""
    without_references: Speed

    @property
    def cache_gain(self) -> float | None:
        """How many times faster with cached references (medians)."""
        return None if self.uncached is None else self.cached.median / self.uncached.median


def bench_model(
    model: IConFaceModel,
    size: int | None = None,
    references: int = 3,
    batch: int = 4,
    steps: int | None = None,
    rounds: int = 5,
    warm_up: int = 1,
) -> ModelBench:
    """Restore random crops `rounds` times in each way, in turn, so that a busy machine disturbs all ways alike.

    size: px, the model's largest tested one when None; steps: the model's own when None.
    """
    size = size or model.traits.crop_sizes[-1]
    steps = steps or model.traits.default_steps
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    photos = [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(references)]
    anchors = rng.standard_normal((batch, EMBEDDING_SIZE), dtype=np.float32)
    noise = rng.standard_normal((batch, *model.noise_shape(size)), dtype=np.float32)
    kept = model.prepare_references(photos, size)

    def restore(context: ReferenceContext | None) -> None:
        model.restore_crops(crops, anchors, [context] * batch, noise, Sampling(steps))

    ways: dict[str, Callable[[], None]] = {"cached": lambda: restore(kept), "without": lambda: restore(None)}
    if kept is not None and kept.cache is not None:
        tokens_only = replace(kept, cache=None)
        ways["uncached"] = lambda: restore(tokens_only)
    seconds = {way: _timed(ways, way, model.device) for way in ways}
    for _ in range(warm_up - 1 + rounds):
        for way in ways:
            seconds[way] += _timed(ways, way, model.device)
    speeds = {way: Speed.of(batch, taken[warm_up:]) for way, taken in seconds.items()}
    return ModelBench(
        model=model.traits.name,
        device=str(model.device),
        number_format=str(model.compute_dtype or model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        size=size,
        batch=batch,
        steps=steps,
        references=references,
        rounds=rounds,
        cached=speeds["cached"],
        uncached=speeds.get("uncached"),
        without_references=speeds["without"],
    )


def _timed(ways: dict[str, Callable[[], None]], way: str, device: torch.device) -> list[float]:
    begun = time.perf_counter()
    ways[way]()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return [time.perf_counter() - begun]
