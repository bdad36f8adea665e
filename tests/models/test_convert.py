"""A published LoRA becomes a checkpoint of ours that computes exactly what diffusers' transformer computes with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import Flux2Transformer2DModel
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_flux2_lora_to_diffusers as diffusers_converter
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from iconface_video.cli.models_command import app
from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models.attention import ReferenceTokens
from iconface_video.models.checkpoints import load_model
from iconface_video.models.conditioning import grid_positions, text_positions
from iconface_video.models.convert import BaseChoice, LoraChoice, Prompts, convert_lora
from iconface_video.models.download import FACEIR_PROMPT
from iconface_video.models.prompt import encode_prompts
from iconface_video.settings import LoadSettings
from tests.models.published_form import lora_state, write_klein, write_lora
from tests.models.tiny_models import TINY

FUSED: dict[str, Any] = {"dtype": "float32", "lora_form": "fused"}
APART: dict[str, Any] = {"dtype": "float32", "lora_form": "apart"}


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klein(tmp_path_factory.mktemp("klein") / "tiny-klein")


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lora(tmp_path_factory.mktemp("lora") / "lora_weights.safetensors", lora_state(TINY, alpha=4))


@pytest.fixture(scope="module")
def converted(klein: Path, lora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "tiny-faceir"
    convert_lora(LoraChoice(lora), folder, BaseChoice(str(klein)), dtype=torch.float32)
    return folder


def with_merged_lora(klein: Path, lora: Path, scale: float = 1.0) -> Flux2Transformer2DModel:
    """diffusers' own transformer, diffusers' own converter, diffusers' own merging."""
    base = Flux2Transformer2DModel.from_pretrained(klein / "transformer")
    state = {name: tensor for name, tensor in load_file(lora).items() if not name.endswith(".alpha")}
    named = diffusers_converter({f"diffusion_model.{name}": tensor for name, tensor in state.items()})
    base.load_lora_adapter(named, prefix="transformer")
    base.fuse_lora(lora_scale=scale)
    return base.eval()


def sequence(references: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {
        "scene": torch.randn(2, 16, 12, generator=generator),
        "degraded": torch.randn(2, 16, 12, generator=generator),
        "references": torch.randn(2, references, 16, 12, generator=generator),
        "prompt": torch.randn(1, 5, 24, generator=generator),
        "sigma": torch.tensor([0.35, 0.8]),
    }


def by_diffusers(base: Any, given: dict[str, Tensor]) -> Tensor:
    """The token layout of IConFace eq. 2: noisy (0, h, w, 0), degraded (2, h, w, 0), reference r (10 + r, h, w, 0)."""
    times = [0, 2, *(10 + slot for slot in range(given["references"].shape[1]))]
    image = torch.cat([given["scene"], given["degraded"], given["references"].flatten(1, 2)], 1)
    with torch.no_grad():
        out: Tensor = base(
            hidden_states=image,
            encoder_hidden_states=given["prompt"].expand(2, -1, -1),
            timestep=given["sigma"],
            img_ids=torch.cat([grid_positions(time, (4, 4)) for time in times]),
            txt_ids=text_positions(5),
            return_dict=False,
        )[0]
    return out[:, :16]


def by_ours(model: Any, given: dict[str, Tensor], identity: Tensor | None) -> Tensor:
    shown = given["references"]
    references = ReferenceTokens(shown, (4, 4)) if shown.shape[1] else None
    with torch.no_grad():
        out: Tensor = model.transformer(
            given["scene"], given["sigma"], given["prompt"], (4, 4), given["degraded"], references, identity
        )
    return out


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The last product here has the picture's tokens alone, diffusers' has all: with threads the rows decide how it is split, and rounded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("references", [0, 1, 3])
def test_bit_equal_to_diffusers_with_the_lora_merged(converted: Path, klein: Path, lora: Path, references: int) -> None:
    given = sequence(references)
    expected = by_diffusers(with_merged_lora(klein, lora), given)
    anchor = torch.nn.functional.normalize(torch.ones(2, 512))
    model = load_model(converted, **FUSED)
    assert torch.equal(by_ours(model, given, anchor), expected)  # the anchor is there, the pathway is not
    assert torch.equal(by_ours(model, given, None), expected)
    torch.testing.assert_close(by_ours(load_model(converted, **APART), given, anchor), expected, rtol=1e-3, atol=1e-4)
    plain = by_diffusers(Flux2Transformer2DModel.from_pretrained(klein / "transformer"), given)
    assert not torch.allclose(plain, expected, atol=1e-3)
    assert model.transformer.settings.is_plain
    assert not list(model.transformer.adapters.parameters())


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_the_lora_acts_as_much_as_it_is_told_to(converted: Path, klein: Path, lora: Path, scale: float) -> None:
    given = sequence(1)
    expected = by_diffusers(with_merged_lora(klein, lora, scale), given)
    for way in ("fused", "apart"):
        model = load_model(converted, options=LoadSettings(dtype="float32", lora_scale=scale), lora_form=way)  # type: ignore[arg-type]
        torch.testing.assert_close(by_ours(model, given, None), expected, rtol=1e-4, atol=1e-5)


def test_alpha_scales(klein: Path, converted: Path, tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "weak.safetensors", lora_state(TINY, alpha=2))
    prompts = Prompts(file=converted / "prompt_embedding.safetensors")
    convert_lora(LoraChoice(lora, prompts=prompts), tmp_path / "weak", BaseChoice(str(klein)), dtype=torch.float32)
    half = load_model(converted, options=LoadSettings(lora_scale=0.5), **FUSED)
    for options in (FUSED, APART):
        found = load_model(tmp_path / "weak", **options)
        torch.testing.assert_close(by_ours(found, sequence(0), None), by_ours(half, sequence(0), None), rtol=1e-4, atol=1e-5)


def test_one_file_of_a_base_gives_the_same_bits_as_its_folder(klein: Path, lora: Path, converted: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(klein, tmp_path / "klein"))
    shutil.rmtree(own / "transformer")
    convert_lora(
        LoraChoice(lora), tmp_path / "model", BaseChoice(str(own / "flux-2-klein-base-tiny.safetensors")), dtype=torch.float32
    )
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.rmtree(own / part)  # the folder has its own autoencoder and prompt; the backbone alone is referred to
    one, other = (load_model(folder, **FUSED) for folder in (tmp_path / "model", converted))
    assert torch.equal(by_ours(one, sequence(1), None), by_ours(other, sequence(1), None))
    assert torch.equal(one.prompt, other.prompt)
    (own / "flux-2-klein-base-tiny.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"flux-2-klein-base-tiny\.safetensors: the base model of this checkpoint is not there"
    ):
        load_model(tmp_path / "model", **FUSED)


def test_the_prompt_is_theirs_embedded_once(klein: Path, converted: Path) -> None:
    prompt, negative = encode_prompts(klein, (FACEIR_PROMPT, ""), "cpu")
    model = load_model(converted, **FUSED)
    assert torch.equal(model.prompt, prompt)
    assert model.negative_prompt is not None
    assert torch.equal(model.negative_prompt, negative)
    traits = model.traits
    assert (traits.default_steps, traits.default_guidance, traits.max_references) == (12, 4.0, 3)
    assert (traits.crop_scale, traits.border, traits.crop_sizes) == (1.35, (132, 133, 135), (512,))


@pytest.mark.parametrize("way", ["--apart", "--fused"])
def test_convert_on_the_command_line(way: str, klein: Path, lora: Path, converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    arguments = ["convert", str(lora), "-o", str(folder), "--base", str(klein), way, "--dtype", "float32", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "no identity pathway" in result.output
    assert (folder / "transformer").is_dir() is (way == "--fused")
    found = load_model(folder, **(FUSED if way == "--apart" else APART))
    expected = load_model(converted, **FUSED)
    assert torch.equal(by_ours(found, sequence(1), None), by_ours(expected, sequence(1), None))


def test_the_schedule_is_the_published_one(converted: Path) -> None:
    import math

    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    from iconface_video.models.sampler import make_sigmas

    config = json.loads((converted / "scheduler" / "scheduler_config.json").read_text())
    for steps in (12, 50):
        mu = compute_empirical_mu(1024, steps)
        line = torch.linspace(1, 0, steps + 1)
        expected = [math.exp(mu) / (math.exp(mu) + (1 / float(t) - 1)) if t else 0.0 for t in line]
        torch.testing.assert_close(make_sigmas(steps, 1024, config), torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_what_is_missing_of_the_base_is_named_before_anything_is_written(klein: Path, lora: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(klein, tmp_path / "klein"))
    shutil.rmtree(own / "vae")
    with pytest.raises(CheckpointError, match=r"vae: the base's autoencoder is missing.*--parts"):
        convert_lora(LoraChoice(lora), tmp_path / "model", BaseChoice(str(own)))
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        convert_lora(LoraChoice(lora), tmp_path / "taken", BaseChoice(str(klein)))
    larger = write_lora(tmp_path / "larger.safetensors", lora_state({**TINY, "num_attention_heads": 4}))
    with pytest.raises(
        CheckpointError, match=r"larger\.safetensors: '.*' is for a matrix .* trained on a base model of another size"
    ):
        convert_lora(LoraChoice(larger), tmp_path / "model", BaseChoice(str(klein)))
    assert not (tmp_path / "model").exists()


def test_a_base_of_the_hub_is_referred_to_by_name_and_its_text_encoder_fetched(
    klein: Path, lora: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def download(repository: str, allow_patterns: list[str]) -> str:
        assert repository == "someone/tiny-klein"
        folder = tmp_path / f"cache-{len(asked)}"
        asked.append(allow_patterns)
        for name in filter_repo_objects(
            [p.relative_to(klein).as_posix() for p in klein.rglob("*")], allow_patterns=allow_patterns
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(klein / name, folder / name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    convert_lora(LoraChoice(lora), tmp_path / "model", BaseChoice("hub:someone/tiny-klein"), dtype=torch.float32)
    assert json.loads((tmp_path / "model" / "model_index.json").read_text())["base"] == "hub:someone/tiny-klein"
    assert len(asked) == 2  # weights, and what embedding the prompt takes
    found, expected = (load_model(folder, **FUSED) for folder in (tmp_path / "model", converted))
    assert torch.equal(found.prompt, expected.prompt)
    assert torch.equal(by_ours(found, sequence(0), None), by_ours(expected, sequence(0), None))


def test_a_lora_scale_is_refused_where_there_is_no_lora(klein: Path, lora: Path, converted: Path, tmp_path: Path) -> None:
    prompts = Prompts(file=converted / "prompt_embedding.safetensors")
    convert_lora(LoraChoice(lora, prompts=prompts), tmp_path / "fused", BaseChoice(str(klein)), fused=True, dtype=torch.float32)
    with pytest.raises(UsageError, match="has no LoRA of its own"):
        load_model(tmp_path / "fused", options=LoadSettings(dtype="float32", lora_scale=0.5))
