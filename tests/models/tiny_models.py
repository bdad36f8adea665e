"""Models small enough for a test."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import Flux2Transformer2DModel

from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.transformer import IConFaceTransformer

TINY: dict[str, Any] = {
    "in_channels": 12,
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "timestep_guidance_channels": 32,
    "mlp_ratio": 2.0,
    "axes_dims_rope": (4, 4, 4, 4),
    "guidance_embeds": False,
}
"""A FLUX.2 backbone small enough for a test."""


def tiny_transformer(*, causal: bool, started: bool = True, **changes: Any) -> IConFaceTransformer:
    """started: every zero-initialised part gets random weights, so that it really acts."""
    torch.manual_seed(0)
    settings = ConditioningSettings(memory_tokens=8, rank=4, identity_width=16, causal_references=causal)
    model = IConFaceTransformer(Flux2Transformer2DModel(**{**TINY, **changes}), settings)
    if started:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.adapters.parameters():
                if not parameter.any():
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()
