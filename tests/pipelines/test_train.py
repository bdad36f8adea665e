"""Runs of one stage or several go on where they were; what they leave can be exported, whatever their weights began from."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.lab.train.config import RestorerConfig, ValidationSettings
from iconface_video.lab.train.data import FaceSettings, MixSettings
from iconface_video.lab.train.run_export import export_run, import_run
from iconface_video.lab.train.run_state import newest_weights
from iconface_video.lab.train.trainer import TrainSettings
from iconface_video.lab.train.training import export_restorer, train_stages
from iconface_video.learn.loss_settings import LossSettings
from iconface_video.models.checkpoints import load_model
from iconface_video.models.embedded import build_embedded
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, PixelAutoencoderSettings


def run_folder(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    checkpoint = folder / "checkpoint-0000007"
    checkpoint.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, checkpoint / "average.safetensors")
    return folder


def shipped() -> IConFaceModel:
    return load_model("embedded", dtype="float32")


def new() -> IConFaceModel:
    return build_embedded()


def without_detail() -> IConFaceModel:
    return build_embedded(PixelAutoencoderSettings())


@pytest.mark.parametrize("make", [shipped, new, without_detail])
def test_a_run_of_any_age_is_exported_as_it_was(tmp_path: Path, make) -> None:
    model = make()
    export_restorer(run_folder(tmp_path / "run", model.state_dict()), tmp_path / "model")
    exported = load_model(str(tmp_path / "model"), dtype="float32")
    wanted = model.state_dict()
    found = exported.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value.half().float(), rtol=1e-3, atol=1e-6)
    assert "_name_or_path" not in (tmp_path / "model" / "transformer" / "config.json").read_text()


def test_the_first_stage_alone_becomes_a_model(tmp_path: Path) -> None:
    autoencoder = PixelAutoencoder(build_embedded().autoencoder.settings)
    export_restorer(run_folder(tmp_path / "run", autoencoder.state_dict()), tmp_path / "model")
    found = load_model(str(tmp_path / "model"), dtype="float32").autoencoder.state_dict()
    torch.testing.assert_close(found["encoder.stem.weight"], autoencoder.encoder.stem.weight.half().float())


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        export_restorer(tmp_path, tmp_path / "model")
    with pytest.raises(CheckpointError, match="not weights of the embedded model"):
        export_restorer(run_folder(tmp_path / "run", {"stranger": torch.zeros(3)}), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[RestorerConfig, RestorerConfig]:
    """The convolutions, then the whole; on four "people" with four pictures of 32 px each."""
    folder = tmp_path_factory.mktemp("faces")
    rows = [
        {"file": f"{person}-{shot}.png", "split": "train" if person < 2 else "val", "identity": f"person {person}"}
        for person in range(4)
        for shot in range(4)
    ]
    for seed, row in enumerate(rows):
        picture = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / row["file"]), picture)
    with (folder / "index.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, ["file", "split", "identity"])
        writer.writeheader()
        writer.writerows(rows)
    first = RestorerConfig(
        stage="autoencoder",
        identity_encoder=None,
        workers=0,
        faces=FaceSettings(folders=(str(folder),)),
        mix=MixSettings(sizes=(32,), batches=(1,)),
        validation=ValidationSettings(count=1, strengths=(6.0,)),
        losses=LossSettings(identity=0.0),
        trainer=TrainSettings(max_steps=2, warmup_steps=1, log_every=1, precision="no", cpu=True),
    )
    # At no rate its weights stay what they began from.
    return first, replace(first, stage="restorer", trainer=replace(first.trainer, learning_rate=0.0, max_steps=3))


def test_stages_follow_one_another_and_a_budget_of_time_stops_in_between(
    stages: tuple[RestorerConfig, RestorerConfig], tmp_path: Path
) -> None:
    run, seen = tmp_path / "run", []

    def train(minutes: float) -> dict[str, float]:
        return train_stages(stages, run, minutes=minutes, on_stage=lambda number, count: seen.append((number, count)))

    train(1e-9)
    assert seen == []  # no time, nothing begun
    assert json.loads((run / "stage.json").read_text()) == {"stage": 1, "stages": 2}
    figures = train(0.0)
    assert seen == [(1, 2), (2, 2)]
    assert "gain_none@6" in figures
    began, ended = (load_file(newest_weights(run / folder)) for folder in ("stage-01", "stage-02"))
    assert all(torch.equal(value, ended[f"autoencoder.{name}"]) for name, value in began.items())
    assert newest_weights(run).parts[-3:-1] == ("stage-02", "checkpoint-0000003")
    export_restorer(run, tmp_path / "model")
    assert train(0.0) == {}  # all done


def test_a_run_goes_on_within_its_stage_where_the_earlier_one_is_no_longer(
    stages: tuple[RestorerConfig, RestorerConfig], tmp_path: Path
) -> None:
    train_stages(stages, tmp_path / "here")
    export_run(tmp_path / "here", tmp_path / "carried.safetensors")
    import_run(tmp_path / "carried.safetensors", tmp_path / "run")
    assert not (tmp_path / "run" / "stage-01" / "checkpoint-0000002").exists()
    longer = (stages[0], replace(stages[1], trainer=replace(stages[1].trainer, max_steps=4)))
    steps: list[int] = []
    train_stages(longer, tmp_path / "run", lambda step, row: steps.append(step))
    assert set(steps) == {4}
    with pytest.raises(UsageError, match="has reached stage 2, the config has 1"):
        train_stages(stages[:1], tmp_path / "run")


def test_a_run_of_one_stage_is_not_taken_for_one_of_several(
    stages: tuple[RestorerConfig, RestorerConfig], tmp_path: Path
) -> None:
    train_stages(stages[:1], tmp_path)
    assert (tmp_path / "checkpoint-0000002").is_dir()
    with pytest.raises(UsageError, match="holds a run of one stage"):
        train_stages(stages, tmp_path)
