"""Training recipes of the identity encoder (teacher's vectors -> task -> trainer -> weights with a manifest) and of the full size's
adapters and LoRA (a published LoRA -> pathways added -> trainer -> a model folder).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.faces.identity_encoder import IdentityEncoder, load_identity_encoder, save_identity_encoder
from iconface_video.lab.train.config import EncoderConfig, RestorerConfig
from iconface_video.lab.train.data import FaceMixer
from iconface_video.lab.train.encoder import EncoderTask
from iconface_video.lab.train.encoder_data import ValidationFaces, load_faces
from iconface_video.lab.train.full_size import FullSizeTask, Trainables, with_pathways
from iconface_video.lab.train.restorer import TaskParts
from iconface_video.lab.train.run_state import newest_checkpoint, newest_weights
from iconface_video.lab.train.teacher import embed_folder
from iconface_video.lab.train.trainer import Trainer
from iconface_video.lab.train.validation import ValidationSet
from iconface_video.models import lora
from iconface_video.models.checkpoint_files import read_tensors
from iconface_video.models.checkpoint_index import find_checkpoint, read_index
from iconface_video.models.checkpoints import load_model
from iconface_video.models.download import PUBLISHED
from iconface_video.models.model import IConFaceModel
from iconface_video.models.saving import save_model

OnLog = Callable[[int, dict[str, float]], None]


def train_encoder(
    config: EncoderConfig, run_folder: Path, on_log: OnLog | None = None, minutes: float = 0.0
) -> dict[str, float]:
    """Train (or go on training) in `run_folder`; returns the last validation's figures.

    minutes: stop after so many of wall time; 0: no limit.
    """
    deadline = time.monotonic() + 60 * minutes if minutes > 0 else None
    if not config.folders:
        raise UsageError("no training pictures: give at least one --data FOLDER with an index.csv")
    folders = [Path(folder) for folder in config.folders]
    teacher = Path(config.teacher) if config.teacher else None
    if teacher:
        for folder in folders:
            embed_folder(folder, teacher / f"{folder.name}.npz")
    settings = config.task_settings() if teacher else replace(config.task_settings(), hint_weight=0.0)
    task = EncoderTask(load_faces(folders, teacher, "train"), _validation(config, folders), settings)
    return Trainer(task, config.trainer, run_folder, {"config": asdict(config)}).run(on_log, deadline)


def _validation(config: EncoderConfig, folders: list[Path]) -> dict[str, ValidationFaces]:
    """Held-out people of every set that has at least two of them with at least two photos each."""
    sets = {}
    for folder in [Path(f) for f in config.validation_folders] or folders:
        try:
            faces = load_faces([folder], None, "val")
        except InputError:
            continue
        if faces.people >= 2:
            sets[folder.name] = ValidationFaces.prepare(faces, config.validation_photos)
    if not sets:
        raise UsageError("no held-out people: at least one set needs rows with split 'val' and identities")
    return sets


def export_encoder(run_folder: Path, out: Path, notes: Mapping[str, str] | None = None) -> Path:
    """Write the averaged weights of a run's newest checkpoint as an encoder folder, with the figures of its latest validation.

    `notes` go into the manifest: what it was trained on, under which terms.
    """
    checkpoint = newest_checkpoint(run_folder)
    encoder = IdentityEncoder()
    encoder.load_state_dict(load_file(newest_weights(run_folder)))
    step = int(json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["step"])
    return save_identity_encoder(encoder, out, {"steps": step, "figures": _figures(run_folder, step), **(notes or {})})


def _figures(run_folder: Path, step: int) -> dict[str, float]:
    """The last row of validation.csv that is not newer than the checkpoint."""
    path = run_folder / "validation.csv"
    if not path.is_file():
        return {}
    header, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    usable = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
    return {name: float(np.float32(value)) for name, value in zip(header, usable[-1])} if usable else {}


NAME_SUFFIX = "-iconface"


def is_full_size(start_from: str | None) -> bool:
    """Whether a training run that starts there is one of the full size."""
    if start_from is None:
        return False
    if start_from in PUBLISHED:
        return True
    index = Path(start_from) / "model_index.json"
    return index.is_file() and json.loads(index.read_text(encoding="utf-8")).get("autoencoder") == "latent"


def load_start(start_from: str, precision: str) -> IConFaceModel:
    """The model that a run starts from, with all of IConFace's pathways: what is new in them changes nothing yet.

    precision: the trainer's own, not "auto"; the frozen parts are held in bfloat16 under "bf16".  Raises UsageError, CheckpointError.
    """
    folder = find_checkpoint(start_from)
    index = read_index(folder)
    if index.get("base") is None:
        raise UsageError(f"{folder}: its LoRA is merged into its base, so there is none to train: convert it with --apart")
    dtype = "bfloat16" if precision == "bf16" else "float32"
    model = with_pathways(load_model(folder, dtype=dtype))
    Trainables(model)  # float32 from here on
    lora.load_lora_state(model.transformer, read_tensors(folder / "lora" / "lora.safetensors"))  # not by way of bfloat16
    # Training faces stand in the FFHQ frame, so that is what the trained model is for.
    model.traits = replace(model.traits, name=model.traits.name + NAME_SUFFIX, crop_scale=1.0, border=None)
    return model


def full_size_trainer(config: RestorerConfig, run_folder: Path, mixer: FaceMixer, validation: ValidationSet) -> Trainer:
    """The trainer of adapters and LoRA, where the run folder's last checkpoint left it."""
    assert config.start_from is not None
    encoder = load_identity_encoder(config.identity_encoder) if config.identity_encoder else None
    model = load_start(config.start_from, config.trainer.mixed_precision())
    task = FullSizeTask(model, TaskParts(mixer, validation, config.losses, encoder, config.workers))
    return Trainer(task, config.trainer, run_folder, {"config": asdict(config)})


def export_full_size(run_folder: Path, weights: Path, out: Path) -> Path:
    """Write a run's averaged weights as a model folder that refers to the base.

    weights: average.safetensors of a checkpoint of the run.
    """
    config = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))["config"]
    start = str(config["start_from"])
    index = read_index(find_checkpoint(start))
    model = load_start(start, "no")  # averages are float32
    try:
        Trainables(model).load_state_dict(load_file(str(weights)))
    except RuntimeError as error:
        raise CheckpointError(f"{weights}: not weights of a run that started from {start} ({error}).") from None
    save_model(model, out, base=str(index["base"]), overwrite=True, base_revision=index.get("base_revision"))
    return out


def is_run_of_full_size(run_folder: Path) -> bool:
    """Whether `full_size_trainer` made the run folder."""
    path = run_folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")).get("config", {}) if path.is_file() else {}
    return is_full_size(config.get("start_from")) if isinstance(config, dict) else False
