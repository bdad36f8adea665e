"""Which devices the workers get."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from iconface_video.errors import UsageError


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


def slot_names(devices: Sequence[str]) -> list[str]:
    """A name for each worker: its device, numbered where several share one."""
    numbers = [devices[: index + 1].count(device) for index, device in enumerate(devices)]
    return [f"{name} ({number})" if devices.count(name) > 1 else name for name, number in zip(devices, numbers)]


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()
