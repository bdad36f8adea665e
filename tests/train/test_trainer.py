"""The shared trainer: resuming is as if nothing had happened; losses follow the papers."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.lab.train.config import RestorerConfig, read_config, read_stages
from iconface_video.lab.train.trainer import Task, Trainer, TrainSettings
from iconface_video.learn.losses import hard_example_loss, identity_loss
from iconface_video.settings import from_mapping


class LineTask(Task):
    """Fit y = 2 x + 1."""

    def __init__(self, width: int = 1) -> None:
        torch.manual_seed(3)
        self.modules = {"line": nn.Linear(1, width)}

    def batches(self, seed: int, start_step: int) -> Iterator[Tensor]:
        step = start_step
        while True:
            yield torch.rand(8, 1, generator=torch.Generator().manual_seed(seed * 1000 + step))
            step += 1

    def loss(self, batch: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        error = (self.modules["line"](batch).float() - (2 * batch + 1)).square().mean()
        return error, {"loss": error.item()}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        return {"score": -(self.modules["line"](torch.ones(1, 1)) - 3).abs().mean().item()}


def settings(steps: int) -> TrainSettings:
    return TrainSettings(
        max_steps=steps,
        learning_rate=0.05,
        warmup_steps=1,
        final_rate=1.0,
        validate_every=20,
        log_every=5,
        precision="no",
        cpu=True,
    )


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole, halves = LineTask(), LineTask()
    Trainer(whole, settings(40), tmp_path / "whole").run()
    Trainer(halves, settings(15), tmp_path / "halves").run()
    resumed = LineTask()
    trainer = Trainer(resumed, settings(40), tmp_path / "halves")
    assert trainer.step == 15
    trainer.run()
    for name, value in whole.modules["line"].state_dict().items():
        assert torch.equal(value, resumed.modules["line"].state_dict()[name]), name


def test_it_learns_and_writes_what_it_promises(tmp_path: Path) -> None:
    task = LineTask()
    figures = Trainer(task, settings(200), tmp_path).run()
    assert figures["score"] > -0.2
    assert {p.name for p in tmp_path.iterdir()} >= {"config.json", "curve.csv", "validation.csv", "curve.png"}
    with (tmp_path / "curve.csv").open() as rows:
        losses = [float(row["loss"]) for row in csv.DictReader(rows)]
    assert losses[-1] < 0.05 * losses[0]
    assert len(list(tmp_path.glob("checkpoint-*"))) <= 2


def test_a_figure_that_comes_later_gets_a_column_of_its_own(tmp_path: Path) -> None:
    """Losses of pairs are in some rows only: the others' figures must stay under their own names."""
    trainer = Trainer(LineTask(), settings(2), tmp_path)
    for row in ({"pixel": 1.0}, {"pixel": 2.0, "adversarial": 3.0}, {"pixel": 4.0}):
        trainer._append("figures.csv", row)
    with (tmp_path / "figures.csv").open() as rows:
        found = [(row["pixel"], row["adversarial"]) for row in csv.DictReader(rows)]
    assert found == [("1", ""), ("2", "3"), ("4", "")]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    Trainer(LineTask(), settings(2), tmp_path).run()
    with pytest.raises(CheckpointError, match=r"(?s)checkpoint-0000002.*another config"):
        Trainer(LineTask(width=2), settings(4), tmp_path)


def test_identity_loss_is_equations_9_to_12() -> None:
    torch.manual_seed(0)
    raw, reference, truth = torch.randn(4, 512), torch.randn(4, 512), torch.randn(4, 512)
    reference, truth = (x / x.norm(dim=1, keepdim=True) for x in (reference, truth))
    sigma = torch.tensor([0.0, 0.3, 0.8, 1.0])
    loss, cosine = identity_loss(raw, reference, truth, sigma, hard_weight=0.25)
    for i in range(4):
        unit = raw[i] / raw[i].norm()
        l_ref, l_hard = 1 - unit @ reference[i], 1 - unit @ truth[i]
        lam = 0.25 * (1 - reference[i] @ truth[i])
        omega = max(1 - sigma[i].item(), 0.25) ** 2
        torch.testing.assert_close(loss[i], omega * ((1 - lam) * l_ref + lam * l_hard))
        torch.testing.assert_close(cosine[i], unit @ truth[i])


def test_hard_example_loss_weighs_truth_and_reference() -> None:
    raw = torch.tensor([[3.0, 4.0]])
    loss = hard_example_loss(raw, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), reference_weight=0.25)
    torch.testing.assert_close(loss, torch.tensor([0.75 * 0.2 + 0.25 * 0.4]))


def test_a_mistyped_training_setting_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"mix: unknown setting 'batsh'\. Did you mean 'batches'\?"):
        from_mapping(RestorerConfig, {"mix": {"batsh": 3}}, "x.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage: flop", "stage is 'flop', must be one of autoencoder, "),
        ("workers: -1", "workers is -1, must be at least 0"),
        ("trainer: {optimizer: sgd}", r"trainer: optimizer is 'sgd', must be one of adamw, muon"),
        ("trainer: {max_steps: -5}", r"trainer: max_steps is -5, must be at least 1"),
        ("trainer: {learning_rate: .nan}", r"trainer: learning_rate is nan, must be at least 0"),
        ("trainer: {precision: fp8}", r"trainer: precision is 'fp8', must be one of auto, no, bf16, fp16"),
        ("trainer: {betas: [0.9]}", r"trainer: betas has 1 values, must have 2"),
        ("mix: {truth_share: 7}", r"mix: truth_share is 7, must be within \[0, 1\]"),
        ("mix: {sizes: [large]}", r"mix: sizes is 'large', must be a whole number"),
        ("mix: {reference_shares: [0.5]}", r"mix: the mix's reference_shares must add up to 1"),
        ("losses: {stage: flop}", r"losses: stage is 'flop', must be one of flow, few_step"),
        ("losses: {identity: -1}", r"losses: the losses' identity is -1, must be at least 0"),
        ("validation: {count: 0}", r"validation: count is 0, must be at least 1"),
        ("faces: {folders: 5}", r"'folders' is a list"),
    ],
)
def test_a_training_setting_that_cannot_be_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_config(RestorerConfig, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs" / "training").glob("embedded-*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_restorer_config_is_valid(path: Path) -> None:
    config = read_config(RestorerConfig, path).with_data(("faces",))
    assert config.faces.folders == ("faces",)
    assert all(size % 16 == 0 for size in config.mix.sizes)
    assert abs(sum(config.mix.reference_shares) - 1) < 1e-9


@pytest.mark.parametrize("text", ["mix: {soft_share: 0.3}", "stages: [{mix: {soft_share: 0.3}}]"])
def test_settings_are_read_under_the_names_of_earlier_releases(text: str, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text(text)
    assert read_stages(path)[0].mix.target_blur_probability == 0.3


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_that_must_learn_faster_do(tmp_path: Path, optimizer: str) -> None:
    class Hurried(LineTask):
        def faster(self) -> list[tuple[float, list[Tensor]]]:
            return [(8.0, [self.modules["line"].bias])]

    task = Hurried()
    before = {name: value.detach().clone() for name, value in task.modules["line"].named_parameters()}
    Trainer(task, replace(settings(1), weight_decay=0.0, learning_rate=1e-3, optimizer=optimizer), tmp_path).run()
    moved = {name: (value - before[name]).abs().item() for name, value in task.modules["line"].named_parameters()}
    assert moved["bias"] == pytest.approx(8 * moved["weight"], rel=0.01)


def test_a_deadline_stops_a_run_and_time_adds_up(tmp_path: Path) -> None:
    trainer = Trainer(LineTask(), settings(40), tmp_path)
    figures = trainer.run(deadline=time.monotonic())
    assert figures  # validated before it stopped
    assert (trainer.step, trainer.is_done) == (1, False)
    again = Trainer(LineTask(), settings(40), tmp_path)
    again.seconds = 10.0
    again.run()
    assert again.is_done
    assert Trainer(LineTask(), settings(40), tmp_path).seconds >= 10.0


def test_a_stage_that_ends_by_time_has_its_rate_fall_in_step(tmp_path: Path) -> None:
    short = replace(settings(1000), max_minutes=1.0, final_rate=0.1)
    trainer = Trainer(LineTask(), short, tmp_path)
    rates = []
    for trainer.seconds in (0.0, 30.0, 60.0):
        rates.append(trainer._rate())
    assert rates == pytest.approx([1.0, 0.55, 0.1])
    assert trainer.is_done
    trainer.run()
    assert trainer.step == 0


def test_bfloat16_only_where_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, wanted in ((True, "bf16"), (False, "no")):
        monkeypatch.setattr("iconface_video.lab.train.trainer.has_fast_bfloat16", lambda device, fast=fast: fast)
        assert TrainSettings(cpu=True).mixed_precision() == wanted
    assert TrainSettings(precision="bf16").mixed_precision() == "bf16"
    with pytest.raises(UsageError, match="must be one of auto, no, bf16, fp16"):
        TrainSettings(precision="fp8")  # type: ignore[arg-type]


def test_stages_are_read_from_one_file_and_share_what_stands_beside_them(tmp_path: Path) -> None:
    (tmp_path / "last.yaml").write_text("mix: {sizes: [64], batches: [4]}\n")
    text = """
    faces: {min_side: 100, max_side: 300}
    trainer: {optimizer: muon}
    stages:
      - {stage: autoencoder, trainer: {max_steps: 5}}
      - {stage: restorer, faces: {min_side: 50}}
      - last.yaml
    """
    (tmp_path / "all.yaml").write_text(text)
    first, second, third = read_stages(tmp_path / "all.yaml")
    assert (first.stage, second.stage) == ("autoencoder", "restorer")
    assert (first.trainer.optimizer, first.trainer.max_steps, first.faces.min_side) == ("muon", 5, 100)
    assert (second.faces.min_side, second.faces.max_side) == (50, 300)
    assert third.mix.sizes == (64,)
    assert read_stages(tmp_path / "last.yaml") == (replace(RestorerConfig(), mix=third.mix),)
    for wrong, message in (
        ("stages: 3", "a list of stages"),
        ("stages: [3]", "stage 1: holds settings"),
        ("stages: []", "a list"),
    ):
        (tmp_path / "wrong.yaml").write_text(wrong)
        with pytest.raises(UsageError, match=message):
            read_stages(tmp_path / "wrong.yaml")


def test_stages_of_other_number_formats_follow_each_other(tmp_path):
    """The accelerator's state belongs to the process: the next stage's precision may be another one."""
    for number, precision in enumerate(("no", "bf16", "no")):
        chosen = TrainSettings(max_steps=1, precision=precision, cpu=True)
        assert Trainer(LineTask(), chosen, tmp_path / str(number)).accelerator.mixed_precision == precision


_SIGNALLED = """
import multiprocessing, os, signal
from iconface_video.lab.train.loading import stream

batches = stream(lambda step: step, 3, workers=1)
assert next(batches) == 3
workers = multiprocessing.active_children()
assert workers
for worker in workers:
    os.kill(worker.pid, signal.SIGTERM)
    os.kill(worker.pid, signal.SIGINT)
assert [next(batches) for _ in range(20)] == list(range(4, 24))  # more than were made ahead
batches.close()
for worker in workers:
    worker.join(10)
    assert not worker.is_alive()
print("lived")
"""


def test_workers_outlive_the_signal_that_stops_the_run():
    """Who stops a run signals its whole group: the trainer saves where it is, and its workers must not fail meanwhile.

    In a process of its own: OpenCV's threads, which other tests have started here, do not survive a fork.
    """
    done = subprocess.run([sys.executable, "-c", _SIGNALLED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "lived\n", done.stderr
