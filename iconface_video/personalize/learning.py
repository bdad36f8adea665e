"""Learning one person: a few dozen steps of the coarse pass on damaged views of a few photos."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from iconface_video.degrade import degrade
from iconface_video.errors import Cancelled, UsageError
from iconface_video.faces.encoder_networks import CompactNet
from iconface_video.faces.identity_encoder import IdentityEncoder, arcface_from_ffhq, to_tensor
from iconface_video.identity.anchors import aggregate
from iconface_video.learn.losses import ViewJitter, charbonnier, charbonnier_at_scales
from iconface_video.learn.muon import Muon
from iconface_video.models.context import ReferenceContext
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import make_sigmas
from iconface_video.models.traits import add_noise
from iconface_video.personalize.difference import Factors, attach, learnt_factors, target_weights
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.personalize.views import REFERENCE_VIEW, TARGET_VIEW, another_view
from iconface_video.types import Float32, UInt8

OnStep = Callable[[int, int], None]
"""Steps done, steps in all."""
ShouldStop = Callable[[], bool]

PIXEL_SCALES = (1.0, 1.0, 1.0, 1.0, 1.0)
"""Down to 1/16: likeness is paid for with light and shape that drift from the degraded picture, which coarse errors tell best."""
GRADIENT_CLIP = 3.0
_DAMAGE_SCALE = 0.05
"""Charbonnier: what a moderate damage costs; errors count relative to (the root of) what the damage cost."""
_MAPS = 3
"""Of the encoder's maps: at 1/2, 1/4 and 1/8 of what it sees."""
_FROM_AFAR = 0.5
"""Share of steps in which the encoder sees both at half their size: fine patterns that please it, and no other judge, are lost there."""
_PHOTO_SIDE = 1.5
"""Photos are brought to this many times the size at which is learnt, once: views of them stay sharp when they are enlarged."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step sees."""

    truth: Tensor
    """(B, 3, S, S) in [-1, 1]."""
    source: Tensor
    """(B, 3, S, S), damaged."""
    references: Tensor | None
    """(R, 3, S, S), shown with all of them."""
    noise: Tensor
    """(B, 3, S, S)."""


class Batches:
    """Draws batches; the same settings and photos give the same ones."""

    def __init__(self, photos: Sequence[UInt8], settings: PersonalizeSettings, most_references: int) -> None:
        """photos: (S, S, 3) RGB in the FFHQ frame."""
        side = round(_PHOTO_SIDE * settings.size)
        self.photos: list[UInt8] = [
            photo
            if photo.shape[0] <= side
            else np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            for photo in photos
        ]
        self.settings, self.most_references = settings, min(most_references, len(photos))
        self._rng = np.random.default_rng(settings.seed)

    def draw(self) -> Batch:
        settings, rng = self.settings, self._rng
        truth = [another_view(self._any(), settings.size, TARGET_VIEW, rng) for _ in range(settings.faces)]
        source = [self._damaged(face) for face in truth]
        references = None
        if self.most_references and rng.random() < settings.reference_share:
            count = int(rng.integers(1, self.most_references + 1))
            chosen = rng.permutation(len(self.photos))[:count]
            shown = [another_view(self.photos[int(which)], settings.size, REFERENCE_VIEW, rng) for which in chosen]
            references = to_tensor(shown)
        noise = torch.from_numpy(rng.standard_normal((len(truth), 3, settings.size, settings.size), dtype=np.float32))
        return Batch(to_tensor(truth), to_tensor(source), references, noise)

    def _any(self) -> UInt8:
        return self.photos[int(self._rng.integers(len(self.photos)))]

    def _damaged(self, face: UInt8) -> UInt8:
        settings, rng = self.settings, self._rng
        kind = rng.random()
        if kind < settings.empty_share:
            return np.broadcast_to(face.mean((0, 1)).round().astype(np.uint8), face.shape).copy()
        light = kind < settings.empty_share + settings.light_share
        low, high = (0.0, settings.lowest_strength) if light else (settings.lowest_strength, settings.highest_strength)
        return degrade(face, float(rng.uniform(low, high)), rng)


class Learner(ABC):
    """Learns a difference to a model's weights, step by step."""

    def __init__(
        self,
        model: IConFaceModel,
        encoder: IdentityEncoder,
        photos: Sequence[UInt8],
        embeddings: Float32,
        settings: PersonalizeSettings,
        size: int | None = None,
    ) -> None:
        """photos: (S, S, 3) RGB in the FFHQ frame; embeddings: (n, 512) raw, of them.  size: px, the settings' when None."""
        is_here = next(encoder.parameters()).device == model.device
        self.model, self.settings = model, settings
        self.encoder = encoder if is_here else copy.deepcopy(encoder).to(model.device)
        self.size = size or settings.size
        self.batches = Batches(photos, replace(settings, size=self.size), model.traits.max_references)
        self.weights: list[nn.Parameter]
        """What is learnt."""
        self.optimizer: torch.optim.Optimizer
        self.anchor = torch.from_numpy(aggregate(embeddings).direction).to(model.device)

    def run(self, on_step: OnStep, should_stop: ShouldStop) -> dict[str, Factors]:
        """Raises Cancelled."""
        with self.learning():
            for step in range(self.settings.steps):
                if should_stop():
                    raise Cancelled("stopped while a person was being learnt")
                self.step(step)
                on_step(step + 1, self.settings.steps)
            return self.learnt()

    def learning(self) -> AbstractContextManager[None]:
        """What holds while it learns."""
        return nullcontext()

    def step(self, number: int) -> dict[str, float]:
        """One step -> its losses by name."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(number)
        with self.model.precision():
            parts = self.losses(self.batches.draw())
        total = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.weights, GRADIENT_CLIP)
        self.optimizer.step()
        return {name: float(part.detach()) for name, part in parts.items()}

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; their sum is what is made smaller."""

    @abstractmethod
    def learnt(self) -> dict[str, Factors]:
        """By the weight's name."""

    def rate(self, step: int) -> float:
        """Learning rate: a rise, then a cosine."""
        settings = self.settings
        rising = min(1.0, (step + 1) / max(1, settings.warmup_steps))
        falling = (1 + np.cos(np.pi * step / settings.steps)) / 2
        return float(settings.learning_rate * rising * (settings.final_rate + (1 - settings.final_rate) * falling))


class PersonLearner(Learner):
    """A copy of a model that works on pixels. The model itself stays as it is."""

    def __init__(
        self,
        model: IConFaceModel,
        encoder: IdentityEncoder,
        photos: Sequence[UInt8],
        embeddings: Float32,
        settings: PersonalizeSettings,
    ) -> None:
        """As `Learner`."""
        if model.traits.prediction != "image":
            raise UsageError(f"model '{model.traits.name}' does not work on pixels: a person cannot be learnt with it here")
        names = target_weights(model, settings.weights)
        if not names:
            raise UsageError(f"model '{model.traits.name}' has no weight that is called like '{settings.weights}'")
        super().__init__(copy.deepcopy(model), encoder, photos, embeddings, settings)
        self.differences = attach(self.model, names, settings.rank, torch.Generator().manual_seed(settings.seed))
        self.weights = [weight for item in self.differences.values() for weight in item.parameters()]
        self.optimizer = Muon(self.weights, lr=settings.learning_rate, weight_decay=0.0)
        self._looks = torch.Generator().manual_seed(settings.seed)

    def learnt(self) -> dict[str, Factors]:
        return learnt_factors(self.differences)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        with parametrize.cached():
            return self._losses(*self._restored(batch))

    def _restored(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(restored, truth, source), each (B, 3, S, S): one step of the model's own sampler, at a noise level that it visits."""
        model, device, with_transformer = self.model, self.model.device, self.settings.transformer
        truth, source, noise = (tensor.to(device) for tensor in (batch.truth, batch.source, batch.noise))
        source = source.contiguous(memory_format=torch.channels_last)
        anchor: Tensor | None = None
        context: ReferenceContext | None = None
        if batch.references is not None:
            shown = batch.references.to(device).contiguous(memory_format=torch.channels_last)
            context = model.encode_references(shown, source.shape[-1], with_transformer)
            anchor = self.anchor.expand(len(source), -1)
        elif with_transformer:
            with torch.no_grad():
                anchor = self._embedded(source)
        conditioning = model.condition(source, anchor, [context] * len(source))
        rows, columns = conditioning.source.grid
        sigmas = make_sigmas(model.traits.default_steps, rows * columns, model.scheduler_config, 1.0)
        sigma = sigmas[int(self.batches._rng.integers(len(sigmas) - 1))].to(noise).expand(len(noise))
        state = add_noise(truth, noise, sigma)
        return model.predict_clean(state, sigma, conditioning, with_transformer).float(), truth, source

    def _losses(self, restored: Tensor, truth: Tensor, source: Tensor) -> dict[str, Tensor]:
        share = (_DAMAGE_SCALE / (charbonnier(source - truth) + 0.2 * _DAMAGE_SCALE)).sqrt()
        pixel = (share * charbonnier_at_scales(restored - truth, PIXEL_SCALES)).mean()
        look = ViewJitter.draw(self._looks)
        if torch.rand((), generator=self._looks) < _FROM_AFAR:
            restored, truth = F.avg_pool2d(restored, 2), F.avg_pool2d(truth, 2)
        with torch.no_grad():
            wanted, wanted_maps = self._seen(truth, look)
        found, maps = self._seen(restored, look)
        cosine = (found * wanted).sum(1)
        apart = [(a - b).square().sum(1).mean() for a, b in zip(maps, wanted_maps)]
        parts = {"pixel": pixel, "identity": self.settings.identity * (1 - cosine).mean()}
        if apart:
            parts["features"] = self.settings.features * torch.stack(apart).sum()
        return parts

    def _embedded(self, pictures: Tensor) -> Tensor:
        """(B, 512) raw."""
        out: Tensor = self.encoder(arcface_from_ffhq(pictures.float())).float()
        return out

    def _seen(self, pictures: Tensor, look: ViewJitter) -> tuple[Tensor, list[Tensor]]:
        """(B, 512) unit, and the encoder's first maps, unit over channels (as LPIPS has them): it takes no training extra to see edges.

        Each step looks a little elsewhere: what pleases the encoder in one view alone is no likeness.
        """
        seen = look.of(pictures)
        network = self.encoder.network
        if not isinstance(network, CompactNet):
            return F.normalize(self.encoder(seen).float(), dim=1), []
        maps = [network.stem(self.encoder.prepared(seen))]
        for stage in network.stages:
            maps.append(stage(maps[-1]))
        unit = [F.normalize(item.float(), dim=1, eps=1e-4) for item in maps[:_MAPS]]
        return F.normalize(network.head(maps[-1])[0].float(), dim=1), unit
