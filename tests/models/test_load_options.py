from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.models.checkpoints import load_model
from iconface_video.models.load_options import has_fast_bfloat16, pick_device, pick_dtype
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import Sampling
from iconface_video.models.saving import save_model
from iconface_video.models.traits import RestorerTraits
from iconface_video.settings import LoadSettings
from tests.models.tiny_models import tiny_latent_model, tiny_pixel_model


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_latent_model()
    model.traits = dataclasses.replace(model.traits, dtypes=("float32", "bfloat16", "float16"))
    folder = tmp_path_factory.mktemp("latent") / "model"
    save_model(model, folder)
    return folder


def restore(model: IConFaceModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    source, anchor = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1, torch.randn(1, 512, generator=generator)
    noise = torch.randn(1, *model.noise_shape(64), generator=generator)
    with torch.inference_mode():
        references = model.encode_references(source.flip(3), 64)
    return model.restore(source, anchor, [references], noise, sampling=Sampling(steps=2, guidance_scale=2.0))


@pytest.fixture(scope="module")
def exact(latent: Path) -> torch.Tensor:
    return restore(load_model(latent, dtype="float32"))


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        (LoadSettings(dtype="bfloat16"), 0.1),
        (LoadSettings(dtype="float16"), 0.02),
        (LoadSettings(dtype="float32", attention_backend="_native_math"), 1e-4),
        (LoadSettings(dtype="float32", compile=True, compile_backend="eager"), 1e-4),
        (LoadSettings(dtype="float32", offload=True), 1e-6),
    ],
    ids=["bfloat16", "float16", "attention backend", "compile", "offload"],
)
def test_options_change_speed_and_memory_not_the_picture(
    latent: Path, exact: torch.Tensor, options: LoadSettings, tolerance: float
) -> None:
    out = restore(load_model(latent, options=options))
    assert (out - exact).norm() <= tolerance * exact.norm()


def test_tiling_works_on_parts_of_the_picture(latent: Path, exact: torch.Tensor) -> None:
    model = load_model(latent, options=LoadSettings(dtype="float32", vae_tiling=True))
    sizes: list[int] = []
    model.autoencoder.vae.decoder.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[-1]))
    out = restore(model)
    assert len(sizes) > 1
    assert max(sizes) < 32  # latents of 64 px
    assert (out - exact).norm() < 0.5 * exact.norm()


def test_quantised_base_restores_about_the_same(latent: Path, exact: torch.Tensor) -> None:
    pytest.importorskip("torchao")
    model = load_model(latent, options=LoadSettings(dtype="float32", quantize="int8"))
    kinds = {type(p.data).__name__ for p in model.transformer.base.parameters()}
    assert kinds != {"Tensor", "Parameter"}
    assert (restore(model) - exact).norm() < 0.1 * exact.norm()


def test_missing_packages_and_wrong_options_are_named(latent: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="attention_backend 'warp' cannot be used"):
        load_model(latent, options=LoadSettings(attention_backend="warp"))
    save_model(tiny_pixel_model(), tmp_path / "pixel")
    with pytest.raises(UsageError, match="has no latent autoencoder"):
        load_model(tmp_path / "pixel", options=LoadSettings(vae_tiling=True))
    with pytest.raises(UsageError, match="tested with float32, bfloat16, not with float16"):
        load_model(tmp_path / "pixel", dtype="float16")
    with pytest.raises(UsageError, match=r"`compile_backend` is 'inducter'.*Did you mean 'inductor'"):
        load_model(latent, options=LoadSettings(compile=True, compile_backend="inducter"))
    with pytest.raises(UsageError, match="quantize is 'int3'"):
        LoadSettings(quantize="int3")  # type: ignore[arg-type]


def test_number_format_is_chosen_by_what_the_processor_does_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, traits = torch.device("cpu"), RestorerTraits("x", "image")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert has_fast_bfloat16(cpu)
    assert pick_dtype("auto", cpu, traits) == torch.bfloat16
    assert pick_dtype("auto", cpu, dataclasses.replace(traits, dtypes=("float32",))) == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert pick_dtype("auto", cpu, traits) == torch.float32
    assert pick_dtype("bfloat16", cpu, traits) == torch.bfloat16


def test_devices_that_are_not_there_are_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="must be auto, cpu, cuda"):
        pick_device("toaster")
    with pytest.raises(UsageError, match="'cuda:99' is not there"):
        pick_device("cuda:99")
