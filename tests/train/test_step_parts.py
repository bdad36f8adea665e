"""Where a training step's time goes: each part gets its own, forward and backward."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import record_function

from iconface_video.cli.main import main
from iconface_video.lab.bench.training_step import measure_steps
from iconface_video.lab.train.trainer import Losses, Task, Trainer, TrainSettings

ROOT = Path(__file__).parents[2]


@record_function("part: heavy")
def heavy(x: Tensor) -> Tensor:
    for _ in range(30):
        x = torch.tanh(x @ x.mT @ x)
    return x.square().mean()


@record_function("part: light")
def light(x: Tensor) -> Tensor:
    return x.square().mean()


class TwoLosses(Task):
    """A loss that costs much and one that costs nothing; a judge."""

    def __init__(self) -> None:
        self.modules = {"model": nn.Sequential(nn.Linear(128, 128)), "judge": nn.Linear(128, 1)}

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        return {name: list(module.parameters()) for name, module in self.modules.items()}

    def batches(self, seed: int, start_step: int) -> Iterator[Any]:
        while True:
            yield SimpleNamespace(truth=torch.rand(128, 128))

    def losses(self, batch: Any, step: int) -> Losses:
        made = self.modules["model"](batch.truth)
        yield "model", heavy(made) + light(made), {}
        yield "judge", self.modules["judge"](made.detach()).square().mean(), {}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        return {}


def test_each_part_gets_its_own_time_of_both_passes(tmp_path: Path) -> None:
    trainer = Trainer(TwoLosses(), TrainSettings(precision="no", cpu=True), tmp_path)
    times = measure_steps(trainer, steps=2, warm_up=1, profiled=2)
    parts = {part.name: part for part in times.parts}
    assert {"0", "heavy", "light", "model, the rest", "judge, the rest"} <= parts.keys()
    assert times.parts[0].name == "heavy"
    for way in ("forward", "backward"):
        assert getattr(parts["heavy"], way) > 3 * getattr(parts["light"], way) > 0
        assert getattr(parts["0"], way) > 0
    assert times.optimizers.keys() == {"model", "judge"}
    told = sum(part.whole for part in times.parts) + sum(times.optimizers.values()) + times.average + times.other
    assert told == pytest.approx(times.step)
    assert (times.faces, trainer.step) == (256, 5)


def test_the_command_takes_a_stage_of_a_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
    identity_encoder: null
    mix: {sizes: [32], batches: [2]}
    losses: {stage: few_step, identity: 0.0, spread: 0.25, adversarial: 0.1}
    trainer: {precision: "no", cpu: true}
    stages: [{stage: autoencoder}, {stage: restorer}]
    """
    (tmp_path / "two.yaml").write_text(text)
    options = ["--references", "1", "--steps", "1", "--warm-up", "0", "--profiled", "1", "--json"]
    assert main(["bench", "training", str(tmp_path / "two.yaml"), "--stage", "2", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    names = {part["name"] for part in found["times"]["parts"]}
    assert {"pixel", "spread", "judge", "autoencoder.encoder"} <= names
    assert found["times"]["data"] > 0
    assert found["ms_a_face"] == pytest.approx(found["times"]["data"] + found["times"]["step"])
    assert main(["bench", "training", str(tmp_path / "two.yaml"), "--stage", "3"]) == 2
    assert "has 2 stages" in capsys.readouterr().err


TRAINER = """
import time

def train_restorer(config, run_folder, on_log):
    assert config["mix"]["reference_shares"] == [0.0, 0.0, 1.0]
    for step in range(1, 100):
        end = time.process_time() + {seconds}
        while time.process_time() < end:
            pass
        on_log(step, {{"loss": 1 / step}})
        if step % config["trainer"]["validate_every"] == 0:
            on_log(step, {{"gain_none@6": 10 / step, "score": 1}})
"""


def checkout(folder: Path, seconds: float, config: str, trainer: str) -> Path:
    """What the comparison asks of a revision, with steps that take so long; where its parts lie."""
    files = {
        "iconface_video/__init__.py": "",
        "pipelines/__init__.py": "",
        config: "import yaml\nRestorerConfig = dict\ndef read_config(kind, path):\n    return yaml.safe_load(path.read_text())\n",
        trainer: TRAINER.format(seconds=seconds),
        "configs/training/embedded-noise.yaml": "stage: restorer\nlosses: {}\ntrainer: {}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_two_revisions_train_in_turn_each_with_its_own_code(tmp_path: Path) -> None:
    slow = checkout(tmp_path / "slow", 0.1, "iconface_video/train/config.py", "pipelines/train.py")  # before there was a lab
    fast = checkout(tmp_path / "fast", 0.05, "iconface_video/lab/train/config.py", "iconface_video/lab/train/training.py")
    script = ROOT / "benchmarks" / "compare_training.py"
    options = ["--this", fast, "--data", tmp_path, "--batch", "2", "--warm-up", "1", "--steps", "3", "--json"]
    done = subprocess.run([sys.executable, script, slow, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ratio"] == pytest.approx(2, rel=0.3)
    assert found["other"]["ms_a_face"] == pytest.approx(50, rel=0.3)
    assert found["this"]["loss"] == found["other"]["loss"] == 1 / 4
    options = [*options[:-1], "--validate-every", "2"]
    done = subprocess.run([sys.executable, script, slow, *options], capture_output=True, text=True, timeout=120)
    for what in ("other", "this"):
        assert f"{what:6} 4 faces  gain_none@6 5.000" in done.stdout
        assert f"{what:6} 8 faces  gain_none@6 2.500" in done.stdout
    done = subprocess.run([sys.executable, script, tmp_path, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "not a checkout of this project" in done.stderr
