"""Training recipes: config -> data -> task -> trainer -> weights. Resumes from the run folder's last checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.faces.identity_encoder import load_identity_encoder
from iconface_video.models.checkpoints import load_model, save_model
from iconface_video.models.embedded import EMBEDDED_PIXELS, build_embedded
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, PixelAutoencoderSettings
from iconface_video.pipelines.train_full_size import (
    export_full_size,
    is_full_size,
    is_run_of_full_size,
    train_full_size,
)
from iconface_video.train.autoencoder import AutoencoderTask
from iconface_video.train.config import RestorerConfig
from iconface_video.train.data import FaceMixer, FaceSet
from iconface_video.train.restorer import RestorerTask
from iconface_video.train.trainer import Task, Trainer
from iconface_video.train.validation import ValidationSet

OnLog = Callable[[int, dict[str, float]], None]


def train_restorer(config: RestorerConfig, run_folder: Path, on_log: OnLog | None = None) -> dict[str, float]:
    """Train one stage of the embedded restorer, or the full size's adapters; returns the last validation's figures."""
    if not config.faces.folders:
        raise UsageError("no training pictures: give at least one --data FOLDER with an index.csv")
    faces = FaceSet.load(config.faces, "train")
    mixer = FaceMixer(faces, config.mix)
    folders = config.validation.folders or config.faces.folders[:1]
    held_out = FaceSet.load(replace(config.faces, folders=folders), "val")
    size = config.validation.size or max(config.mix.sizes)
    validation = ValidationSet.build(held_out, size, config.validation.count, config.validation.strengths)
    torch.manual_seed(config.trainer.seed)
    if is_full_size(config.start_from):
        return train_full_size(config, run_folder, mixer, validation, on_log)
    task: Task
    if config.stage == "autoencoder":
        task = AutoencoderTask(_autoencoder(config), mixer, validation, config.workers)
    else:
        encoder = load_identity_encoder(config.identity_encoder) if config.identity_encoder else None
        task = RestorerTask(_restorer(config), mixer, validation, config.losses, encoder, config.workers)
    return Trainer(task, config.trainer, run_folder, {"config": asdict(config)}).run(on_log)


def export_restorer(run_folder: Path, out: Path) -> Path:
    """Write the averaged weights of a run's newest checkpoint as a model folder, the embedded size's in half precision."""
    if is_run_of_full_size(run_folder):
        return export_full_size(run_folder, newest_weights(run_folder), out)
    save_model(_load_run(run_folder), out, storage_dtype=torch.float16, overwrite=True)
    return out


def newest_weights(run_folder: Path) -> Path:
    """The averaged weights of a run's newest checkpoint."""
    found = sorted(run_folder.glob("checkpoint-*/average.safetensors"))
    if not found:
        raise InputError(f"{run_folder}: no checkpoint in this folder. Name the folder of a finished or interrupted run.")
    return found[-1]


def _autoencoder(config: RestorerConfig) -> PixelAutoencoder:
    weights = load_file(newest_weights(Path(config.start_from))) if config.start_from else None
    model = PixelAutoencoder(EMBEDDED_PIXELS if weights is None else _pixels_of(weights))
    if weights is not None:
        model.load_state_dict(weights)
    # Nothing of the transformer is there yet: its two doors stay as they are.
    model.decoder.fuse_features.requires_grad_(False)
    model.to_tokens.requires_grad_(False)
    return model


def _restorer(config: RestorerConfig) -> IConFaceModel:
    if config.start_from is None:
        return build_embedded()
    folder = Path(config.start_from)
    if config.start_from == "embedded" or (folder / "model_index.json").is_file():
        return load_model(config.start_from)
    return _load_run(folder)


def _pixels_of(weights: Mapping[str, Tensor], prefix: str = "") -> PixelAutoencoderSettings:
    """The embedded size's settings, but for what older runs have not: an older run goes on as it began."""
    detail = weights.get(f"{prefix}attention.0.to_detail.weight")
    from_state = f"{prefix}attention.0.to_query_from_state.weight" in weights
    doors = f"{prefix}decoder.doors.0.look.weight" in weights
    known = replace(EMBEDDED_PIXELS, queries_from_state=from_state, state_doors=doors)
    return replace(known, reference_detail=0 if detail is None else len(detail))


def _load_run(run_folder: Path) -> IConFaceModel:
    """The model of a run, of the whole of it or of its autoencoder alone (the first stage)."""
    path = newest_weights(run_folder)
    weights = load_file(path)
    alone = not any(name.startswith("autoencoder.") for name in weights)
    model = build_embedded(_pixels_of(weights, "" if alone else "autoencoder."))
    try:
        (model.autoencoder if alone else model).load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not weights of the embedded model ({error}). Name a run of `train restorer`.") from None
    return model
