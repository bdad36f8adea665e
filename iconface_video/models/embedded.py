"""The embedded model: a small FLUX.2-style transformer inside the pixel-space autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, PixelAutoencoderSettings
from iconface_video.models.traits import RestorerTraits
from iconface_video.models.transformer import IConFaceTransformer

PROMPT_TOKENS = 4
EMBEDDED_BASE: dict[str, Any] = {
    "in_channels": 768,
    "out_channels": 256,
    "num_layers": 1,
    "num_single_layers": 3,
    "attention_head_dim": 64,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "timestep_guidance_channels": 256,
    "mlp_ratio": 3.0,
    "axes_dims_rope": (16, 16, 16, 16),
    "rope_theta": 2000,
    "guidance_embeds": False,
}
EMBEDDED_PIXELS = PixelAutoencoderSettings(reference_detail=128, queries_from_state=True, state_doors=True)
EMBEDDED_CONDITIONING = ConditioningSettings(memory_tokens=32, identity_width=256, causal_references=True)
EMBEDDED_SCHEDULER: dict[str, Any] = {"num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False}
EMBEDDED_TRAITS = RestorerTraits(
    name="embedded",
    prediction="image",
    crop_sizes=(128, 256),
    default_steps=1,
    default_guidance=1.0,
    license="research use; see the model card",
)
TIME_EMBEDDING_GAIN = 6.0
"""diffusers leaves torch's initialisation, under which the modulation's gates start at about 0.05: too shy for a short training."""


def build_embedded(
    autoencoder: PixelAutoencoderSettings | None = None,
    base: dict[str, Any] | None = None,
    conditioning: ConditioningSettings = EMBEDDED_CONDITIONING,
    traits: RestorerTraits = EMBEDDED_TRAITS,
) -> IConFaceModel:
    """Untrained, with torch's current random state. Its output is the autoencoder's alone until the transformer is trained.

    base: arguments of diffusers' transformer that differ from `EMBEDDED_BASE`. The prompt is learned (no text encoder).
    """
    pixels = autoencoder or EMBEDDED_PIXELS
    channels = {"in_channels": pixels.token_channels, "out_channels": pixels.feature_channels}
    transformer = IConFaceTransformer.from_config({**EMBEDDED_BASE, **channels, **(base or {})}, conditioning)
    with torch.no_grad():
        transformer.base.time_guidance_embed.timestep_embedder.linear_2.weight.mul_(TIME_EMBEDDING_GAIN)
    nn.init.zeros_(transformer.base.proj_out.weight)
    prompt = torch.randn(1, PROMPT_TOKENS, transformer.base.config.joint_attention_dim)
    model = IConFaceModel(transformer, PixelAutoencoder(pixels), prompt, EMBEDDED_SCHEDULER, traits)
    model.prompt.requires_grad_(True)
    return model
