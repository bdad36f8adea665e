"""The embedded model: a small FLUX.2-style transformer inside the coarse pass of a cascade of convolutional networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from iconface_video.models.cascade import CascadeAutoencoder, CascadeSettings
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
"""Of the first generation, one pass at the crop's own size."""
EMBEDDED_CASCADE = CascadeSettings(
    coarse=replace(EMBEDDED_PIXELS, global_heads=(4, 8), confidence=True),
    refiner=replace(EMBEDDED_PIXELS, token_channels=0, confidence=True, guided=True),
)
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
    autoencoder: PixelAutoencoderSettings | CascadeSettings | None = None,
    base: dict[str, Any] | None = None,
    conditioning: ConditioningSettings = EMBEDDED_CONDITIONING,
    traits: RestorerTraits = EMBEDDED_TRAITS,
) -> IConFaceModel:
    """Untrained, with torch's current random state. Its output is the autoencoder's alone until the transformer is trained.

    autoencoder: None: the first generation's.
    base: arguments of diffusers' transformer that differ from `EMBEDDED_BASE`. The prompt is learned (no text encoder).
    """
    settings = autoencoder or EMBEDDED_PIXELS
    pixels = settings.coarse if isinstance(settings, CascadeSettings) else settings
    channels = {"in_channels": pixels.token_channels, "out_channels": pixels.feature_channels}
    transformer = IConFaceTransformer.from_config({**EMBEDDED_BASE, **channels, **(base or {})}, conditioning)
    with torch.no_grad():
        transformer.base.time_guidance_embed.timestep_embedder.linear_2.weight.mul_(TIME_EMBEDDING_GAIN)
    nn.init.zeros_(transformer.base.proj_out.weight)
    prompt = torch.randn(1, PROMPT_TOKENS, transformer.base.config.joint_attention_dim)
    coder = CascadeAutoencoder(settings) if isinstance(settings, CascadeSettings) else PixelAutoencoder(settings)
    model = IConFaceModel(transformer, coder, prompt, EMBEDDED_SCHEDULER, traits)
    model.prompt.requires_grad_(True)
    return model


def as_cascade(model: IConFaceModel) -> IConFaceModel:
    """A model of the first generation as the start of a cascade: its networks are the coarse pass and, without the transformer, the
    refiner; what is new starts at zero, but for the gates, which start nearly open. A cascade comes back as it is.

    TypeError for a model in a latent space.
    """
    if isinstance(model.autoencoder, CascadeAutoencoder):
        return model
    if not isinstance(model.autoencoder, PixelAutoencoder):
        raise TypeError(f"model '{model.traits.name}' does not work on pixels: it cannot become a cascade")
    own = model.autoencoder.settings
    cascade = CascadeAutoencoder(
        CascadeSettings(
            coarse=replace(own, global_heads=EMBEDDED_CASCADE.coarse.global_heads, confidence=True),
            refiner=replace(own, token_channels=0, confidence=True, guided=True),
        )
    )
    weights = model.autoencoder.state_dict()
    for network in (cascade.coarse, cascade.refiner):
        missing, _ = network.load_state_dict(weights, strict=False)
        new = ("global_", "decoder.confidence.", "encoder.guides.")
        left = [name for name in missing if not name.startswith(new)]
        assert not left, left
    started = IConFaceModel(model.transformer, cascade, model.prompt.detach(), model.scheduler_config, model.traits)
    started.prompt.requires_grad_(True)
    return started
