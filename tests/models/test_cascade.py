"""The cascade: where it starts from, what a closed gate leaves alone, what each pass sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from iconface_video.degrade import degrade
from iconface_video.errors import CheckpointError
from iconface_video.models.cascade import CascadeAutoencoder, CascadeSettings, halvings, shrunk_state
from iconface_video.models.checkpoint_files import write_json, write_manifest
from iconface_video.models.checkpoints import load_model
from iconface_video.models.embedded import as_cascade, build_embedded
from iconface_video.models.model import IConFaceModel
from iconface_video.models.picture_layers import GlobalAttention
from iconface_video.models.saving import save_model
from tests.models.tiny_models import TINY_PIXELS, start_all, tiny_pixel_model


def tiny_cascade() -> IConFaceModel:
    """All parts act."""
    torch.manual_seed(1)
    model = as_cascade(tiny_pixel_model())
    start_all(model.autoencoder)
    return model.eval()


def restored(model: IConFaceModel, picture: Tensor, reference: Tensor | None = None, seed: int = 4) -> Tensor:
    size, count = picture.shape[-1], len(picture)
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    context = None if reference is None else model.encode_references(reference, size)
    with torch.inference_mode():
        return model.restore(picture, torch.ones(count, 512), [context] * count, noise)


def face(size: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_it_starts_as_the_first_generation_behind_a_nearly_open_gate() -> None:
    first = tiny_pixel_model()
    picture = face(128)
    alone = restored(first, picture)
    started = restored(as_cascade(first).eval(), picture)
    torch.testing.assert_close(started - picture, torch.sigmoid(torch.tensor(3.0)) * (alone - picture), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("size", "passes"), [(64, 1), (128, 1), (192, 1), (256, 2), (272, 1), (320, 2), (512, 3)])
def test_every_size_is_halved_to_whole_cells(size: int, passes: int) -> None:
    model = tiny_cascade()
    assert halvings(size) == passes - 1
    with torch.no_grad():
        conditioning = model.condition(face(size), None, [None])
        decoded = model.decode_parts(torch.randn(1, 3, size, size), torch.ones(1), conditioning)
    assert [part.picture.shape[-1] for part in decoded] == [size // 2**n for n in reversed(range(passes))]


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_closed_gate_leaves_the_picture_alone(size: int) -> None:
    model = tiny_cascade()
    coder = model.autoencoder
    assert isinstance(coder, CascadeAutoencoder)
    for network in (coder.coarse, coder.refiner):
        confidence = network.decoder.confidence
        torch.nn.init.zeros_(confidence.look.weight)
        torch.nn.init.constant_(confidence.threshold, 100.0)
    picture = face(size)
    torch.testing.assert_close(restored(model, picture), picture, atol=1e-5, rtol=0)
    torch.nn.init.constant_(coder.coarse.decoder.confidence.threshold, -5.0)
    assert (restored(model, picture) - picture).abs().max() > 1e-3


def test_the_refiner_sees_picture_coarse_result_references_and_noise() -> None:
    model = tiny_cascade()
    picture, reference = face(256), face(256, 1)
    before = restored(model, picture, reference)
    coder = model.autoencoder
    assert isinstance(coder, CascadeAutoencoder)
    assert (restored(model, picture, reference, seed=9) - before).abs().max() > 1e-4
    assert (restored(model, picture, face(256, 2)) - before).abs().max() > 1e-4
    # A checkerboard is gone at half the size: only the refiner can see it.
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(128, 128) * 0.05
    assert (restored(model, picture + board, reference) - before - board).abs().max() > 1e-4
    for layer in coder.refiner.encoder.guides:
        before = restored(model, picture, reference)
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        assert (restored(model, picture, reference) - before).abs().max() > 1e-5


def test_a_shrunk_state_is_a_state_at_its_own_noise_level() -> None:
    generator = torch.Generator().manual_seed(0)
    small, noise = face(64), torch.randn(1, 3, 256, 256, generator=generator)
    clean = F.interpolate(small, scale_factor=4, mode="nearest")
    sigma = torch.tensor([0.7])
    state, level = shrunk_state((1 - sigma) * clean + sigma * noise, sigma, 4)
    assert level.item() == pytest.approx(0.175 / 0.475)
    left = (state - (1 - level) * small) / level
    torch.testing.assert_close(left, 4 * F.avg_pool2d(noise, 4), atol=1e-5, rtol=1e-4)
    assert left.std().item() == pytest.approx(1, abs=0.02)


def test_global_attention_finds_a_feature_wherever_the_reference_has_it() -> None:
    torch.manual_seed(0)
    layer = GlobalAttention(8, heads=2)
    torch.nn.init.dirac_(layer.reference_out.weight)
    picture, reference = torch.randn(1, 8, 16, 16), torch.randn(1, 8, 16, 16)
    elsewhere = reference.clone()
    elsewhere[..., 6, 6] = torch.randn(1, 8)
    first, second = (layer(picture, layer.keys_values(maps)[None]) for maps in (reference, elsewhere))
    assert (first - second)[..., 1, 1].abs().max() > 1e-5
    # Any number of references, and absent ones are never seen.
    both = layer.keys_values(torch.cat([reference, elsewhere]))[None]
    torch.testing.assert_close(layer(picture, both, torch.tensor([[True, False]])), first)
    without = layer(picture)
    torch.testing.assert_close(layer(picture, both, torch.tensor([[False, False]])), without)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny_cascade()
    save_model(model, tmp_path / "m")
    loaded = load_model(tmp_path / "m", dtype="float32")
    picture = face(256)
    torch.testing.assert_close(restored(loaded, picture), restored(model, picture), atol=1e-5, rtol=0)
    prepared = loaded.prepare_references((np.zeros((300, 300, 3), np.uint8),), 256)
    assert prepared is not None
    assert len(prepared) == 1


def test_a_folder_whose_passes_are_swapped_is_refused(tmp_path: Path) -> None:
    save_model(tiny_cascade(), tmp_path / "m")
    config = tmp_path / "m" / "autoencoder" / "config.json"
    settings = CascadeSettings(replace(TINY_PIXELS), replace(TINY_PIXELS, guided=True)).to_dict()
    write_json(config, {"coarse": settings["refiner"], "refiner": settings["coarse"]})
    write_manifest(tmp_path / "m")
    with pytest.raises(CheckpointError, match="refiner must be guided"):
        load_model(tmp_path / "m")


def test_it_says_how_much_is_wrong() -> None:
    """Shipped weights: what they take for wrong in a damaged face is what is wrong there; a model of one pass tells nothing."""
    face = np.asarray(cv2.resize(data.astronaut()[0:200, 124:324], (256, 256)), np.uint8)
    damaged = np.stack([degrade(face, strength, np.random.default_rng(2)) for strength in (6.0, 10.0, 14.0, 18.0)])
    seen = load_model("embedded").seen_damage(damaged)
    assert seen is not None
    assert seen.shape == (4, 128, 128)
    true = np.abs(damaged.astype(np.float32) - face).mean((1, 2, 3))
    np.testing.assert_allclose(seen.mean((1, 2)), true, rtol=0.35)
    assert (np.diff(seen.mean((1, 2))) > 1).all()
    assert build_embedded().seen_damage(face[None]) is None
