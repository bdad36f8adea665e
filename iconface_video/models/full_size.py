"""The full size: FLUX.2-klein-base-4B with adapters and LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iconface_video.models.checkpoint_files import read_json
from iconface_video.models.checkpoints import find_base, load_base, load_vae
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.lora import DEFAULT_RANK, add_lora
from iconface_video.models.model import IConFaceModel
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

    base: folder or hub id with transformer/, vae/ and scheduler/. prompt, negative_prompt: (1, L, J) of its text encoder.
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


def count_full_size(rank: int = DEFAULT_RANK) -> ParameterCounts:
    """Of the full config, constructed on the meta device: nothing is allocated or downloaded. Needs peft."""
    with torch.device("meta"):
        transformer = IConFaceTransformer.from_config(KLEIN_4B_BASE, ConditioningSettings())
        add_lora(transformer, rank)
    return count_parameters(transformer)
