"""Training recipe of the identity encoder: teacher's vectors -> task -> trainer -> weights with a manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from iconface_video.errors import InputError, UsageError
from iconface_video.faces.identity_encoder import IdentityEncoder, save_identity_encoder
from iconface_video.train.encoder import EncoderTask
from iconface_video.train.encoder_config import EncoderConfig
from iconface_video.train.encoder_data import load_faces
from iconface_video.train.encoder_validation import ValidationFaces
from iconface_video.train.teacher import embed_folder
from iconface_video.train.trainer import Trainer

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
    checkpoints = sorted(run_folder.glob("checkpoint-*"))
    if not checkpoints:
        raise InputError(f"{run_folder}: no checkpoint in this folder. Name the folder of a finished or interrupted run.")
    encoder = IdentityEncoder()
    encoder.load_state_dict(load_file(checkpoints[-1] / "average.safetensors"))
    step = int(json.loads((checkpoints[-1] / "state.json").read_text(encoding="utf-8"))["step"])
    return save_identity_encoder(encoder, out, {"steps": step, "figures": _figures(run_folder, step), **(notes or {})})


def _figures(run_folder: Path, step: int) -> dict[str, float]:
    """The last row of validation.csv that is not newer than the checkpoint."""
    path = run_folder / "validation.csv"
    if not path.is_file():
        return {}
    header, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    usable = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
    return {name: float(np.float32(value)) for name, value in zip(header, usable[-1])} if usable else {}
