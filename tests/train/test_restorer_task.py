"""The restorer's trainer: every part of the model learns, and in the end every condition matters."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from iconface_video.errors import InputError, UsageError
from iconface_video.faces.identity_encoder import load_identity_encoder
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.autoencoder import DOOR_RATE, SCALAR_RATE
from iconface_video.lab.train.data import FaceMixer, FaceSet, FaceSettings, MixSettings
from iconface_video.lab.train.restorer import RestorerTask, TaskParts
from iconface_video.lab.train.trainer import Trainer, TrainSettings
from iconface_video.lab.train.validation import ValidationSet
from iconface_video.learn.loss_settings import LossSettings
from iconface_video.learn.losses import temporal_consistency_loss
from iconface_video.models.embedded import build_embedded
from iconface_video.models.model import IConFaceModel
from tests.models.tiny_models import TINY_CONDITIONING, TINY_PIXELS

STEPS = 10


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FaceSet]:
    """Three training and two held-out "people" with four pictures each, 64 px."""
    folder = tmp_path_factory.mktemp("faces")
    photo = cv2.resize(data.astronaut()[10:250, 105:345], (64, 64), interpolation=cv2.INTER_AREA)
    rows = []
    for person in range(5):
        tint = np.random.default_rng(person).integers(40, 216, 3).astype(np.float32)
        for shot in range(4):
            picture = np.roll(0.7 * photo + 0.3 * tint, shot, axis=1).clip(0, 255).astype(np.uint8)
            name = f"{person}-{shot}.png"
            cv2.imwrite(str(folder / name), picture)
            rows.append({"file": name, "split": "train" if person < 3 else "val", "identity": f"person {person}"})
    with (folder / "index.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, ["file", "split", "identity"])
        writer.writeheader()
        writer.writerows(rows)
    settings = FaceSettings(folders=(str(folder),))
    return {"train": FaceSet.load(settings, "train"), "val": FaceSet.load(settings, "val")}


def small_model() -> IConFaceModel:
    torch.manual_seed(5)
    base = {
        "num_attention_heads": 1,
        "attention_head_dim": 16,
        "axes_dims_rope": (4, 4, 4, 4),
        "timestep_guidance_channels": 16,
    }
    pixels = replace(TINY_PIXELS, token_channels=768)
    return build_embedded(pixels, base, replace(TINY_CONDITIONING, causal_references=True))


@pytest.fixture(scope="module", params=["flow", "few_step"])
def trained(
    request: pytest.FixtureRequest, faces: dict[str, FaceSet], tmp_path_factory: pytest.TempPathFactory
) -> RestorerTask:
    """After a few steps with every loss that needs no extra package."""
    mixer = FaceMixer(faces["train"], MixSettings(sizes=(32,), batches=(2,), reference_shares=(0.25, 0.75), pair_share=0.5))
    held_out = ValidationSet.build(faces["val"], 32, 2, (6.0,))
    losses = LossSettings(stage=request.param, steps=2, identity=0.3, truth_identity=0.1, adversarial=0.01, steady=0.5)
    losses = replace(losses, spread=0.5 if losses.stage == "few_step" else 0.0)
    task = RestorerTask(small_model(), TaskParts(mixer, held_out, losses, load_identity_encoder("embedded", "cpu"), workers=0))
    settings = TrainSettings(
        max_steps=STEPS,
        optimizer="muon",
        learning_rate=0.02,
        weight_decay=0.0,
        warmup_steps=1,
        validate_every=STEPS,
        precision="no",
        cpu=True,
    )
    figures = Trainer(task, settings, tmp_path_factory.mktemp(request.param)).run()
    assert {"gain_none@6", "gain_right@6", "gain_wrong@6", "gain_truth@6", "id_right@6", "sharp@6"} <= figures.keys()
    return task


def test_every_weight_moves(trained: RestorerTask) -> None:
    before = dict(small_model().named_parameters())
    still = [name for name, now in trained.model.named_parameters() if torch.equal(now, before[name])]
    assert not still


def test_every_weight_is_in_one_group_and_the_slow_learners_in_faster_ones(trained: RestorerTask, tmp_path: Path) -> None:
    trainer = Trainer(trained, TrainSettings(optimizer="muon", precision="no", cpu=True), tmp_path)
    groups = trainer.optimizers["model"].param_groups
    factors = {id(weight): group["factor"] for group in groups for weight in group["params"]}
    named = {name: factors[id(weight)] for name, weight in trained.model.named_parameters()}
    assert sum(len(group["params"]) for group in groups) == len(named) == len(factors)
    scalars = {name for name, factor in named.items() if factor == SCALAR_RATE}
    assert {name.rpartition(".")[2] for name in scalars} == {"scale", "null_logit", "position_bias"}
    doors = {name for name, factor in named.items() if factor == DOOR_RATE}
    assert {name.split(".")[-2] for name in doors} == {"fuse_features", "to_out", "to_finer", "to_query_from_state", "gain"}


def test_noise_anchor_and_references_reach_the_picture(trained: RestorerTask) -> None:
    model, batch = trained.model.eval(), trained.mixer.batch(1, 1)
    source, references = to_tensor(batch.source), to_tensor(batch.truth)[:, None]
    sigma, one = torch.ones(len(source)), torch.Generator().manual_seed(1)
    noise, other = torch.randn(2, *source.shape, generator=one)
    anchor, another = torch.nn.functional.normalize(torch.randn(2, len(source), 512, generator=one), dim=2)

    def restored(noise: torch.Tensor, anchor: torch.Tensor | None, references: torch.Tensor | None) -> torch.Tensor:
        with torch.no_grad():
            return model.predict_clean(noise, sigma, trained.condition(source, references, anchor))

    plain = restored(noise, anchor, None)
    for changed in (restored(other, anchor, None), restored(noise, another, None), restored(noise, anchor, references)):
        assert (changed - plain).abs().max() > 1e-6


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0)])
def test_a_pair_shows_one_face_moved_and_the_steady_loss_knows_where(
    faces: dict[str, FaceSet], shares: tuple[float, float]
) -> None:
    mix = MixSettings((64,), (6,), reference_shares=(1.0,), pair_share=shares[0], filmed_share=shares[1])
    batch = FaceMixer(faces["train"], mix).batch(3, 0)
    assert batch.moves.shape == (3, 2, 3)
    assert batch.strength[:3].tolist() == batch.strength[3:].tolist()
    first, second = to_tensor(batch.truth[:3]), to_tensor(batch.truth[3:])
    moves = torch.from_numpy(batch.moves)
    right, still = (
        temporal_consistency_loss(first, second, moves),
        temporal_consistency_loss(first, second, torch.eye(2, 3).expand(3, 2, 3)),
    )
    backwards = temporal_consistency_loss(second, first, moves)
    assert (right < 0.4 * still).all()
    assert (right < 0.4 * backwards).all()
    assert not np.array_equal(batch.source[:3], batch.source[3:])


def test_a_mix_of_sizes_takes_the_pictures_that_are_large_enough(faces: dict[str, FaceSet]) -> None:
    large = np.asarray(cv2.resize(data.astronaut()[10:250, 105:345], (128, 128)), np.uint8)
    mixed = FaceSet([*faces["train"].images, large], [*faces["train"].identities, ""], [], faces["train"].people)
    mix = MixSettings(sizes=(32, 128), batches=(5, 2), size_shares=(0.5, 0.5), reference_shares=(0.0, 1.0), wrong_share=0.0)
    mixer = FaceMixer(mixed, mix)
    batches = [mixer.batch(1, step) for step in range(12)]
    assert {batch.truth.shape for batch in batches} == {(5, 32, 32, 3), (2, 128, 128, 3)}
    for batch in batches:
        if batch.truth.shape[1] == 128:
            assert (batch.truth_index == len(mixed) - 1).all()
            assert batch.references.shape[1] == 0  # nobody has a second photo of this size
        else:
            assert batch.references.shape[1] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (32, 64)}, "2 sizes, 1 batches"),
        ({"sizes": (32, 64), "batches": (4, 4), "size_shares": (0.5, 0.6)}, "add up to 1"),
    ],
)
def test_a_mix_that_does_not_add_up_is_refused(settings: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MixSettings(**settings)  # type: ignore[arg-type]


def test_a_size_without_pictures_is_refused(faces: dict[str, FaceSet]) -> None:
    with pytest.raises(InputError, match="no training picture is large enough for crops of 256 px"):
        FaceMixer(faces["train"], MixSettings(sizes=(32, 256), batches=(2, 2), size_shares=(0.5, 0.5)))


def test_spread_teaches_to_listen_to_the_noise(faces: dict[str, FaceSet], tmp_path: Path) -> None:
    mixer = FaceMixer(faces["train"], MixSettings(sizes=(32,), batches=(4,), reference_shares=(1.0,)))
    held_out = ValidationSet.build(faces["val"], 32, 2, (6.0,))
    settings = TrainSettings(max_steps=25, learning_rate=3e-3, warmup_steps=1, validate_every=99, precision="no", cpu=True)
    heard = []
    for spread in (0.0, 1.0):
        task = RestorerTask(small_model(), TaskParts(mixer, held_out, LossSettings("few_step", spread=spread), None, workers=0))
        Trainer(task, settings, tmp_path / str(spread)).run()
        source, one = to_tensor(mixer.batch(1, 1).source), torch.Generator().manual_seed(1)
        noise, sigma = torch.randn(2, *source.shape, generator=one), torch.ones(len(source))
        with torch.no_grad():
            first, second = (task.model.predict_clean(n, sigma, task.condition(source, None, None)) for n in noise)
        heard.append(float((first - second).std()))
    assert heard[1] > 1.3 * heard[0]


def test_spread_needs_pure_noise_and_has_its_limits() -> None:
    with pytest.raises(UsageError, match="few_step"):
        LossSettings("flow", spread=0.5)
    for spread in (-0.1, 1.5):
        with pytest.raises(UsageError, match="spread"):
            LossSettings("few_step", spread=spread)


def test_pairs_need_two_faces() -> None:
    for share in ({"pair_share": 0.5}, {"filmed_share": 0.5}):
        with pytest.raises(UsageError, match="pairs"):
            MixSettings((32,), (1,), **share)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="target_blur_probability"):
        MixSettings(target_blur_probability=2.0)


def test_soft_truths_are_soft_and_only_filmed_ones(faces: dict[str, FaceSet]) -> None:
    def detail(**shares: float) -> list[float]:
        """Of the first face of some batches: what is drawn before it is the same whatever is done to it."""
        mix = MixSettings((64,), (6,), reference_shares=(1.0,), **shares)  # type: ignore[arg-type]
        pictures = [FaceMixer(faces["train"], mix).batch(3, step).truth[0] for step in range(6)]
        return [float(cv2.Laplacian(picture, cv2.CV_64F).std()) for picture in pictures]

    sharp, soft = detail(filmed_share=1.0), detail(filmed_share=1.0, target_blur_probability=1.0)
    assert all(a <= b for a, b in zip(soft, sharp))
    assert min(a / b for a, b in zip(soft, sharp)) < 0.9
    assert detail(target_blur_probability=1.0) == detail()


def test_steps_without_the_transformer_and_without_gradients_from_references_leave_those_alone(
    faces: dict[str, FaceSet],
) -> None:
    mixer = FaceMixer(faces["train"], MixSettings(sizes=(32,), batches=(2,), reference_shares=(0.0, 1.0)))
    held_out = ValidationSet.build(faces["val"], 32, 2, (6.0,))
    losses = LossSettings("few_step", adversarial=0.1, transformer_every=2, reference_gradient_every=2)
    parts = TaskParts(mixer, held_out, losses, load_identity_encoder("embedded", "cpu"), workers=0)
    task = RestorerTask(small_model(), parts)
    assert task.discriminator is not None
    moved = {}
    for step in (0, 1):
        task.model.zero_grad()
        _, loss, _ = next(task.losses(mixer.batch(1, 0), step))
        loss.backward()
        moved[step] = {name for name, weight in task.model.named_parameters() if weight.grad is not None}
    assert all(weight.grad is None for weight in task.discriminator.parameters())
    assert all(weight.requires_grad for weight in task.discriminator.parameters())
    left = {name for name in moved[0] - moved[1] if not name.startswith(("transformer.", "prompt"))}
    assert left == {
        *(f"autoencoder.{name}" for name in ("to_tokens.weight", "to_tokens.bias", "decoder.fuse_features.weight")),
        *(f"autoencoder.attention.{n}.to_{what}.weight" for n in (0, 1) for what in ("key", "value")),
        *(f"autoencoder.attention.0.to_{what}.weight" for what in ("detail",)),
    }
    assert not any(name.startswith("transformer.") for name in moved[1])
    restored = task.restore(to_tensor(mixer.batch(1, 0).source), None)
    assert task.with_transformer
    assert restored.shape == (2, 3, 32, 32)
    with pytest.raises(UsageError, match="transformer_every"):
        LossSettings("few_step", steps=2, transformer_every=2)
