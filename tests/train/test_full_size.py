"""Training of the full size, on a tiny checkpoint of the published form: begins as that model to the bit, learns, goes on, is exported."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data

from iconface_video.configs import __file__ as configs_file
from iconface_video.errors import UsageError
from iconface_video.lab.train.config import RestorerConfig, ValidationSettings, read_config
from iconface_video.lab.train.data import FaceSettings, MixSettings
from iconface_video.lab.train.encoder_and_full_size import load_start
from iconface_video.lab.train.full_size import Trainables
from iconface_video.lab.train.trainer import TrainSettings
from iconface_video.lab.train.training import export_restorer, train_restorer
from iconface_video.learn.loss_settings import LossSettings
from iconface_video.models.checkpoint_index import read_index
from iconface_video.models.checkpoints import load_model
from iconface_video.models.convert import BaseChoice, LoraChoice, Prompts, convert_lora
from iconface_video.models.download import FACEIR_TRAITS
from iconface_video.models.model import IConFaceModel
from tests.models.published_form import lora_state, write_klein, write_lora
from tests.models.tiny_models import TINY

STEPS = 6


@pytest.fixture(scope="module")
def faceir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faceir")
    klein = write_klein(root / "klein")
    lora = write_lora(root / "lora.safetensors", lora_state(TINY, alpha=4))
    traits = replace(FACEIR_TRAITS, crop_sizes=(32,), default_steps=2)
    prompts = Prompts("a face", "")
    convert_lora(LoraChoice(lora, traits=traits, prompts=prompts), root / "start", BaseChoice(str(klein)), dtype=torch.float32)
    return root / "start"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training and two held-out "people" with four pictures each, 64 px."""
    folder = tmp_path_factory.mktemp("faces")
    photo = cv2.resize(data.astronaut()[10:250, 105:345], (64, 64), interpolation=cv2.INTER_AREA)
    with (folder / "index.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, ["file", "split", "identity"])
        writer.writeheader()
        for person in range(4):
            for shot in range(4):
                name = f"{person}-{shot}.png"
                cv2.imwrite(str(folder / name), np.roll(0.8 * photo + 12 * person, shot, axis=1).clip(0, 255).astype(np.uint8))
                writer.writerow({"file": name, "split": "train" if person < 2 else "val", "identity": f"person {person}"})
    return folder


def config_of(faceir: Path, faces: Path, steps: int = STEPS) -> RestorerConfig:
    return RestorerConfig(
        stage="restorer",
        start_from=str(faceir),
        workers=0,
        faces=FaceSettings(folders=(str(faces),)),
        mix=MixSettings(sizes=(32,), batches=(1,), reference_shares=(0.2, 0.8)),
        validation=ValidationSettings(count=1, strengths=(6.0,)),
        losses=LossSettings(steps=1),
        trainer=TrainSettings(
            max_steps=steps, learning_rate=0.02, warmup_steps=1, validate_every=steps, precision="no", cpu=True, accumulation=2
        ),
    )


def restored(model: IConFaceModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    source, anchor = torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1, torch.randn(1, 512, generator=generator)
    noise = torch.randn(1, *model.noise_shape(32), generator=generator)
    shown = model.encode_references(torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1, 32)
    return model.eval().restore(source, anchor, [shown], noise)


def test_new_pathways_change_nothing_until_they_are_trained(faceir: Path) -> None:
    start = load_start(str(faceir), "no")
    assert not start.transformer.settings.is_plain
    plain = load_model(faceir, dtype="float32")
    assert torch.equal(restored(start), restored(plain))
    trainable = {name for name, p in start.named_parameters() if p.requires_grad}
    assert {".adapters." in name or ".lora_" in name for name in trainable} == {True}
    assert any(".lora_A." in name for name in trainable)
    assert any("adapters.memory_attention.0.gate" in name for name in trainable)


def test_under_bf16_what_is_trained_is_float32_and_as_published(faceir: Path) -> None:
    start = load_start(str(faceir), "bf16")
    state = load_file(faceir / "lora" / "lora.safetensors")
    for name, parameter in start.named_parameters():
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32
        elif "transformer.base." in name:
            assert parameter.dtype == torch.bfloat16
    found = dict(start.transformer.base.named_parameters())
    name = "single_transformer_blocks.0.attn.to_out.lora_B"
    assert torch.equal(found[f"{name}.default.weight"], state[f"{name}.weight"])


def test_trained_stopped_gone_on_and_exported(faceir: Path, faces: Path, tmp_path: Path) -> None:
    figures = train_restorer(config_of(faceir, faces), tmp_path / "run")
    assert {"gain_none@6", "gain_right@6", "id_right@6"} <= figures.keys()
    rows = [path.name for path in (tmp_path / "run").glob("checkpoint-*")]
    assert rows == [f"checkpoint-{STEPS:07d}"]
    weights = load_file(tmp_path / "run" / rows[0] / "average.safetensors")
    start = Trainables(load_start(str(faceir), "no")).state_dict()
    assert weights.keys() == start.keys()  # no backbone in it
    gates = [name for name in start if name.endswith(":gate")]
    assert all(not torch.equal(weights[name], start[name]) for name in [*gates, *(n for n in start if "lora_B" in n)])

    log: list[int] = []
    longer = config_of(faceir, faces, STEPS + 2)
    train_restorer(longer, tmp_path / "run", lambda step, row: log.append(step))
    assert log[0] > STEPS  # it went on

    export_restorer(tmp_path / "run", tmp_path / "model")
    model = load_model(tmp_path / "model", dtype="float32")
    assert not model.transformer.settings.is_plain
    assert (model.traits.name, model.traits.crop_scale, model.traits.border) == ("flux-faceir-iconface", 1.0, None)
    index = read_index(tmp_path / "model")
    assert (index["base"], index["lora_rank"], index["lora_alpha"]) == (read_index(faceir)["base"], 4, 4.0)
    newest = load_file(tmp_path / "run" / f"checkpoint-{STEPS + 2:07d}" / "average.safetensors")
    found = Trainables(load_start(str(faceir), "no"))
    found.load_state_dict(newest)
    exported = {name.replace(".", ":"): p for name, p in model.named_parameters() if name.replace(".", ":") in newest}
    assert exported.keys() == newest.keys()
    assert all(torch.equal(parameter, newest[name]) for name, parameter in exported.items())
    assert not torch.allclose(restored(model), restored(load_model(faceir, dtype="float32")), atol=1e-3)


def test_what_cannot_be_trained_is_refused(faceir: Path, faces: Path, tmp_path: Path) -> None:
    config = config_of(faceir, faces)
    with pytest.raises(UsageError, match="by flow and identity losses alone"):
        train_restorer(replace(config, losses=LossSettings(adversarial=0.1)), tmp_path / "run")
    klein = Path(read_index(faceir)["base"])
    lora = write_lora(tmp_path / "lora.safetensors", lora_state(TINY))
    fused = tmp_path / "fused"
    convert_lora(LoraChoice(lora, prompts=Prompts("a", "")), fused, BaseChoice(str(klein)), fused=True, dtype=torch.float32)
    with pytest.raises(UsageError, match="so there is none to train: convert it with --apart"):
        train_restorer(replace(config, start_from=str(fused)), tmp_path / "other")


def test_the_config_that_is_shipped_is_read() -> None:
    config = read_config(RestorerConfig, Path(configs_file).parent / "training" / "flux2-klein-4b.yaml")
    assert (config.start_from, config.mix.sizes, config.losses.flow, config.losses.identity) == (
        "flux-faceir",
        (512,),
        0.75,
        0.3,
    )
