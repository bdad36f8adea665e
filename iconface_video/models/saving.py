"""Writing a checkpoint folder (`models.checkpoints` says what is in one): whole, or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from iconface_video.errors import UsageError
from iconface_video.files import aside, whole_folder
from iconface_video.models import checkpoint_files as files
from iconface_video.models import lora
from iconface_video.models.autoencoder import LatentAutoencoder
from iconface_video.models.bfl_base import is_bfl_file
from iconface_video.models.cascade import CascadeAutoencoder
from iconface_video.models.checkpoint_index import ADAPTERS, FORMAT_VERSION, INDEX, MODEL_CLASS
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder


def save_model(
    model: IConFaceModel,
    folder: Path,
    base: str | None = None,
    storage_dtype: torch.dtype | None = None,
    overwrite: bool = False,
    base_revision: str | None = None,
) -> None:
    """Write a checkpoint folder; nothing stands under its name until it is whole.

    Args:
        base: hub:owner/name or folder of the unchanged FLUX.2 checkpoint: backbone and VAE are left out and LoRA is kept apart.
            None: everything is written, LoRA merged into the backbone.
        storage_dtype: of the weights on disk; None: as they are.
        base_revision: of a base on the hub, where it matters.
    """
    check_model_folder(folder, overwrite)
    with whole_folder(folder) as unfinished:
        _write_model(model, unfinished, base, storage_dtype, base_revision)
        earlier = _moved_away(folder, unfinished)
    if earlier is not None:
        shutil.rmtree(earlier)


def check_model_folder(folder: Path, overwrite: bool = False) -> None:
    """Raises UsageError where no model can be written to a folder: it is taken, or (with `overwrite`) holds something else."""
    if not folder.exists():
        return
    if not overwrite:
        raise UsageError(f"{folder} is there already: name another folder, or allow overwriting")
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / files.MANIFEST).is_file()):
        raise UsageError(
            f"{folder} holds something else than a model (no {files.MANIFEST}), which is not replaced: name another folder"
        )


def _moved_away(folder: Path, unfinished: Path) -> Path | None:
    """Make room for a new model; what others have put beside the earlier one is copied to it. Where that one lies now."""
    if not folder.exists():
        return None
    listed = files.read_json(folder / files.MANIFEST).get("files", {}) if (folder / files.MANIFEST).is_file() else {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.as_posix() not in (*listed, files.MANIFEST) and not (unfinished / name).exists():
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, unfinished / name)
    earlier = aside(folder, ".earlier")
    os.replace(folder, earlier)
    return earlier


def _write_model(
    model: IConFaceModel, folder: Path, base: str | None, storage_dtype: torch.dtype | None, base_revision: str | None
) -> None:
    transformer = model.transformer
    kept_apart = base is not None and lora.has_lora(transformer)
    is_latent = isinstance(model.autoencoder, LatentAutoencoder)
    index: dict[str, Any] = {
        "_class_name": MODEL_CLASS,
        "format_version": FORMAT_VERSION,
        "traits": model.traits.to_dict(),
        "conditioning": transformer.settings.to_dict(),
        "autoencoder": _kind_of(model.autoencoder),
        "base": base,
        "base_revision": base_revision if base is not None else None,
        "lora_rank": lora.lora_rank(transformer) if kept_apart else None,
    }
    if kept_apart:
        index["lora_alpha"] = lora.lora_alpha(transformer)
        index["lora_modules"] = lora.module_kinds(lora.lora_state(transformer))
    files.write_json(folder / INDEX, index)
    if base is None:
        _save_config(transformer.base, folder / "transformer")
        weights = folder / "transformer" / files.DIFFUSERS_WEIGHTS
        files.write_tensors(weights, lora.merged_base_state(transformer), storage_dtype)
    elif kept_apart:
        files.write_tensors(folder / "lora" / "lora.safetensors", lora.lora_state(transformer), storage_dtype)
    files.write_tensors(folder / ADAPTERS, transformer.adapters.state_dict(), storage_dtype)
    if base is None or not is_latent or is_bfl_file(Path(base)):
        _save_autoencoder(model.autoencoder, folder / "autoencoder", storage_dtype)
    files.write_json(folder / "scheduler" / "scheduler_config.json", model.scheduler_config)
    prompts = {"prompt": model.prompt, "negative_prompt": model.negative_prompt}
    present = {name: prompt for name, prompt in prompts.items() if prompt is not None}
    files.write_tensors(folder / "prompt_embedding.safetensors", present, storage_dtype)
    files.write_manifest(folder)


def _kind_of(autoencoder: torch.nn.Module) -> str:
    """How the index names it."""
    if isinstance(autoencoder, LatentAutoencoder):
        return "latent"
    return "cascade" if isinstance(autoencoder, CascadeAutoencoder) else "pixel"


def _save_config(module: Any, folder: Path) -> None:
    """diffusers' config.json, without the folder on this machine that the module was loaded from."""
    module.save_config(str(folder))
    path = folder / "config.json"
    config = files.read_json(path)
    config.pop("_name_or_path", None)
    files.write_json(path, config)


def _save_autoencoder(autoencoder: torch.nn.Module, folder: Path, storage_dtype: torch.dtype | None) -> None:
    if isinstance(autoencoder, LatentAutoencoder):
        _save_config(autoencoder.vae, folder)
        files.write_tensors(folder / files.DIFFUSERS_WEIGHTS, autoencoder.vae.state_dict(), storage_dtype)
    elif isinstance(autoencoder, (PixelAutoencoder, CascadeAutoencoder)):
        files.write_json(folder / "config.json", autoencoder.settings.to_dict())
        files.write_tensors(folder / "autoencoder.safetensors", autoencoder.state_dict(), storage_dtype)
