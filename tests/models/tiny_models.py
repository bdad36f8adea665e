"""Models small enough for a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

from iconface_video.models.autoencoder import LatentAutoencoder
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.embedded import build_embedded
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoderSettings
from iconface_video.models.traits import RestorerTraits
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


TINY_SCHEDULER: dict[str, Any] = {"num_train_timesteps": 1000, "use_dynamic_shifting": True, "time_shift_type": "exponential"}
TINY_CONDITIONING = ConditioningSettings(memory_tokens=8, rank=4, identity_width=16)
TINY_PIXELS = PixelAutoencoderSettings(
    widths=(4, 4, 8, 8),
    encoder_blocks=(1, 1, 1, 1),
    decoder_blocks=(1, 1, 1, 1),
    head_width=4,
    feature_channels=12,
    reference_grid=2,
    attention_heads=2,
    attention_channels=(4, 4),
    window=3,
    reference_detail=4,
    queries_from_state=True,
    state_doors=True,
)


def start_all(module: torch.nn.Module) -> None:
    """Give every parameter that starts at zero random values, so that it really acts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def tiny_vae() -> AutoencoderKLFlux2:
    """3 latent channels = 12 a token, 4 px a token; with latent statistics that are not the neutral ones."""
    torch.manual_seed(2)
    vae: Any = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=3,
        norm_num_groups=4,
        sample_size=32,
    )
    vae.bn.running_mean.copy_(torch.linspace(-0.5, 0.5, 12))
    vae.bn.running_var.copy_(torch.linspace(0.5, 2.0, 12))
    return vae.eval()


def tiny_latent_model(*, causal: bool = False, started: bool = True) -> IConFaceModel:
    """As the full size is built: velocity prediction on VAE latents, guidance."""
    transformer = tiny_transformer(causal=causal, started=started)
    traits = RestorerTraits("tiny", "velocity", crop_sizes=(32,), size_multiple=4, default_steps=3)
    generator = torch.Generator().manual_seed(3)
    prompt, negative = torch.randn(2, 1, 5, 24, generator=generator)
    return IConFaceModel(transformer, LatentAutoencoder(tiny_vae()), prompt, TINY_SCHEDULER, traits, negative).eval()


def tiny_pixel_model(*, started: bool = True) -> IConFaceModel:
    """As the embedded size is built: image prediction on pixels, cached references, no guidance."""
    torch.manual_seed(0)
    base = {key: TINY[key] for key in TINY if key != "in_channels"}
    conditioning = replace(TINY_CONDITIONING, causal_references=True)
    model = build_embedded(TINY_PIXELS, base, conditioning)
    if started:
        start_all(model)
    return model.eval()


def tiny_transformer(*, causal: bool, started: bool = True, **changes: Any) -> IConFaceTransformer:
    """started: every zero-initialised part gets random weights, so that it really acts."""
    torch.manual_seed(0)
    settings = replace(TINY_CONDITIONING, causal_references=causal)
    model = IConFaceTransformer(Flux2Transformer2DModel(**{**TINY, **changes}), settings)
    if started:
        start_all(model.adapters)
    return model.eval()
