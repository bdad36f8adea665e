"""Measuring recipe: where the processor time of a training step goes, for any stage of a restorer's config."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from iconface_video.pipelines.train import make_trainer
from iconface_video.run.bench_stages import Machine
from iconface_video.train.config import RestorerConfig, ValidationSettings
from iconface_video.train.data import FaceSet
from iconface_video.train.step_parts import StepTimes, measure_steps

_PEOPLE, _PHOTOS = 12, 4


@dataclass(frozen=True)
class TrainingBench:
    """Figures of one stage on one machine."""

    stage: str
    sizes: tuple[int, ...]
    """px."""
    precision: str
    machine: Machine
    times: StepTimes


def bench_training(
    config: RestorerConfig, folders: Sequence[Path] = (), steps: int = 5, warm_up: int = 2, profiled: int = 2
) -> TrainingBench:
    """Train some steps of a stage in a folder that is thrown away. folders: data sets; without any, made-up faces are used.

    Batches are made in this process, so that their time counts. Raises what `train_stages` raises.
    """
    quick = ValidationSettings(size=config.mix.sizes[0], count=1, strengths=())
    config = replace(config, workers=0, validation=quick)
    with tempfile.TemporaryDirectory(prefix="iconface-training-") as name:
        sets = folders or [made_up_faces(Path(name) / "faces", max(config.mix.sizes))]
        config = config.with_data(tuple(str(folder) for folder in sets))
        faces = FaceSet.load(config.faces, "train")
        trainer = make_trainer(config, Path(name) / "run", faces, faces)
        times = measure_steps(trainer, steps, warm_up, min(profiled, steps))
    return TrainingBench(config.stage, config.mix.sizes, config.trainer.mixed_precision(), Machine.here(), times)


def made_up_faces(folder: Path, side: int) -> Path:
    """Write a data set of smooth random pictures of `side` px, four of each "person": restoring them is as much work as real ones."""
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as index:
        rows = csv.writer(index)
        rows.writerow(["file", "split", "identity"])
        for person in range(_PEOPLE):
            for photo in range(_PHOTOS):
                coarse = np.random.default_rng((person, photo)).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
                name = f"{person}-{photo}.png"
                cv2.imwrite(str(folder / name), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
                rows.writerow([name, "train" if person % 2 else "val", f"person {person}"])
    return folder
