"""Prompt embeddings of the full size: computed once with FLUX.2-klein's text encoder and stored with the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iconface_video.errors import CheckpointError
from iconface_video.models import checkpoint_files as files
from iconface_video.models.hub import TEXT_PATTERNS, fetch

RESTORATION_PROMPT = (
    "Restore this degraded photo of a face into a sharp, clean, natural photograph. "
    "Keep the person's identity, expression, pose and lighting."
)
"""The one prompt of every crop, with and without references."""
NEGATIVE_PROMPT = ""
"""For guidance; FLUX.2-klein's own."""
LAYERS = (9, 18, 27)
"""Of the text encoder; their outputs side by side are the embedding (diffusers' default)."""
_WEIGHTS = "model.safetensors"


def encode_prompts(source: str | Path, prompts: Sequence[str], device: str | torch.device) -> list[Tensor]:
    """Embed prompts as diffusers' `Flux2KleinPipeline` does -> one (1, L, joint_attention_dim) each, on the CPU.

    Only tokenizer and text encoder are loaded, in the stored number format, and let go afterwards. No code of the
    checkpoint is run, no pickle is read.

    Args:
        source: folder or hub:owner/name of a FLUX.2-klein checkpoint as diffusers writes it.

    Raises CheckpointError where tokenizer or text encoder are missing, broken or of another kind.
    """
    from diffusers import Flux2KleinPipeline

    path = Path(source).expanduser()
    folder = path if path.is_dir() else fetch(str(source), TEXT_PATTERNS)
    check_text_encoder(folder)
    tokenizer = _load_tokenizer(folder / "tokenizer")
    encoder = _load_text_encoder(folder / "text_encoder").to(device)
    pipeline = Flux2KleinPipeline(scheduler=None, vae=None, text_encoder=encoder, tokenizer=tokenizer, transformer=None)
    with torch.inference_mode():
        found = [pipeline.encode_prompt(p, device=torch.device(device), text_encoder_out_layers=LAYERS)[0] for p in prompts]
    return [embedding.cpu().clone() for embedding in found]  # outside of inference mode: an ordinary tensor


def check_text_encoder(folder: Path) -> None:
    """Whether a FLUX.2-klein folder holds tokenizer and text encoder; reads JSON and headers only. CheckpointError otherwise."""
    for part in ("tokenizer", "text_encoder"):
        if not (folder / part).is_dir():
            raise CheckpointError(
                f"{folder / part}: this checkpoint has no {part.replace('_', ' ')}, so no prompt can be embedded. "
                "Give a whole FLUX.2-klein checkpoint as diffusers writes it."
            )
    path = folder / "text_encoder" / "config.json"
    config = files.read_json(path)
    if config.get("model_type") != "qwen3":
        raise CheckpointError(f"{path}: a text encoder of type {config.get('model_type')}; FLUX.2-klein has qwen3.")
    if int(config.get("num_hidden_layers", 0)) < max(LAYERS):
        raise CheckpointError(f"{path}: {config.get('num_hidden_layers')} layers, at least {max(LAYERS)} are needed.")
    transformer = folder / "transformer" / "config.json"
    if transformer.is_file():
        wanted, width = files.read_json(transformer).get("joint_attention_dim"), len(LAYERS) * int(config.get("hidden_size", 0))
        if wanted != width:
            raise CheckpointError(f"{path}: gives embeddings {width} wide, the transformer beside it takes {wanted}.")
    for weights in _weight_files(folder / "text_encoder"):
        files.read_shapes(weights)


def _weight_files(folder: Path) -> list[Path]:
    """Of a transformers model: one file, or the shards that its index lists."""
    index = folder / f"{_WEIGHTS}.index.json"
    if not index.is_file():
        return [folder / _WEIGHTS]
    return [folder / Path(str(name)).name for name in sorted(set(files.read_json(index).get("weight_map", {}).values()))]


def _load_tokenizer(folder: Path) -> Any:
    from transformers import Qwen2TokenizerFast

    try:
        tokenizer = Qwen2TokenizerFast.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: the tokenizer cannot be read ({_first_line(error)}). Download it again.") from None
    if not tokenizer.chat_template:
        raise CheckpointError(f"{folder}: the tokenizer has no chat template, which FLUX.2-klein's prompts need.")
    return tokenizer


def _load_text_encoder(folder: Path) -> Any:
    from transformers import Qwen3ForCausalLM

    try:
        encoder, report = Qwen3ForCausalLM.from_pretrained(
            str(folder),
            dtype="auto",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: the text encoder cannot be read ({_first_line(error)}). Download it again.") from None
    if report["missing_keys"]:
        raise CheckpointError(f"{folder}: incomplete, '{min(report['missing_keys'])}' is missing. Download it again.")
    return encoder.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
