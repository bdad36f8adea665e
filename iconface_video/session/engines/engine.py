"""What restores segments of a clip: the interface, the engine of this process, which engine settings ask for, on which devices."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle, islice
from typing import Protocol

from iconface_video.errors import UsageError
from iconface_video.restore.face_model import FaceModel, ModelFacts
from iconface_video.restore.timeline import OnSegment, TimelineCounts, restore_timeline
from iconface_video.session.engines.job import Check, Report, RestoreWork, WorkerSetup, load_restorer, pin_threads
from iconface_video.session.engines.processes import WorkersEngine
from iconface_video.settings import RunSettings


class Engine(Protocol):
    """Restores segments, here or elsewhere. The crops that it stores are the same to the bit whichever engine made them, on
    the same type of device."""

    name: str
    """"local", "workers", "ray"."""

    @property
    def model(self) -> FaceModel | ModelFacts:
        """What restores: name, crop sizes, noise shapes, identity. Raises CheckpointError, UsageError, WorkerError."""
        ...

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        """All segments into the crop store.

        on_segment: called for each as soon as it stands there, in any order.  report: faces done, of these segments alone.
        Raises what `check` raises, and then no worker is at work any more; WorkerError for a segment that could not be
        restored; what restoring itself raises.
        """
        ...

    def close(self) -> None:
        """Let workers go."""
        ...


class LocalEngine:
    """One process: the model is here, one stream goes through the timeline."""

    name = "local"

    def __init__(self, model: FaceModel) -> None:
        self.model = model

    def restore(self, work: RestoreWork, on_segment: OnSegment, report: Report, check: Check) -> TimelineCounts:
        context, frames = work.context(self.model), work.clip.frames
        return restore_timeline(context, frames, report, check, segments=work.segments, on_segment=on_segment)

    def close(self) -> None:
        """Nothing to release."""


def engine_kind(settings: RunSettings) -> str:
    """ "local", "workers" or "ray". Raises UsageError for a wrong device."""
    wish = settings.engine
    if wish.engine != "auto":
        return wish.engine
    several = len(split_devices(settings.restore.device)) > 1 or (wish.workers or 1) > 1
    return "workers" if several else "local"


def make_engine(settings: RunSettings, model: FaceModel | None = None, check: Check = lambda: None) -> Engine:
    """An engine that may restore several clips with the same restore settings; the caller closes it (`contextlib.closing`).

    model: one that is loaded already stays in this process, so only the local engine can use it.  check: asked while waiting
    for a first worker.  Raises UsageError, CheckpointError.
    """
    wish, restore = settings.engine, settings.restore
    kind = "local" if model is not None and wish.engine == "auto" else engine_kind(settings)
    if model is not None and kind != "local":
        raise UsageError(f"engine is '{kind}', but the model is loaded in this process already: leave the model to the engine")
    if kind == "local":
        if len(split_devices(restore.device)) > 1:
            raise UsageError(f"device is '{restore.device}', but the local engine uses one device; leave `engine` out")
        pin_threads(wish.threads)
        return LocalEngine(model or load_restorer(restore))
    setup = WorkerSetup(restore, wish.threads)
    if kind == "workers":
        return WorkersEngine(setup, worker_devices(restore.device, wish.workers, wish.threads), check)
    try:
        from iconface_video.session.engines.ray_engine import RayEngine
    except ImportError as error:
        raise UsageError(
            f"engine is 'ray', but Ray cannot be imported ({error}). Install it with: pip install 'iconface-video[ray]'"
        ) from None
    return RayEngine(setup, wish.ray_address, wish.workers, check)


def split_devices(device: str) -> tuple[str, ...]:
    """ "cuda:0,cuda:1" -> both. Raises UsageError for an empty name, or for devices of several types."""
    names = tuple(name.strip() for name in device.split(","))
    if not all(names):
        raise UsageError(f"device is '{device}', must be auto, cpu, cuda, cuda:N or mps, or several of these with commas")
    kinds = {name.partition(":")[0] for name in names}
    if len(kinds) > 1:
        raise UsageError(f"device is '{device}': devices of different types give different faces; name only one type")
    return names


def worker_devices(device: str, workers: int | None, threads: int = 0, gpus: Callable[[], int] | None = None) -> list[str]:
    """One device for each worker. Several may share one.

    workers: None: one for each GPU; on a CPU as many as have cores for so many threads.  threads: of each worker; 0: all
    cores.  gpus: how many CUDA devices there are; asked of torch by default.
    """
    names = split_devices(device)
    count = gpus or _cuda_devices
    if names == ("auto",):
        names = ("cuda",) if count() else ("cpu",)
    if names == ("cuda",):
        names = tuple(f"cuda:{index}" for index in range(max(1, count())))
    if workers is None:
        workers = max(1, cores() // (threads or cores())) if names == ("cpu",) else len(names)
    return list(islice(cycle(names), workers))


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()
