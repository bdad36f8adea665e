from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from iconface_video.errors import UsageError
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import Sampling
from tests.models.tiny_models import tiny_latent_model, tiny_pixel_model

Draw = Callable[..., Tensor]
MODELS = {
    "pixel": (tiny_pixel_model, 32),
    "latent": (tiny_latent_model, 16),
    "latent causal": (lambda: tiny_latent_model(causal=True), 16),
}


@pytest.fixture(params=list(MODELS))
def sized(request: pytest.FixtureRequest) -> tuple[IConFaceModel, int]:
    """A model and a crop size for it."""
    make, size = MODELS[request.param]
    return make(), size


def test_any_mix_of_reference_counts_restores_as_one_by_one(sized: tuple[IConFaceModel, int], draw: Draw) -> None:
    model, size = sized
    source, anchor, noise = draw(3, 3, size, size).tanh(), draw(3, 512), draw(3, *model.noise_shape(size))
    all_references = model.encode_references(draw(4, 3, size, size).tanh(), size)
    references = [None, all_references[:1], all_references[1:]]
    together = model.restore(source, anchor, references, noise, sampling=Sampling(steps=2))
    assert together.shape == source.shape
    for i in range(3):
        alone = model.restore(
            source[i : i + 1], anchor[i : i + 1], references[i : i + 1], noise[i : i + 1], sampling=Sampling(steps=2)
        )
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-3, atol=1e-3)
    others = model.restore(source, anchor, [None, all_references[1:2], None], noise, sampling=Sampling(steps=2))
    assert not torch.allclose(others[1], together[1], atol=1e-4)


def test_prepared_arrays_go_the_same_way_as_tensors(sized: tuple[IConFaceModel, int], draw: Draw) -> None:
    model, size = sized
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)[:, :, ::-1]
    crops.flags.writeable = False
    photos = [rng.integers(0, 256, (2 * size, 2 * size, 3), dtype=np.uint8)]
    noise, anchor = draw(2, *model.noise_shape(size)), draw(2, 512)
    context = model.prepare_references(photos, size)
    assert model.prepare_references([], size) is None
    out = model.restore_crops(crops, anchor.numpy(), [context, None], noise.numpy(), sampling=Sampling(steps=2))
    as_tensor = torch.from_numpy(crops.transpose(0, 3, 1, 2).copy().astype(np.float32) / 127.5 - 1)
    expected = model.restore(as_tensor, anchor, [context, None], noise, sampling=Sampling(steps=2))
    assert out.shape == crops.shape
    assert out.dtype == np.uint8
    assert np.abs(out.transpose(0, 3, 1, 2) - ((expected.numpy().clip(-1, 1) + 1) * 127.5)).max() <= 0.51


def test_start_sigma_close_to_zero_gives_the_autoencoders_own_picture(draw: Draw) -> None:
    model = tiny_latent_model()
    source = draw(1, 3, 16, 16).tanh()
    out = model.restore(source, None, [None], draw(1, 12, 4, 4), sampling=Sampling(steps=1, guidance_scale=1, start_sigma=1e-4))
    through = model.picture_from_state(model.state_from_picture(source))
    torch.testing.assert_close(out, through, rtol=0, atol=5e-3)


def test_predictions_of_both_kinds_agree_with_each_other(sized: tuple[IConFaceModel, int], draw: Draw) -> None:
    model, size = sized
    x, sigma = draw(2, *model.noise_shape(size)), torch.tensor([0.3, 0.8])
    conditioning = model.condition(draw(2, 3, size, size).tanh(), draw(2, 512), [None, None])
    clean = model.predict_clean(x, sigma, conditioning)
    velocity = model.velocity(x, sigma, conditioning)
    torch.testing.assert_close(clean, x - sigma[:, None, None, None] * velocity, rtol=1e-4, atol=1e-4)


def test_an_untrained_embedded_transformer_leaves_the_autoencoders_picture(draw: Draw) -> None:
    model = tiny_pixel_model(started=False)
    source, noise = draw(1, 3, 32, 32).tanh(), draw(1, 3, 32, 32)
    out = model.restore(source, draw(1, 512), [None], noise, sampling=Sampling(steps=2))
    autoencoder = model.autoencoder
    torch.testing.assert_close(out, autoencoder.decode(None, autoencoder.encode_source(source)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_guidance_in_one_batch_is_guidance_in_two_passes(causal: bool, draw: Draw) -> None:
    model = tiny_latent_model(causal=causal)
    source, noise, anchor = draw(3, 3, 16, 16).tanh(), draw(3, 12, 4, 4), draw(3, 512)
    shown = model.encode_references(draw(3, 3, 16, 16).tanh(), 16)
    references = [shown[:2], None, shown]  # absent ones are masked
    with torch.no_grad():
        conditioning = model.condition(source, anchor, references)
        sigma = torch.full((3,), 0.7)
        batched = model._guided(conditioning, 4.0)(noise, sigma)
        assert model.negative_prompt is not None
        towards, away = (model._bound(conditioning, text)(noise, sigma) for text in (model.prompt, model.negative_prompt))
    torch.testing.assert_close(batched, away + 4 * (towards - away), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(batched, towards, atol=1e-2)


def test_a_start_other_than_the_source(draw: Draw) -> None:
    model = tiny_latent_model()
    source, start, noise = draw(1, 3, 16, 16).tanh(), draw(1, 3, 16, 16).tanh(), draw(1, 12, 4, 4)
    given = {"anchor": None, "references": [None], "noise": noise, "sampling": Sampling(start_sigma=0.4)}
    assert torch.equal(model.restore(source, **given, start=source), model.restore(source, **given))
    assert not torch.allclose(model.restore(source, **given, start=start), model.restore(source, **given), atol=1e-2)
    given["sampling"] = Sampling(start_sigma=1.0)
    assert torch.equal(model.restore(source, **given, start=start), model.restore(source, **given))


def test_guidance_pushes_away_from_the_negative_prompt_and_scale_one_runs_one_pass(draw: Draw) -> None:
    model = tiny_latent_model()
    calls: list[int] = []
    model.transformer.register_forward_hook(lambda *_: calls.append(1))
    source, noise = draw(1, 3, 16, 16).tanh(), draw(1, 12, 4, 4)
    plain = model.restore(source, None, [None], noise, sampling=Sampling(steps=3, guidance_scale=1))
    assert len(calls) == 3
    pushed = model.restore(source, None, [None], noise, sampling=Sampling(steps=3, guidance_scale=4))
    assert len(calls) == 6  # both passes of a step run as one batch
    assert not torch.allclose(plain, pushed, atol=1e-4)


def test_what_does_not_fit_is_refused_with_a_reason(draw: Draw) -> None:
    model = tiny_pixel_model()
    with pytest.raises(UsageError, match="multiple of 16 px, got 40"):
        model.noise_shape(40)
    with pytest.raises(UsageError, match="takes no guidance"):
        model.restore(draw(1, 3, 32, 32), None, [None], draw(1, 3, 32, 32), sampling=Sampling(guidance_scale=3))
    with pytest.raises(ValueError, match="2 pictures need as many entries of references, got 1"):
        model.condition(draw(2, 3, 32, 32), None, [None])
    crops, noise = np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(UsageError, match=r"noise of these crops is \(1, 3, 32, 32\)"):
        model.restore_crops(crops, np.zeros((1, 512), np.float32), [None], noise)
    small = model.encode_references(draw(1, 3, 32, 32), 32)
    large = model.encode_references(draw(1, 3, 64, 64), 64)
    with pytest.raises(ValueError, match="different crop sizes"):
        model.condition(draw(2, 3, 32, 32), None, [small, large])


def test_bfloat16_autocast_restores_about_the_same(draw: Draw) -> None:
    model = tiny_pixel_model()
    source, anchor, noise = draw(2, 3, 32, 32).tanh(), draw(2, 512), draw(2, 3, 32, 32)
    with torch.no_grad():
        context = model.encode_references(draw(2, 3, 32, 32).tanh(), 32)
    exact = model.restore(source, anchor, [context, None], noise)
    model.compute_dtype = torch.bfloat16
    rough = model.restore(source, anchor, [context, None], noise)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_training_the_embedded_model_reaches_every_parameter(draw: Draw) -> None:
    model = tiny_pixel_model().train()
    source = draw(3, 3, 32, 32).tanh()
    contexts = model.encode_references(draw(3, 3, 32, 32).tanh(), 32)
    conditioning = model.condition(source, draw(3, 512), [None, contexts[:1], contexts[1:]])
    clean = model.predict_clean(draw(3, 3, 32, 32), torch.tensor([0.2, 0.6, 1.0]), conditioning)
    (clean - source).square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
