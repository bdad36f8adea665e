"""The restorer's second and third stage: flow matching with references and anchor, then the sampler's own few steps.

Flow stage: IConFace's objective (method: eq. 1, 8-12) on one random noise level a sample. Few-step stage: the model runs
the steps that the sampler will run, the last of them with gradient, under a perceptual, an adversarial and an identity loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import record_function

from iconface_video.faces.identity_encoder import IdentityEncoder, arcface_from_ffhq
from iconface_video.faces.landmark_network import find_landmarks, load_landmark_network
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.attempt import Attempt, Shown
from iconface_video.lab.train.autoencoder import faster_parts
from iconface_video.lab.train.data import FaceBatch, FaceMixer, UInt8
from iconface_video.lab.train.feature_regions import feature_regions
from iconface_video.lab.train.loading import stream
from iconface_video.lab.train.trainer import Losses, Task
from iconface_video.lab.train.validation import ValidationSet, validate_columns
from iconface_video.learn.loss_settings import LossSettings
from iconface_video.learn.losses import (
    PatchDiscriminator,
    PerceptualLoss,
    ViewJitter,
    charbonnier,
    charbonnier_at_scales,
    damage_loss,
    energy_spread,
    hard_example_loss,
    harm_loss,
    hinge_discriminator,
    hinge_restorer,
    identity_loss,
    temporal_consistency_loss,
)
from iconface_video.models.cascade import CascadeAutoencoder
from iconface_video.models.context import ReferenceContext
from iconface_video.models.model import Conditioning, IConFaceModel
from iconface_video.models.pixel_autoencoder import Decoded, PixelAutoencoder
from iconface_video.models.sampler import sample_euler
from iconface_video.models.traits import add_noise

T = TypeVar("T")

PIXEL_SCALE = 0.05
"""Typical error of a degraded picture; brings the relative pixel loss to the scale of a plain one."""

JUDGE_RATE = 0.75
"""Of the model's learning rate."""


@dataclass(frozen=True, eq=False)
class TaskParts:
    """What every way to train a restorer works with, beside the model."""

    mixer: FaceMixer
    validation: ValidationSet
    losses: LossSettings
    identity_encoder: IdentityEncoder | None
    workers: int = 1
    """Processes that make batches; 0: this one."""


class RestorerTask(Task):
    """Trains an IConFaceModel of image prediction on paired faces."""

    def __init__(self, model: IConFaceModel, parts: TaskParts) -> None:
        losses, identity_encoder = parts.losses, parts.identity_encoder
        self.model, self.mixer, self.validation, self.weights = model, parts.mixer, parts.validation, losses
        self.identity_encoder, self.workers = identity_encoder, parts.workers
        self.modules: dict[str, nn.Module] = {"model": model}
        self.discriminator = PatchDiscriminator() if losses.adversarial else None
        if self.discriminator is not None:
            self.modules["judge"] = self.discriminator
        self.perceptual = PerceptualLoss() if losses.perceptual else None
        self.landmarks = load_landmark_network() if losses.features else None
        if identity_encoder is not None:
            identity_encoder.requires_grad_(False).eval()

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        return {name: [p for p in module.parameters() if p.requires_grad] for name, module in self.modules.items()}

    def rates(self) -> dict[str, float]:
        return {"judge": JUDGE_RATE}

    def faster(self) -> list[tuple[float, list[Tensor]]]:
        networks = self.model.autoencoder
        if isinstance(networks, CascadeAutoencoder):
            return [*faster_parts(networks.coarse), *faster_parts(networks.refiner)]
        return faster_parts(networks) if isinstance(networks, PixelAutoencoder) else []

    with_transformer = reference_gradient = True
    """Whether the step at hand has them, see `LossSettings.transformer_every`; what is only restored has all."""
    turn = 0
    """Whose turn it is among a face's references, see `LossSettings.reference_gradients`."""

    def to(self, device: torch.device) -> None:
        super().to(device)
        for helper in (self.perceptual, self.identity_encoder, self.landmarks):
            if helper is not None:
                helper.to(device)

    def batches(self, seed: int, start_step: int) -> Iterator[FaceBatch]:
        return stream(partial(self.mixer.batch, seed), start_step, self.workers)

    # ---- one step

    def losses(self, batch: FaceBatch, step: int) -> Losses:
        self.with_transformer = step % self.weights.transformer_every == 0
        self.reference_gradient = step % self.weights.reference_gradient_every == 0
        self.turn = step
        truth, source = to_tensor(batch.truth, self.device), to_tensor(batch.source, self.device)
        references = to_tensor(batch.references, self.device) if batch.references.shape[1] else None
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(truth.shape, generator=generator).to(self.device)
        if len(batch.moves) and self.weights.spread:
            noise = noise[: len(noise) // 2].repeat(2, 1, 1, 1)  # a track's frames share it
        looks = self.with_transformer or self._is_due("identity", step)  # else nobody asks for the anchor
        anchor = self.anchor(source, references) if looks else None
        shown = Shown(truth, source, references, anchor, noise, self._pixel_weight(batch.truth))
        moves = torch.from_numpy(batch.moves).to(self.device)
        attempt = self.attempt(shown, moves, generator, with_other=self._is_due("spread", step))
        look = ViewJitter.draw(generator)
        parts, figures = self._parts(attempt, shown, look, step)
        if len(batch.moves) and self.weights.steady:
            first, second = attempt.restored.chunk(2)
            parts["steady"] = self.weights.steady * temporal_consistency_loss(first, second, attempt.moves).mean()
        total = torch.stack([part.float() for part in parts.values()]).sum()
        yield "model", total, {**{name: part.item() for name, part in parts.items()}, **figures, "loss": total.item()}
        if self.discriminator is not None and self._is_due("adversarial", step):
            fake = attempt.restored.detach().clamp(-1, 1)
            loss = hinge_discriminator(
                self.discriminator(attempt.truth, attempt.source), self.discriminator(fake, attempt.source)
            )
            yield "judge", loss, {"judge": loss.item()}

    def attempt(self, shown: Shown, moves: Tensor, generator: torch.Generator, with_other: bool) -> Attempt:
        """Restore a batch as this stage does it. with_other: once more from other noise, without gradient."""
        conditioning = self.condition(shown.source, shown.references, shown.anchor)
        noise, other = shown.noise, None
        if self.weights.stage == "flow":
            sigma = self._sigmas(len(noise), generator).to(self.device)
            restored, decoded = self._predict(add_noise(shown.truth, noise, sigma), sigma, conditioning)
        else:
            number = int(torch.randint(self.weights.steps, (1,), generator=generator))
            restored, decoded, sigma = self._at_step(number, noise, conditioning)
            if with_other:
                with torch.no_grad():
                    fresh = torch.randn(noise.shape, generator=generator).to(noise)
                    other = self._at_step(number, fresh, conditioning)[0]
        return Attempt(
            shown.truth, shown.source, restored, restored, sigma, moves, shown.source, decoded, other, shown.pixel_weight
        )

    def _pixel_weight(self, truth: UInt8) -> Tensor | None:
        if self.landmarks is None:
            return None
        regions = feature_regions(find_landmarks(self.landmarks, list(truth)), truth.shape[1])
        return 1 + self.weights.features * torch.from_numpy(regions).to(self.device)

    def _is_due(self, name: Literal["spread", "perceptual", "identity", "adversarial"], step: int) -> bool:
        weights = self.weights
        weight, every = {
            "spread": (weights.spread, weights.spread_every),
            "perceptual": (weights.perceptual, weights.perceptual_every),
            "identity": (weights.identity + weights.truth_identity, weights.identity_every),
            "adversarial": (weights.adversarial, weights.adversarial_every),
        }[name]
        return weight > 0 and step % every == 0

    def _parts(self, attempt: Attempt, shown: Shown, look: ViewJitter, step: int) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The model's losses by name, and figures beside them."""
        weights, restored, truth, source = self.weights, attempt.restored, attempt.truth, attempt.source
        # Relative to (the root of) what the degradation cost: else the hopeless faces drown what can be learnt.
        damage = charbonnier(source - truth)
        share = (PIXEL_SCALE / (damage + 0.2 * PIXEL_SCALE)).sqrt()
        error = charbonnier_at_scales(restored - truth, weights.pixel_scales, attempt.pixel_weight)
        parts = {"pixel": weights.pixel * (share * error).mean()}
        figures: dict[str, float] = {}
        other = attempt.other
        if other is not None:
            apart = energy_spread(restored, other, weights.pixel_scales, attempt.pixel_weight)
            parts["spread"] = -weights.spread_every * weights.spread * weights.pixel * (share * apart).mean()
            figures["noise_rms"] = 127.5 * (restored.detach() - other).std().item()
        if weights.stage == "flow" and weights.flow:
            # |u - u*|^2 = |x0_hat - x0|^2 / sigma^2 (eq. 1): the velocity's loss on the predicted picture.
            squared = (restored - truth).float().square().flatten(1).mean(1)
            parts["flow"] = weights.flow * (squared / attempt.sigma.clamp(min=weights.smallest_sigma).square()).mean()
        if self.perceptual is not None and self._is_due("perceptual", step):
            some = max(1, round(weights.perceptual_share * len(truth)))  # it costs more than the model itself
            distance = self.perceptual(restored[:some], truth[:some])
            if other is not None:  # squared: what the samples differ by would count as error
                distance = distance - weights.spread_every * weights.spread * self.perceptual(restored[:some], other[:some])
            parts["perceptual"] = weights.perceptual_every * weights.perceptual * distance.mean()
        if self.discriminator is not None and self._is_due("adversarial", step):
            known = (weights.texture_error / damage).clamp(max=1) if weights.texture_error else None
            self.discriminator.requires_grad_(False)  # its own gradients of this loss would be thrown away
            liked = hinge_restorer(self.discriminator(restored, source), known)
            self.discriminator.requires_grad_(True)
            parts["adversarial"] = weights.adversarial_every * weights.adversarial * liked
        parts.update(self._confidence_parts(attempt, figures))
        if self.identity_encoder is not None and self._is_due("identity", step):
            anchor = shown.anchor if shown.references is not None else None
            loss, figures["id_cos"] = self._identity_part(attempt.whole, shown.truth, attempt.sigma, anchor, look)
            parts["identity"] = weights.identity_every * loss
        return parts, figures

    def _confidence_parts(self, attempt: Attempt, figures: dict[str, float]) -> dict[str, Tensor]:
        """What a cascade's pass knows of the damage, and what it made worse."""
        parts, decoded, weights = {}, attempt.decoded, self.weights
        if decoded is not None and decoded.damage is not None and decoded.gate is not None and weights.damage:
            parts["damage"] = weights.damage * damage_loss(decoded.damage, attempt.before, attempt.truth).mean()
            figures["gate"] = decoded.gate.mean().item()
        if weights.harm:
            parts["harm"] = weights.harm * harm_loss(attempt.restored, attempt.source, attempt.truth).mean()
        return parts

    def _identity_part(
        self, restored: Tensor, truth: Tensor, sigma: Tensor, anchor: Tensor | None, look: ViewJitter
    ) -> tuple[Tensor, float]:
        weights = self.weights
        with torch.no_grad():
            target = F.normalize(self.embed(truth, look), dim=1)
        embedding = self.embed(restored, look)
        cosine = (F.normalize(embedding, dim=1) * target).sum(1)
        if anchor is None:
            return weights.truth_identity * (1 - cosine).mean(), cosine.mean().item()
        if weights.identity_kind == "hard_example":
            loss = hard_example_loss(embedding, anchor, target)
        else:
            # The few-step stage's pictures are clean estimates: omega is that of sigma 0.
            level = sigma if weights.stage == "flow" else torch.zeros_like(sigma)
            loss, _ = identity_loss(embedding, anchor, target, level, weights.hard_weight)
        return weights.identity * loss.mean() + weights.truth_identity * (1 - cosine).mean(), cosine.mean().item()

    def _sigmas(self, count: int, generator: torch.Generator) -> Tensor:
        random = torch.rand(count, generator=generator).clamp(min=0.02)
        return random.where(torch.rand(count, generator=generator) > self.weights.full_noise_share, torch.ones(()))

    def _at_step(self, number: int, noise: Tensor, conditioning: Conditioning) -> tuple[Tensor, Decoded | None, Tensor]:
        """Run the sampler up to its step `number` without gradient, then that one with: its clean estimate and its sigma."""
        sigmas = torch.linspace(1, 0, self.weights.steps + 1)
        x = self._sampled(noise, conditioning, sigmas[: number + 1]) if number else noise
        level = sigmas[number].expand(len(x)).to(x.device)
        return *self._predict(x, level, conditioning), level

    def _predict(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> tuple[Tensor, Decoded | None]:
        """The clean estimate, float32, and how a cascade's last pass came to it."""
        if not isinstance(self.model.autoencoder, CascadeAutoencoder):
            return self.model.predict_clean(x, sigma, conditioning, self.with_transformer), None
        decoded = self.model.decode_parts(x, sigma, conditioning, self.with_transformer)[-1]
        return decoded.picture.float(), decoded

    def _sampled(self, noise: Tensor, conditioning: Conditioning, sigmas: Tensor) -> Tensor:
        """The sampler itself, from noise down to the last of `sigmas`, without gradient."""
        return sample_euler(lambda x, sigma: self.model.velocity(x, sigma, conditioning), noise, sigmas)

    # ---- what the model sees

    @record_function("part: identity")
    def embed(self, pictures: Tensor, look: ViewJitter | None = None) -> Tensor:
        """(B, 3, S, S) in the FFHQ frame -> (B, 512) raw embeddings, float32, differentiable."""
        assert self.identity_encoder is not None
        seen = arcface_from_ffhq(pictures.float()) if look is None else look.of(pictures)
        out: Tensor = self.identity_encoder(seen).float()
        return out

    @torch.no_grad()
    def anchor(self, source: Tensor, references: Tensor | None) -> Tensor | None:
        """(B, 512) unit: the references' anchor (IConFace eq. 3-4, T = 1), or the degraded face's own as a fallback."""
        if self.identity_encoder is None:
            return None
        if references is None:
            return F.normalize(self.embed(source), dim=1)
        raw = self.embed(references.flatten(0, 1)).unflatten(0, references.shape[:2])
        norm = raw.norm(dim=2, keepdim=True)
        share = norm / norm.sum(1, keepdim=True)  # softmax of log(norm)
        return F.normalize((share * raw / norm).sum(1), dim=1)

    def condition(self, source: Tensor, references: Tensor | None, anchor: Tensor | None) -> Conditioning:
        """Conditioning of a batch that has the same number of references everywhere."""
        source = source.contiguous(memory_format=torch.channels_last)
        if references is None:
            return self.model.condition(source, anchor, [None] * len(source))
        count = references.shape[1]
        flat = references.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        parts, places = self.encoded_by_turns(
            lambda seen: self.model.encode_references(seen, source.shape[-1], self.with_transformer), flat, count
        )
        contexts = ReferenceContext.cat(parts)
        if places is not None:
            contexts = contexts[places]
        per_sample = [contexts[i * count : (i + 1) * count] for i in range(len(source))]
        return self.model.condition(source, anchor, per_sample)

    def encoded_by_turns(self, encode: Callable[[Tensor], T], pictures: Tensor, count: int) -> tuple[list[T], list[int] | None]:
        """Encode `count` references of each face in a row, with gradients for those alone whose turn it is.

        Returns what `encode` made of both kinds, and where each reference stands in that; None: in its place, all are of one kind.
        """
        learning = self.weights.reference_gradients or count
        if not self.reference_gradient:
            learning = 0
        if not 0 < learning < count:
            with torch.set_grad_enabled(learning > 0 and torch.is_grad_enabled()):
                return [encode(pictures)], None
        turns = [(n % count + self.turn) % count < learning for n in range(len(pictures))]
        order, parts = [], []
        for with_gradient in (True, False):
            chosen = [n for n, turn in enumerate(turns) if turn == with_gradient]
            with torch.set_grad_enabled(with_gradient and torch.is_grad_enabled()):
                parts.append(encode(pictures[chosen]))
            order += chosen
        return parts, sorted(range(len(order)), key=order.__getitem__)

    # ---- validation

    def restore(self, source: Tensor, references: Tensor | None) -> Tensor:
        """As the sampler does it, with fixed noise."""
        self.with_transformer = True
        noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(5)).to(source.device)
        conditioning = self.condition(source, references, self.anchor(source, references))
        return self._sampled(noise, conditioning, torch.linspace(1, 0, self.weights.steps + 1))

    def _identity_of(self, pictures: UInt8) -> np.ndarray:
        parts = [self.embed(to_tensor(pictures[i : i + 32], self.device)) for i in range(0, len(pictures), 32)]
        return F.normalize(torch.cat(parts), dim=1).cpu().numpy()

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        identity = self._identity_of if self.identity_encoder is not None else None
        sheet = folder / "sheets" / f"{step:07d}.png"
        return validate_columns(self.restore, self.validation, self.device, sheet, identity)
