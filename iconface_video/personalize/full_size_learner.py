"""Learning one person with a full-size model: a LoRA on the attention of its frozen backbone, through peft.

The steps are those of the small model's learning: the same views, damage and references. The losses are the paper's (flow matching and
likeness), since this model predicts a velocity on latents and not a picture. What is learnt is kept as the small model's differences
are, so a run knows no difference. Recipe and gain have been tried on a tiny model alone: the published weights need a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.errors import UsageError
from iconface_video.faces.identity_encoder import IdentityEncoder, arcface_from_ffhq
from iconface_video.models import lora
from iconface_video.models.context import ReferenceContext
from iconface_video.models.model import IConFaceModel
from iconface_video.models.traits import add_noise
from iconface_video.personalize.difference import Factors, kept_factors
from iconface_video.personalize.learning import Batch, Learner
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.types import Float32, UInt8

TARGETS = r"transformer_blocks\.\d+\.attn\.(to_q|to_out\.0)"
"""Of the stream that carries the picture: whom it looks for in the references, and what becomes of what it found there."""
MOST_BYTES = 3_500_000
"""Of all factors: with names and facts they stay below what a person may take."""
_RATE_SHARE = 0.025
"""AdamW's learning rate as a share of Muon's, which moves whole matrices."""
_BASE = "transformer.base."


class FullSizeLearner(Learner):
    """A LoRA on the model itself, which is too large to be copied; after `run` the model is as it was, to the bit."""

    def __init__(
        self,
        model: IConFaceModel,
        encoder: IdentityEncoder,
        photos: Sequence[UInt8],
        embeddings: Float32,
        settings: PersonalizeSettings,
    ) -> None:
        """photos: (S, S, 3) RGB in the FFHQ frame; embeddings: (n, 512) raw, of them."""
        if lora.has_lora(model.transformer):
            raise UsageError(
                f"model '{model.traits.name}' carries a LoRA of its own apart from its weights: a person is learnt where it is fused in, as in a run"
            )
        size = max(settings.size, min(model.traits.crop_sizes))
        super().__init__(model, encoder, photos, embeddings, settings, size)
        self._noise = torch.Generator().manual_seed(settings.seed)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """The LoRA is on the model; taken off again whatever happens."""
        from diffusers.utils.peft_utils import recurse_remove_peft_layers

        transformer = self.model.transformer
        torch.manual_seed(self.settings.seed)  # peft draws the factors from torch's own generator
        lora.add_lora(transformer, fitting_rank(self.model, self.settings.rank), targets=TARGETS)
        try:
            self.weights = [weight for name, weight in transformer.base.named_parameters() if ".lora_" in name]
            for weight in self.weights:
                weight.data = weight.data.float()
            transformer.base.enable_gradient_checkpointing()
            rate = _RATE_SHARE * self.settings.learning_rate
            self.optimizer = torch.optim.AdamW(self.weights, lr=rate, weight_decay=0.0)
            yield
        finally:
            transformer.base.disable_gradient_checkpointing()
            recurse_remove_peft_layers(transformer.base)
            del transformer.base.peft_config
            transformer.base._hf_peft_config_loaded = False

    def rate(self, step: int) -> float:
        """AdamW's."""
        return _RATE_SHARE * super().rate(step)

    def learnt(self) -> dict[str, Factors]:
        state = lora.lora_state(self.model.transformer)
        modules = sorted(name.removesuffix(".lora_A.weight") for name in state if name.endswith(".lora_A.weight"))
        return {
            f"{_BASE}{name}.weight": kept_factors(state[f"{name}.lora_B.weight"], state[f"{name}.lora_A.weight"])
            for name in modules
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        model, device = self.model, self.model.device
        truth, source = batch.truth.to(device), batch.source.to(device)
        with torch.no_grad():
            conditioning = model.condition(source, self._anchor(source, batch), self._shown(batch, len(source)))
            clean = model.state_from_picture(truth).float()
        noise = torch.randn(clean.shape, generator=self._noise).to(device)
        sigma = torch.randn(len(clean), generator=self._noise).sigmoid().to(device)  # logit-normal, as such models are trained
        state = add_noise(clean, noise, sigma)
        velocity = model.velocity(state, sigma, conditioning)
        picture = model.picture_from_state(model.parametrisation.clean(velocity, state, sigma)).float()
        with torch.no_grad():
            wanted = self._directions(truth)
        # What is seen through much noise is nobody yet.
        likeness = ((1 - sigma) * (1 - (self._directions(picture) * wanted).sum(1))).mean()
        return {"flow": (velocity - (noise - clean)).square().mean(), "identity": self.settings.identity * likeness}

    def _anchor(self, source: Tensor, batch: Batch) -> Tensor | None:
        if self.model.transformer.settings.is_plain:
            return None
        return self._directions(source) if batch.references is None else self.anchor.expand(len(source), -1)

    def _shown(self, batch: Batch, count: int) -> list[ReferenceContext | None]:
        if batch.references is None:
            return [None] * count
        return [self.model.encode_references(batch.references.to(self.model.device), self.size)] * count

    def _directions(self, pictures: Tensor) -> Tensor:
        """(B, 512) unit."""
        return F.normalize(self.encoder(arcface_from_ffhq(pictures.float())).float(), dim=1)


def fitting_rank(model: IConFaceModel, rank: int) -> int:
    """At most so high that all factors fit into a person's file. UsageError for a model without such modules."""
    expected = lora.expected_state(model.transformer, 1, TARGETS)
    if not expected:
        raise UsageError(f"model '{model.traits.name}' has no attention of the kind that a person is learnt with")
    return max(1, min(rank, MOST_BYTES // (2 * sum(item.numel() for item in expected.values()))))
