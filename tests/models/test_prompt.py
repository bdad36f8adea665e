"""Prompt embeddings and `models prepare`, on a tiny random FLUX.2-klein checkpoint with a tiny Qwen3 text encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM
from typer.testing import CliRunner

from iconface_video.cli.models_command import app
from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models.checkpoints import load_model
from iconface_video.models.full_size import prepare_full_size
from iconface_video.models.prompt import NEGATIVE_PROMPT, RESTORATION_PROMPT, encode_prompts
from iconface_video.models.sampler import Sampling
from tests.models.tiny_models import TINY, TINY_SCHEDULER, tiny_vae

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
LENGTH = 512
"""Tokens of every prompt: diffusers pads to it."""


def tiny_tokenizer() -> Qwen2TokenizerFast:
    """Every byte a token, a merge or two, a chat template."""
    pieces = [*sorted(ByteLevel.alphabet()), "re", "st", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer: Any = Qwen2TokenizerFast(vocab=vocabulary, merges=[("r", "e"), ("s", "t")])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_text_encoder() -> Qwen3ForCausalLM:
    """Three of its layers side by side are as wide as the tiny backbone's text tokens."""
    torch.manual_seed(8)
    config = Qwen3Config(
        vocab_size=300,
        hidden_size=TINY["joint_attention_dim"] // 3,
        intermediate_size=16,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole pipeline, saved by diffusers itself."""
    folder = tmp_path_factory.mktemp("whole") / "tiny-klein"
    torch.manual_seed(5)
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**TINY_SCHEDULER),
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(),
        tokenizer=tiny_tokenizer(),
        transformer=Flux2Transformer2DModel(**TINY),
    )
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def own(klein: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(klein, tmp_path / "tiny-klein"))


@pytest.fixture(scope="module")
def expected(klein: Path) -> dict[str, torch.Tensor]:
    """Prompt -> what the whole pipeline of diffusers makes of it."""
    pipeline = Flux2KleinPipeline.from_pretrained(klein)
    prompts = (RESTORATION_PROMPT, NEGATIVE_PROMPT)
    with torch.no_grad():
        return {prompt: pipeline.encode_prompt(prompt, device=torch.device("cpu"))[0] for prompt in prompts}


def test_embeddings_are_those_of_the_whole_pipeline(klein: Path, expected: dict[str, torch.Tensor]) -> None:
    prompts = (RESTORATION_PROMPT, NEGATIVE_PROMPT)
    found = encode_prompts(klein, prompts, "cpu")
    for embedding, prompt in zip(found, prompts):
        assert embedding.shape == (1, LENGTH, TINY["joint_attention_dim"])
        assert torch.equal(embedding, expected[prompt])
        assert not embedding.is_inference()
    assert not torch.allclose(*found, atol=1e-2)


def test_the_backbone_is_not_read(own: Path) -> None:
    for part in ("transformer", "vae", "scheduler"):
        shutil.rmtree(own / part)
    assert len(encode_prompts(own, ["a face"], "cpu")) == 1


def test_from_the_hub_come_neither_backbone_nor_pickles_nor_code(
    own: Path, expected: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "text_encoder" / "pytorch_model.bin").write_bytes(b"pickle")
    (own / "text_encoder" / "modeling.py").write_text("raise SystemExit")
    target = tmp_path / "cache"

    def download(source: str, allow_patterns: list[str]) -> str:
        names = [path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own / name, target / name)
        return str(target)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    (embedding,) = encode_prompts("hub:someone/tiny-klein", [NEGATIVE_PROMPT], "cpu")
    assert torch.equal(embedding, expected[NEGATIVE_PROMPT])
    taken = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert {name for name in taken if not name.startswith(("text_encoder/", "tokenizer/"))} == {"transformer/config.json"}
    assert {Path(name).suffix for name in taken} <= {".json", ".jinja", ".txt", ".safetensors"}


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "text_encoder/config.json", "text_encoder/model.safetensors"])
def test_what_is_missing_is_named(own: Path, part: str) -> None:
    path = own / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CheckpointError) as caught:
        encode_prompts(own, ["a face"], "cpu")
    assert str(path) in str(caught.value)


def test_a_missing_weight_is_named(own: Path) -> None:
    path = own / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.3.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"'model\.layers\.3\.mlp\.up_proj\.weight' is missing"):
        encode_prompts(own, ["a face"], "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral3"}, "of type mistral3; FLUX.2-klein has qwen3"),
        ({"num_hidden_layers": 12}, "12 layers, at least 27"),
        ({"hidden_size": 16}, "embeddings 48 wide, the transformer beside it takes 24"),
    ],
)
def test_another_kind_of_text_encoder_is_refused(own: Path, change: dict[str, object], message: str) -> None:
    path = own / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        encode_prompts(own, ["a face"], "cpu")


@pytest.mark.parametrize("way", ["--separate", "--merged"])
def test_a_prepared_model_needs_no_text_encoder(own: Path, expected: dict[str, torch.Tensor], tmp_path: Path, way: str) -> None:
    folder = tmp_path / "start"
    arguments = ["prepare", str(own), "-o", str(folder), way, "--dtype", "float32", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "UNTRAINED" in result.output
    if way == "--separate":
        assert not (folder / "transformer").exists()
        shutil.rmtree(own / "text_encoder")
        shutil.rmtree(own / "tokenizer")
    else:
        shutil.rmtree(own)
    model = load_model(folder, dtype="float32")
    assert model.negative_prompt is not None
    assert torch.equal(model.prompt, expected[RESTORATION_PROMPT])
    assert torch.equal(model.negative_prompt, expected[NEGATIVE_PROMPT])
    assert model.traits.name == "tiny-klein-untrained"
    references = model.encode_references(torch.zeros(1, 3, 16, 16), 16)
    noise = torch.randn(1, *model.noise_shape(16))
    restored = model.restore(torch.zeros(1, 3, 16, 16), torch.ones(1, 512), [references], noise, sampling=Sampling(steps=1))
    assert restored.shape == (1, 3, 16, 16)
    assert restored.isfinite().all()


def test_the_base_is_found_again_from_another_folder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    prepare_full_size(own.name, Path("start"), dtype=torch.float32)
    monkeypatch.chdir(own)
    assert load_model(tmp_path / "start", dtype="float32").traits.license == "that of tiny-klein"


def test_prepare_refuses_before_it_loads(own: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    shutil.rmtree(own / "text_encoder")
    with pytest.raises(UsageError, match="is there already"):
        prepare_full_size(str(own), tmp_path / "taken")
    with pytest.raises(UsageError, match="the base itself"):
        prepare_full_size(str(own), own, overwrite=True)
    with pytest.raises(CheckpointError, match="has adapters already"):
        prepare_full_size("embedded", tmp_path / "other")
    with pytest.raises(CheckpointError, match="has no text encoder"):
        prepare_full_size(str(own), tmp_path / "other")
    assert not (tmp_path / "other").exists()
