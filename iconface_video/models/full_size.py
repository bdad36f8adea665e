"""The full size: FLUX.2-klein-base-4B with adapters and LoRA."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models.autoencoder import LatentAutoencoder
from iconface_video.models.bfl_base import find_base, load_base
from iconface_video.models.checkpoint_files import read_json
from iconface_video.models.checkpoint_index import INDEX
from iconface_video.models.checkpoints import load_vae
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.lora import DEFAULT_RANK, add_lora, import_peft
from iconface_video.models.memory_plan import Architecture
from iconface_video.models.model import IConFaceModel
from iconface_video.models.prompt import NEGATIVE_PROMPT, RESTORATION_PROMPT, encode_prompts
from iconface_video.models.saving import check_model_folder, save_model
from iconface_video.models.traits import RestorerTraits
from iconface_video.models.transformer import IConFaceTransformer

KLEIN_4B = "black-forest-labs/FLUX.2-klein-base-4B"
KLEIN_4B_BASE: dict[str, Any] = {
    "in_channels": 128,
    "num_layers": 5,
    "num_single_layers": 20,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 7680,
    "timestep_guidance_channels": 256,
    "mlp_ratio": 3.0,
    "axes_dims_rope": (32, 32, 32, 32),
    "rope_theta": 2000,
    "guidance_embeds": False,
}
PUBLISHED_ARCHITECTURE = Architecture(
    KLEIN_4B_BASE, {}, ConditioningSettings(identity_pathway=False, degraded_residual=False, degraded_memory=False)
)
"""Of the published LoRA on it; the autoencoder's settings are diffusers' defaults."""
FULL_TRAITS = RestorerTraits(name="flux2-klein-4b", prediction="velocity", crop_sizes=(512,))


def build_on_base(
    base: str | Path,
    prompt: Tensor,
    negative_prompt: Tensor | None,
    conditioning: ConditioningSettings | None = None,
    traits: RestorerTraits = FULL_TRAITS,
    lora_rank: int | None = DEFAULT_RANK,
    dtype: torch.dtype = torch.float32,
) -> IConFaceModel:
    """Fresh adapters (and LoRA) over a FLUX.2 checkpoint as diffusers writes it: where training of the full size starts.

    base: folder or hub:owner/name with transformer/, vae/ and scheduler/. prompt, negative_prompt: (1, L, J) of its text encoder.
    Only adapters and LoRA are trainable.
    """
    folder = find_base(str(base))
    transformer = IConFaceTransformer(load_base(folder / "transformer", dtype), conditioning or ConditioningSettings())
    transformer.base.requires_grad_(False)
    if lora_rank:
        add_lora(transformer, lora_rank)
    transformer.adapters.to(dtype)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    autoencoder = load_vae(folder / "vae", dtype)
    negative = None if negative_prompt is None else negative_prompt.to(dtype)
    return IConFaceModel(transformer, autoencoder, prompt.to(dtype), scheduler, traits, negative)


def prepare_full_size(
    base: str,
    folder: Path,
    *,
    merged: bool = False,
    lora_rank: int = DEFAULT_RANK,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    overwrite: bool = False,
) -> IConFaceModel:
    """Write the checkpoint that training of the full size starts from: base, prompt embeddings, untrained adapters.

    It restores nothing yet; the name in its traits ends in "-untrained".

    Args:
        base: folder or hub:owner/name of a whole FLUX.2-klein checkpoint (with tokenizer and text encoder) as diffusers writes it.
        merged: backbone and VAE are written too, and there is no LoRA; otherwise the checkpoint refers to `base`.
        device: where the text encoder is run.
        dtype: of all weights.

    Raises UsageError where `folder` is taken, CheckpointError where something of the base is missing or wrong.
    """
    local = Path(base).expanduser()
    reference = str(local.resolve()) if local.is_dir() else base
    if local.is_dir() and folder.expanduser().resolve() == local.resolve():
        raise UsageError(f"{folder} is the base itself: name another folder")
    check_model_folder(folder, overwrite)  # said before billions of weights are read
    if not merged:
        import_peft()
    index = local / INDEX
    if base == "embedded" or (index.is_file() and read_json(index).get("_class_name") == "IConFaceModel"):
        raise CheckpointError(f"{base}: has adapters already. Give a FLUX.2-klein checkpoint, such as {KLEIN_4B}.")
    prompt, negative = encode_prompts(base, (RESTORATION_PROMPT, NEGATIVE_PROMPT), device)
    model = build_on_base(base, prompt, negative, lora_rank=None if merged else lora_rank, dtype=dtype)
    is_klein_4b = base == KLEIN_4B
    stride = model.autoencoder.stride if isinstance(model.autoencoder, LatentAutoencoder) else FULL_TRAITS.size_multiple
    model.traits = replace(
        FULL_TRAITS,
        name=f"{FULL_TRAITS.name if is_klein_4b else local.name}-untrained",
        size_multiple=stride,
        license=FULL_TRAITS.license if is_klein_4b else f"that of {local.name if local.is_dir() else base}",
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, folder, base=None if merged else reference, storage_dtype=dtype, overwrite=overwrite)
    return model


@dataclass(frozen=True)
class ParameterCounts:
    base: int
    lora: int
    adapters: int


def count_parameters(transformer: IConFaceTransformer) -> ParameterCounts:
    """Backbone, LoRA and adapters apart."""
    named = [(name, p.numel()) for name, p in transformer.base.named_parameters()]
    on_lora = sum(size for name, size in named if ".lora_" in name)
    adapters = sum(p.numel() for p in transformer.adapters.parameters())
    return ParameterCounts(sum(size for _, size in named) - on_lora, on_lora, adapters)
