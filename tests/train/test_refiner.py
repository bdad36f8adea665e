"""Training a cascade's passes: patches, confidence, harm, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.faces.identity_encoder import load_identity_encoder
from iconface_video.lab.train.data import FaceMixer, FaceSet, MixSettings
from iconface_video.lab.train.refiner import RefinerTask, Window
from iconface_video.lab.train.restorer import RestorerTask, TaskParts
from iconface_video.lab.train.trainer import Trainer, TrainSettings
from iconface_video.lab.train.training import _freeze
from iconface_video.lab.train.validation import ValidationSet
from iconface_video.learn.loss_settings import LossSettings
from iconface_video.learn.losses import damage_loss, harm_loss
from iconface_video.models.cascade import CascadeAutoencoder
from iconface_video.models.embedded import as_cascade
from tests.train.test_restorer_task import faces, small_model

__all__ = ["faces"]
LOSSES = LossSettings(
    stage="few_step",
    features=1.0,
    truth_identity=0.2,
    spread=0.25,
    spread_every=2,
    identity_every=2,
    steady=0.2,
    damage=0.1,
    harm=0.1,
)


def test_a_window_moves_faces_and_places_patches() -> None:
    window = Window(16, 32, 64)
    moves = torch.tensor([[[0.99, -0.02, 1.5], [0.02, 1.01, -0.7]]])
    point = torch.tensor([50.0, 40.0])  # x, y in the face
    there = moves[0, :, :2] @ point + moves[0, :, 2]
    corner = torch.tensor([32.0, 16.0])
    patch_moves = window.moved(moves)[0]
    torch.testing.assert_close(patch_moves[:, :2] @ (point - corner) + patch_moves[:, 2], there - corner)
    face = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(window.placed(window.cut(face), face), face)
    placed = window.placed(torch.zeros(1, 3, 64, 64), face)
    assert placed[..., 16:80, 32:96].abs().max() < 1e-6
    assert torch.equal(placed[..., :16, :], face[..., :16, :])
    assert torch.equal(window.cut(face[..., ::4, ::4], 4), face[..., 16:80:4, 32:96:4])


def test_damage_is_what_the_picture_is_off_by_and_harm_is_what_gets_worse() -> None:
    torch.manual_seed(0)
    truth = torch.rand(2, 3, 32, 32) * 2 - 1
    picture = truth + torch.tensor([0.1, 0.02])[:, None, None, None]
    exact = (torch.tensor([0.1, 0.02]) + 1 / 255).log()[:, None, None, None].expand(2, 1, 16, 16)
    assert damage_loss(exact, picture, truth).max() < 1e-5
    assert damage_loss(exact.flip(0), picture, truth).min() > 1
    assert harm_loss(truth, picture, truth).max() == 0
    assert harm_loss(picture, picture, truth).max() == 0
    worse = harm_loss(truth + 0.2, picture, truth)
    assert worse[1] > worse[0] > 0  # the same error counts more where there was less before


@pytest.mark.parametrize("kind", ["coarse", "refiner"])
def test_each_pass_learns_by_itself(faces: dict[str, FaceSet], tmp_path: Path, kind: str) -> None:
    size = 64 if kind == "coarse" else 256
    model = as_cascade(small_model())
    mixer = FaceMixer(faces["train"], MixSettings(sizes=(size,), batches=(2,), reference_shares=(0.2, 0.8), pair_share=0.5))
    held_out = ValidationSet.build(faces["val"], size, 1, (6.0,))
    encoder = load_identity_encoder("embedded", "cpu")
    parts = TaskParts(mixer, held_out, LOSSES, encoder, workers=0)
    task: RestorerTask
    if kind == "coarse":
        task = RestorerTask(model, parts)
        _freeze(model, ("transformer", "prompt", "autoencoder.coarse.encoder", "autoencoder.refiner"))
    else:
        task = RefinerTask(model, parts, patch=64)
    networks = model.autoencoder
    assert isinstance(networks, CascadeAutoencoder)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    settings = TrainSettings(
        max_steps=4, optimizer="muon", learning_rate=0.02, weight_decay=0, warmup_steps=1, validate_every=9, precision="no"
    )
    Trainer(task, settings, tmp_path / "run").run()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    others = "autoencoder.refiner." if kind == "coarse" else "autoencoder.coarse."
    assert not {name for name in changed if name.startswith((others, "transformer", "prompt"))}
    own = f"autoencoder.{kind}."
    for part in ("decoder.confidence.look.weight", "decoder.confidence.threshold", "decoder.stages.0.0.conv_in.weight"):
        assert own + part in changed
    if kind == "coarse":
        assert own + "global_eighth.reference_out.weight" in changed
    else:
        assert own + "encoder.guides.0.weight" in changed
        assert own + "encoder.guides.2.weight" in changed


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="spread_every"):
        replace(LOSSES, spread_every=0)
    with pytest.raises(UsageError, match="no weight's name begins with 'nobody'"):
        _freeze(small_model(), ("nobody",))
