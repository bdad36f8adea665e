"""The engine that the settings ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from iconface_video.errors import UsageError
from iconface_video.restore.model import FaceModel
from iconface_video.session.engines.devices import split_devices, worker_devices
from iconface_video.session.engines.engine import Check, Engine
from iconface_video.session.engines.job import LoadModel, load_restorer
from iconface_video.session.engines.local import LocalEngine
from iconface_video.session.engines.workers import WorkersEngine
from iconface_video.settings import RunSettings


@contextmanager
def open_engine(
    settings: RunSettings,
    model: FaceModel | None = None,
    load: LoadModel = load_restorer,
    check: Check = lambda: None,
) -> Iterator[Engine]:
    """An engine that may restore several clips with the same restore settings; its workers leave with the block.

    model: one that is loaded already stays in this process, so only the local engine can use it.
    Raises UsageError, CheckpointError.
    """
    engine = make_engine(settings, model, load, check)
    try:
        yield engine
    finally:
        engine.close()


def engine_kind(settings: RunSettings) -> str:
    """ "local", "workers" or "ray". Raises UsageError for a wrong device."""
    wish = settings.engine
    if wish.engine != "auto":
        return wish.engine
    several = len(split_devices(settings.restore.device)) > 1 or (wish.workers or 1) > 1
    return "workers" if several else "local"


def make_engine(
    settings: RunSettings,
    model: FaceModel | None = None,
    load: LoadModel = load_restorer,
    check: Check = lambda: None,
) -> Engine:
    """As `open_engine`; the caller closes it."""
    wish, restore = settings.engine, settings.restore
    kind = "local" if model is not None and wish.engine == "auto" else engine_kind(settings)
    if model is not None and kind != "local":
        raise UsageError(f"engine is '{kind}', but the model is loaded in this process already: leave the model to the engine")
    if kind == "local":
        if len(split_devices(restore.device)) > 1:
            raise UsageError(f"device is '{restore.device}', but the local engine uses one device; leave `engine` out")
        if wish.threads:
            _set_threads(wish.threads)
        return LocalEngine(model or load(restore))
    if kind == "workers":
        places = worker_devices(restore.device, wish.workers, wish.threads)
        return WorkersEngine(restore, places, wish.threads, load, check)
    try:
        from iconface_video.session.engines.ray_engine import RayEngine
    except ImportError as error:
        raise UsageError(
            f"engine is 'ray', but Ray cannot be imported ({error}). Install it with: pip install 'iconface-video[ray]'"
        ) from None
    return RayEngine(restore, wish.ray_address, wish.workers, wish.threads, load, check)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
