"""The full size: IConFace's adapters and LoRA on a frozen FLUX.2 backbone, under the paper's losses (IConFace eq. 8-12).

Only what is trained is averaged and saved in checkpoints; the backbone stays in its own number format, what is trained in
float32, and activations are computed again on the way back (gradient checkpointing).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from iconface_video.errors import UsageError
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.data import FaceBatch
from iconface_video.lab.train.restorer import RestorerTask, TaskParts
from iconface_video.lab.train.trainer import Losses
from iconface_video.learn.losses import identity_loss
from iconface_video.models import lora
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import Sampling
from iconface_video.models.traits import add_noise
from iconface_video.models.transformer import IConFaceTransformer

PROMPT_DROPOUT = 0.1
"""Share of the steps with the empty prompt, so that guidance keeps its unconditional pass."""


class Trainables(nn.Module):
    """A model's trainable parameters by name, and nothing else: the same objects, in float32."""

    def __init__(self, model: IConFaceModel) -> None:
        super().__init__()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
                self.register_parameter(self._plain(name), parameter)

    @staticmethod
    def _plain(name: str) -> str:
        """torch allows no dots in a parameter's own name."""
        return name.replace(".", ":")


def with_pathways(model: IConFaceModel, settings: ConditioningSettings | None = None) -> IConFaceModel:
    """A model whose transformer has all of IConFace's pathways, new ones where it has none: it still computes the same, to the bit.

    Backbone and LoRA are shared with the model that is given; adapters and LoRA are trainable, all else is not.
    """
    transformer = model.transformer
    if transformer.settings.is_plain:
        made = IConFaceTransformer(transformer.base, settings or ConditioningSettings())
        made.adapters.to(model.device)
        transformer = made
    if not lora.has_lora(transformer):
        raise UsageError(f"model '{model.traits.name}' has no LoRA to train: start from a folder that refers to its base")
    found = IConFaceModel(
        transformer, model.autoencoder, model.prompt.data, model.scheduler_config, model.traits, model.negative_prompt
    )
    for name, parameter in found.named_parameters():
        parameter.requires_grad_(".lora_" in name or ".adapters." in name)
    found.compute_dtype = model.compute_dtype
    return found


class FullSizeTask(RestorerTask):
    """Trains adapters and LoRA of a model of velocity prediction on latents."""

    def __init__(self, model: IConFaceModel, parts: TaskParts) -> None:
        losses = parts.losses
        if losses.stage != "flow" or losses.adversarial or losses.perceptual:
            raise UsageError(
                "the full size is trained by flow and identity losses alone: leave stage, adversarial, perceptual out"
            )
        super().__init__(model, parts)
        self.modules = {"trainables": Trainables(model)}
        model.transformer.base.enable_gradient_checkpointing()

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.model.to(device)

    def losses(self, batch: FaceBatch, step: int) -> Losses:
        truth, source = to_tensor(batch.truth, self.device), to_tensor(batch.source, self.device)
        references = to_tensor(batch.references, self.device) if batch.references.shape[1] else None
        generator = torch.Generator().manual_seed(step)
        anchor = self.anchor(source, references)
        conditioning = self.condition(source, references, anchor)
        with torch.no_grad():
            clean = self.model.state_from_picture(truth).float()
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        sigma = torch.randn(len(clean), generator=generator).sigmoid().to(clean.device)  # logit-normal, as FLUX is trained
        x = add_noise(clean, noise, sigma)
        prompt = self._prompt(generator)
        velocity = self.model.parametrisation.velocity(self.model._output(x, sigma, conditioning, prompt), x, sigma)
        flow = (velocity - (noise - clean)).square().mean()
        total, figures = self.weights.flow * flow, {"flow": flow.item()}
        if self.identity_encoder is not None and references is not None and anchor is not None and self.weights.identity:
            picture = self.model.picture_from_state(self.model.parametrisation.clean(velocity, x, sigma))
            with torch.no_grad():
                target = nn.functional.normalize(self.embed(truth), dim=1)
            identity, cosine = identity_loss(self.embed(picture), anchor, target, sigma, self.weights.hard_weight)
            total = total + self.weights.identity * identity.mean()
            figures.update(identity=identity.mean().item(), cosine=cosine.mean().item())
        yield "trainables", total, {**figures, "loss": total.item()}

    def _prompt(self, generator: torch.Generator) -> Tensor:
        negative = self.model.negative_prompt
        is_dropped = torch.rand((), generator=generator).item() < PROMPT_DROPOUT
        return self.model.prompt if negative is None or not is_dropped else negative

    def restore(self, source: Tensor, references: Tensor | None) -> Tensor:
        """As the sampler does it, with guidance and fixed noise."""
        shape = (len(source), *self.model.noise_shape(source.shape[-1]))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(source.device)
        count = 0 if references is None else references.shape[1]
        contexts = None if references is None else self.model.encode_references(references.flatten(0, 1), source.shape[-1])
        shown = [None if contexts is None else contexts[i * count : (i + 1) * count] for i in range(len(source))]
        return self.model.restore(source, self.anchor(source, references), shown, noise, Sampling(self.weights.steps))

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        self.model.eval()
        return super().validate(folder, step)
