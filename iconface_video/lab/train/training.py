"""Training recipes: config -> data -> task -> trainer -> weights. Resumes from the run folder's last checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.faces.identity_encoder import load_identity_encoder
from iconface_video.lab.train.autoencoder import AutoencoderTask
from iconface_video.lab.train.config import RestorerConfig
from iconface_video.lab.train.data import FaceMixer, FaceSet
from iconface_video.lab.train.encoder_and_full_size import (
    export_full_size,
    full_size_trainer,
    is_full_size,
    is_run_of_full_size,
)
from iconface_video.lab.train.fused_pairs import pairs_for
from iconface_video.lab.train.refiner import RefinerTask
from iconface_video.lab.train.restorer import RestorerTask, TaskParts
from iconface_video.lab.train.run_state import checkpoints, newest_weights
from iconface_video.lab.train.trainer import Task, Trainer
from iconface_video.lab.train.validation import ValidationSet
from iconface_video.models.checkpoints import load_model
from iconface_video.models.embedded import EMBEDDED_CASCADE, EMBEDDED_PIXELS, as_cascade, build_embedded
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, PixelAutoencoderSettings
from iconface_video.models.saving import save_model

OnLog = Callable[[int, dict[str, float]], None]
OnStage = Callable[[int, int], None]
"""(number of the stage that begins or goes on, from 1; how many there are)."""
MARKER = "stage.json"
"""In the folder of a run of several stages: which of them is being trained."""


def train_stages(
    stages: Sequence[RestorerConfig],
    run_folder: Path,
    on_log: OnLog | None = None,
    minutes: float = 0.0,
    on_stage: OnStage | None = None,
) -> dict[str, float]:
    """Train one stage after the other, each from the average of the one before; returns the last validation's figures.

    A single stage has the run folder to itself, several have stage-01, stage-02 ... in it. An interrupted run goes on within the
    stage that it had reached. minutes: stop after so many of wall time, all stages together; 0: no limit.
    """
    deadline = time.monotonic() + 60 * minutes if minutes > 0 else None
    figures: dict[str, float] = {}
    reached = _stage_reached(run_folder, len(stages))
    if len(stages) == 1:
        return _train_stage(stages[0], run_folder, on_log, deadline)[0]
    for number in range(reached, len(stages) + 1):
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / MARKER).write_text(json.dumps({"stage": number, "stages": len(stages)}), encoding="utf-8")
        if deadline is not None and time.monotonic() > deadline:
            break
        if on_stage:
            on_stage(number, len(stages))
        config = stages[number - 1]
        if number > 1:
            config = replace(config, start_from=str(_stage_folder(run_folder, number - 1)))
        figures, is_done = _train_stage(config, _stage_folder(run_folder, number), on_log, deadline)
        if not is_done:
            break
    return figures


def _stage_folder(run_folder: Path, number: int) -> Path:
    return run_folder / f"stage-{number:02d}"


def _stage_reached(run_folder: Path, stages: int) -> int:
    """The stage to go on with, from 1. UsageError where the folder holds a run of another kind."""
    marker = run_folder / MARKER
    if not marker.is_file():
        if stages > 1 and checkpoints(run_folder):
            raise UsageError(f"{run_folder}: holds a run of one stage, the config has {stages}; name another run folder")
        return 1
    try:
        reached = int(json.loads(marker.read_text(encoding="utf-8"))["stage"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{marker}: not readable ({error}); write the stage to go on with into it: {{"stage": 1}}') from error
    if stages == 1 or not 1 <= reached <= stages:
        raise UsageError(f"{run_folder}: its run has reached stage {reached}, the config has {stages}; name another run folder")
    return reached


def train_restorer(config: RestorerConfig, run_folder: Path, on_log: OnLog | None = None) -> dict[str, float]:
    """Train one stage of the embedded restorer, or the full size's adapters; returns the last validation's figures."""
    return train_stages((config,), run_folder, on_log)


def _train_stage(
    config: RestorerConfig, run_folder: Path, on_log: OnLog | None, deadline: float | None
) -> tuple[dict[str, float], bool]:
    """The last validation's figures, and whether the stage is done."""
    if not config.faces.folders:
        raise UsageError("no training pictures: give at least one --data FOLDER with an index.csv")
    faces = FaceSet.load(config.faces, "train")
    folders = config.validation.folders or config.faces.folders[:1]
    held_out = FaceSet.load(replace(config.faces, folders=folders), "val")
    trainer = make_trainer(config, run_folder, faces, held_out)
    return trainer.run(on_log, deadline), trainer.is_done


def make_trainer(config: RestorerConfig, run_folder: Path, faces: FaceSet, held_out: FaceSet) -> Trainer:
    """The trainer of one stage, where the run folder's last checkpoint left it. held_out: people to validate on."""
    fused = pairs_for(config.faces.windows, config.mix.sizes) if config.mix.fused_share else None
    mixer = FaceMixer(faces, config.mix, fused)
    size = config.validation.size or max(config.mix.sizes)
    validation = ValidationSet.build(held_out, size, config.validation.count, config.validation.strengths)
    torch.manual_seed(config.trainer.seed)
    if is_full_size(config.start_from):
        return full_size_trainer(config, run_folder, mixer, validation)
    task: Task
    if config.stage == "autoencoder":
        task = AutoencoderTask(_autoencoder(config, run_folder), mixer, validation, config.workers)
    else:
        encoder = load_identity_encoder(config.identity_encoder) if config.identity_encoder else None
        parts = TaskParts(mixer, validation, config.losses, encoder, config.workers)
        model = _restorer(config, run_folder)
        if config.stage == "refiner":
            task = RefinerTask(as_cascade(model), parts, config.patch)
        else:
            task = RestorerTask(as_cascade(model) if config.stage == "coarse" else model, parts)
    _freeze(next(iter(task.modules.values())), config.frozen)
    return Trainer(task, config.trainer, run_folder, {"config": asdict(config)})


def _freeze(model: nn.Module, beginnings: tuple[str, ...]) -> None:
    """UsageError for a beginning that no weight has."""
    for beginning in beginnings:
        chosen = [weight for name, weight in model.named_parameters() if name.startswith(beginning)]
        if not chosen:
            raise UsageError(f"frozen: no weight's name begins with '{beginning}'")
        for weight in chosen:
            weight.requires_grad_(False)


def export_restorer(run_folder: Path, out: Path) -> Path:
    """Write the averaged weights of a run's newest checkpoint as a model folder, the embedded size's in half precision."""
    if is_run_of_full_size(run_folder):
        return export_full_size(run_folder, newest_weights(run_folder), out)
    save_model(_load_run(run_folder), out, storage_dtype=torch.float16, overwrite=True)
    return out


def _start(config: RestorerConfig, run_folder: Path) -> Path:
    """The run whose weights a stage begins with. Its own once it has begun: where it came from may be on another machine."""
    return run_folder if checkpoints(run_folder) else Path(config.start_from or "")


def _autoencoder(config: RestorerConfig, run_folder: Path) -> PixelAutoencoder:
    weights = load_file(newest_weights(_start(config, run_folder))) if config.start_from else None
    model = PixelAutoencoder(EMBEDDED_PIXELS if weights is None else _pixels_of(weights))
    if weights is not None:
        model.load_state_dict(weights)
    # Nothing of the transformer is there yet: its two doors stay as they are.
    for door in (model.decoder.fuse_features, model.to_tokens):
        if door is not None:
            door.requires_grad_(False)
    return model


def _restorer(config: RestorerConfig, run_folder: Path) -> IConFaceModel:
    if config.start_from is None:
        return build_embedded()
    folder = Path(config.start_from)
    if config.start_from == "embedded" or (folder / "model_index.json").is_file():
        return load_model(config.start_from)
    return _load_run(_start(config, run_folder))


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
    is_cascade = any(name.startswith("autoencoder.coarse.") for name in weights)
    model = build_embedded(EMBEDDED_CASCADE if is_cascade else _pixels_of(weights, "" if alone else "autoencoder."))
    try:
        (model.autoencoder if alone else model).load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not weights of the embedded model ({error}). Name a run of `train restorer`.") from None
    return model
