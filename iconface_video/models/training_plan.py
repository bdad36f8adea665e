"""What training the full size takes of a GPU, counted on the meta device: one whole step, backward through the autoencoder too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.models import lora
from iconface_video.models.bfl_lora import LORA_KINDS
from iconface_video.models.memory_plan import RESERVE, TEXT_TOKENS, Architecture, bytes_of, cost_of

_TRAINED_BYTES = 4 + 4 + 8 + 4
"""Of a trained weight, in float32: itself, its gradient, AdamW's two moments, its average."""


@dataclass(frozen=True)
class TrainingNeeds:
    frozen_bytes: int
    """Backbone and autoencoder, bfloat16."""
    trained: int
    """Weights of adapters and LoRA."""
    working_bytes: int
    """Alive at once on the way forth and back, gradients of what is trained not counted twice."""
    flops: int
    """Of one step."""

    @property
    def trained_bytes(self) -> int:
        return self.trained * _TRAINED_BYTES

    @property
    def bytes(self) -> int:
        return self.frozen_bytes + self.trained_bytes + self.working_bytes + RESERVE


def training_needs(
    architecture: Architecture,
    *,
    rank: int = lora.DEFAULT_RANK,
    size: int = 512,
    references: int = 3,
    batch: int = 1,
    checkpointing: bool = True,
    with_identity_loss: bool = True,
) -> TrainingNeeds:
    """Count one step. The identity encoder is small beside the rest and left out. Needs peft."""
    dtype = torch.bfloat16
    transformer, autoencoder = architecture.build(dtype)
    with torch.device("meta"):
        lora.add_lora(transformer, rank, targets=lora.kinds_pattern(LORA_KINDS))
    transformer.to(dtype)
    autoencoder.requires_grad_(False)
    if checkpointing:
        transformer.base.enable_gradient_checkpointing()
    cells, channels = size // architecture.stride, int(architecture.backbone["in_channels"])
    with torch.device("meta"):
        scene = torch.empty(batch, cells**2, channels, dtype=dtype)
        rest = torch.empty(batch, (1 + references) * cells**2, channels, dtype=dtype)
        prompt = torch.empty(batch, TEXT_TOKENS, int(architecture.backbone["joint_attention_dim"]), dtype=dtype)
        sigma, identity = torch.empty(batch), torch.empty(batch, 512, dtype=dtype)

    def step() -> None:
        velocity: Tensor = transformer(
            scene, sigma, prompt, (cells, cells), rest, None, identity, ((1 + references) * cells, cells)
        )
        loss = velocity.float().square().mean()
        if with_identity_loss:
            latents = F.pixel_shuffle(velocity.transpose(1, 2).unflatten(2, (cells, cells)), 2)
            picture = autoencoder.decode(latents, return_dict=False)[0]
            loss = loss + picture.float().square().mean()
        loss.backward()

    inputs = (scene, rest, prompt, sigma, identity)
    given = (*transformer.parameters(), *transformer.buffers(), *autoencoder.parameters(), *autoencoder.buffers(), *inputs)
    found = cost_of(step, iter(given), backward=True)
    trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    frozen = [parameter for parameter in (*transformer.parameters(), *autoencoder.parameters()) if not parameter.requires_grad]
    gradients = bytes_of(iter(trained))
    return TrainingNeeds(
        bytes_of(iter(frozen)),
        sum(parameter.numel() for parameter in trained),
        found.peak_bytes - gradients + bytes_of(iter(inputs)),
        found.flops,
    )
