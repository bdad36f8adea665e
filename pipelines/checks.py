"""What can be told to fail before anything is read: settings that this machine or the model cannot follow, and a whole dry run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from iconface_video.errors import ReferencePhotoError, UsageError
from iconface_video.identity.references import photos_in, read_photo, why_none
from iconface_video.models.hub import check_source, model_index
from iconface_video.pipelines.finding import ReferenceChoice
from iconface_video.pipelines.people import check_people
from iconface_video.session.clip import Clip
from iconface_video.session.engines.engine import engine_kind, split_devices
from iconface_video.session.memory import parse_size, plan_memory
from iconface_video.session.work import WorkFolder, work_folder_of
from iconface_video.settings import RestoreSettings, RunSettings
from iconface_video.video.output_plan import OutputPlan, plan_output
from iconface_video.video.reader import VideoReader

if TYPE_CHECKING:
    from iconface_video.pipelines.estimate import Estimate

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


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    output: OutputPlan
    notes: tuple[str, ...]
    estimate: Estimate | None
    """None: the file does not say how long it is."""


def dry_run(
    input: Path,
    output: Path | None,
    *,
    settings: RunSettings,
    references: ReferenceChoice,
    start: Fraction | None = None,
    end: Fraction | None = None,
    force: bool = False,
    work: Path | None = None,
) -> DryRun:
    """All that a run checks, without its work: settings, input, range, output, memory, work folder, photos and people.yaml.

    Raises what the run would raise. Nothing is written.
    """
    check_settings(settings)
    with VideoReader(input, settings.read) as reader:
        clip = Clip(reader, start, end)
        target = plan_output(reader.info, output, settings.encode, force=force)
        memory = plan_memory(settings, reader.info)
        WorkFolder(work or work_folder_of(target.path), keep=False).check()
        for photo in references.photos:
            read_photo(photo)
        for name, folder in references.people:
            if not photos_in(folder):
                raise ReferencePhotoError(f"{folder}: no usable reference photo of '{name}': {why_none(folder)}")
        people = () if references.file is None else check_people(references.file, clip, settings)
        from iconface_video.pipelines.estimate import estimate_run

        estimate = estimate_run(clip, target, memory.apply(settings), bool(references))
    return DryRun(target, (*target.notes, *memory.notes, *people), estimate)
