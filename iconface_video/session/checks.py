"""What can be told to fail before anything is read: settings that this machine or the model cannot follow."""

from __future__ import annotations

import re
from importlib.util import find_spec

from iconface_video.errors import UsageError
from iconface_video.models.hub import check_source, model_index
from iconface_video.session.engines.engine import engine_kind, split_devices
from iconface_video.session.memory import parse_size
from iconface_video.settings import RestoreSettings, RunSettings

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_NEED_NO_LOOK = ("auto", "cpu")
_INPUT = "input"


def check_settings(settings: RunSettings) -> None:
    """Raises UsageError or CheckpointError for settings that cannot work. Loads torch only to look for a device that is named."""
    restore = settings.restore
    check_source(restore.model)
    if restore.start_sigma < 1 and restore.start_from != _INPUT:
        check_source(restore.start_from)
    _check_model(restore)
    _check_devices(settings)
    if settings.engine.max_memory is not None and parse_size(settings.engine.max_memory) <= 0:
        raise UsageError(f"max_memory is {settings.engine.max_memory!r}, must be more than nothing, such as 2G")


def _check_model(settings: RestoreSettings) -> None:
    """Crop size and number format, against what the model's own index says; one that is yet to be downloaded says nothing."""
    index = model_index(settings.model) or {}
    traits = index.get("traits")
    if not isinstance(traits, dict):
        return  # what is wrong with it is said, in full, when it is loaded
    if settings.vae_tiling and index.get("autoencoder") != "latent":
        raise UsageError(f"model '{settings.model}' has no latent autoencoder: leave `vae_tiling` out")
    multiple = traits.get("size_multiple", 16)
    if settings.crop_size is not None and settings.crop_size % multiple:
        low = max(multiple, settings.crop_size // multiple * multiple)
        raise UsageError(
            f"crop_size is {settings.crop_size}, but the model '{settings.model}' takes multiples of {multiple} px, "
            f"such as {low} or {low + multiple}"
        )
    dtypes = traits.get("dtypes", ("float32", "bfloat16"))
    if settings.dtype not in ("auto", *dtypes):
        raise UsageError(f"dtype is '{settings.dtype}', but the model '{settings.model}' was tested with {', '.join(dtypes)}")


def _check_devices(settings: RunSettings) -> None:
    device = settings.restore.device
    names = split_devices(device)
    wrong = next((name for name in names if not _DEVICE.fullmatch(name)), None)
    if wrong is not None:
        raise UsageError(f"device is '{wrong}', must be auto, cpu, cuda, cuda:N or mps, or several of these with commas")
    kind = engine_kind(settings)
    if kind == "local" and len(names) > 1:
        raise UsageError(f"device is '{device}', but the local engine uses one device; leave the engine out")
    if kind == "ray":
        if find_spec("ray") is None:
            raise UsageError("engine is 'ray', but Ray is not installed. Install it with: pip install 'iconface-video[ray]'")
        return  # the devices are the cluster's
    for name in names:
        if name not in _NEED_NO_LOOK:
            from iconface_video.models.load_options import pick_device

            pick_device(name)
