"""Training of the identity encoder: it learns a teacher's distances on every photo, AdaFace's margin on people with names,
and a norm that falls with the damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.faces.encoder_networks import CompactNet
from iconface_video.faces.identity_encoder import EncoderSettings, IdentityEncoder
from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.encoder_data import EncoderBatch, EncoderFaces, EncoderMixer, ValidationFaces, validate_encoder
from iconface_video.lab.train.loading import stream
from iconface_video.lab.train.teacher import TEACHER_SIZE, load_network
from iconface_video.lab.train.trainer import Task
from iconface_video.settings import Count, CountOrZero, NonNegative, Share, Validated
from iconface_video.types import EMBEDDING_SIZE

_CLEAN_LOG_NORM, _NORM_FALL = float(np.log(20.0)), 0.14
"""A clean photo's norm is pulled to 20, one of strength 16 to about 2."""

_TEACHER_REACH = 0.42


@dataclass(frozen=True)
class EncoderTaskSettings(Validated):
    """How much of what."""

    clean: Count = 40
    """Clean photos in a batch."""
    degraded: CountOrZero = 24
    """How many of them are also seen degraded."""
    total_steps: Count = 4000
    direct_weight: NonNegative = 2.0
    relation_weight: NonNegative = 20.0
    margin_weight: NonNegative = 0.03
    margin_ramp: Share = 0.4
    """Share of all steps over which the margin loss grows to its weight: on a young net it only disturbs."""
    norm_weight: NonNegative = 0.3
    hinted: CountOrZero = 16
    """For how many of the clean photos the teacher's network is run once the stages are joined: it takes a third of a view's time."""
    hint_weight: NonNegative = 4.0
    """Of the teacher's feature maps (FitNets, arXiv 1412.6550): what makes a young net learn quickly. 0: the teacher's network is not run."""
    forced_share: Share = 0.6
    """Share of all steps in which the stages learn apart, each from the teacher's map of the stage before, so that all learn at once."""
    workers: CountOrZero = 1


class AdaFaceHead(nn.Module):
    """AdaFace's classifier (arXiv 2204.00964, eq. 7-12): the margin depends on how the norm compares with the batch's usual one."""

    def __init__(self, people: int, margin: float = 0.4, spread: float = 0.333, scale: float = 48.0) -> None:
        super().__init__()
        self.kernel = nn.Parameter(F.normalize(torch.randn(EMBEDDING_SIZE, max(1, people)), dim=0))
        self.margin, self.spread, self.scale = margin, spread, scale
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_deviation", torch.tensor(5.0))

    def forward(self, raw: Tensor, labels: Tensor) -> Tensor:
        """raw (B, 512), labels (B,) >= 0 -> scaled logits (B, people) with the margin on the own person."""
        norms = raw.norm(dim=1, keepdim=True).clamp(1e-3, 100)
        scaler = self._scaler(norms.detach())
        cosine = (F.normalize(raw) @ F.normalize(self.kernel, dim=0)).clamp(-1 + 1e-4, 1 - 1e-4)
        own = F.one_hot(labels, cosine.shape[1]).to(cosine)
        angle = (cosine.acos() - own * self.margin * scaler).clamp(1e-3, torch.pi - 1e-3)
        return self.scale * (angle.cos() - own * (self.margin + self.margin * scaler))

    @torch.no_grad()
    def _scaler(self, norms: Tensor) -> Tensor:
        if self.training and len(norms) > 1:
            self.norm_mean.lerp_(norms.mean(), 0.01)  # type: ignore[operator]
            self.norm_deviation.lerp_(norms.std(), 0.01)  # type: ignore[operator]
        return ((norms - self.norm_mean) / (self.norm_deviation + 1e-3) * self.spread).clamp(-1, 1)  # type: ignore[operator]


class EncoderHeads(nn.Module):
    """What only training needs: the maps to the teacher's spaces, and the classifier."""

    def __init__(self, people: int) -> None:
        super().__init__()
        self.to_teacher = nn.Linear(EMBEDDING_SIZE, TEACHER_SIZE)
        self.classifier = AdaFaceHead(people)


def hint_loss(guesses: list[Tensor], truths: list[Tensor]) -> Tensor:
    """How far the student's maps are from the teacher's, each (B, c, h, h): squared difference as a share of each channel's variance, mean."""
    levels = []
    for guess, truth in zip(guesses, truths):
        guess, truth = guess.float(), truth.float()
        spread = truth.var(dim=(0, 2, 3), keepdim=True) + 1e-4
        levels.append(((guess - truth).square() / spread).mean())
    return torch.stack(levels).mean()


class EncoderTask(Task):
    """The shared trainer's view of it. `validation` maps a set's name to its held-out photos."""

    def __init__(
        self,
        faces: EncoderFaces,
        validation: dict[str, ValidationFaces],
        settings: EncoderTaskSettings,
        architecture: EncoderSettings | None = None,
    ) -> None:
        self.settings, self.faces, self.validation = settings, faces, validation
        self.encoder = IdentityEncoder(architecture or EncoderSettings())
        self.heads = EncoderHeads(faces.people)
        self.modules = {"encoder": self.encoder, "heads": self.heads}
        self.teacher, self.labels = torch.from_numpy(faces.teacher), torch.from_numpy(faces.labels)
        self.compact = self.encoder.network if isinstance(self.encoder.network, CompactNet) else None
        self.hinter = load_network() if settings.hint_weight > 0 and self.compact else None
        self.mixer = EncoderMixer(faces, settings.clean, settings.degraded, windows=self.compact is not None)

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        return {"encoder": [*self.encoder.parameters(), *self.heads.parameters()]}

    def to(self, device: torch.device) -> None:
        self.teacher, self.labels = self.teacher.to(device), self.labels.to(device)
        if self.hinter:
            self.hinter.to(device)

    def is_forced(self, step: int) -> bool:
        """Whether the stages still learn apart."""
        return self.hinter is not None and step < self.settings.forced_share * self.settings.total_steps

    def batches(self, seed: int, start_step: int) -> Iterator[EncoderBatch]:
        make, is_forced, settings, hinted = self.mixer.batch, self.is_forced, self.settings, self.hinter is not None

        def at(step: int) -> EncoderBatch:
            forced = is_forced(step)
            return make(seed, step, (settings.clean if forced else settings.hinted) if hinted else 0, not forced)

        return stream(at, start_step, settings.workers)

    def loss(self, batch: EncoderBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        settings, device = self.settings, self.teacher.device
        index, strength = torch.as_tensor(batch.index).to(device), torch.as_tensor(batch.strength).to(device)
        raw, pooled, hint = self._embed(batch, step)
        with torch.autocast(raw.device.type, enabled=False):
            raw, pooled = raw.float(), pooled.float()
            direct, relation = self._teacher_losses(raw, pooled, self.teacher[index])
            margin = self._margin_loss(raw, self.labels[index])
            norm = norm_loss(raw, strength, settings.clean, len(raw) - settings.clean)
        grown = min(1.0, step / max(1.0, settings.margin_ramp * settings.total_steps))
        total = settings.direct_weight * direct + settings.relation_weight * relation + settings.hint_weight * hint
        total = total + grown * settings.margin_weight * margin + settings.norm_weight * norm
        figures = {"direct": direct, "relation": relation, "margin": margin, "norm": norm, "hint": hint, "loss": total}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    def _embed(self, batch: EncoderBatch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Raw embeddings, the features that the teacher's vectors are read from, and the hint loss."""
        images = to_tensor(batch.images, self.teacher.device)
        if self.compact is None:
            raw = self.encoder(images)
            return raw, F.normalize(raw), raw.sum() * 0
        net, truths = self.compact, self._truths(batch)
        if self.is_forced(step):
            maps = [net.stages[0](net.stem(images))]
            for stage, truth in zip(list(net.stages)[1:], truths):
                maps.append(stage(self._fed(truth, maps[-1], step)))
            return *net.head(self._fed(truths[-1], maps[-1], step)), hint_loss(maps, truths)
        maps = net.with_stages(images)
        shown = len(batch.chips)
        hint = hint_loss([level[:shown] for level in maps], truths) if shown else maps[0].sum() * 0
        return *net.head(maps[-1]), hint

    def _fed(self, truth: Tensor, own: Tensor, step: int) -> Tensor:
        """What the next stage learns from: for each face the teacher's map or, more and more often, the student's own, without its gradient.

        So each stage is a small problem of its own, and at the end of this part none is surprised by what the stage before gives it.
        """
        done = step / max(1.0, self.settings.forced_share * self.settings.total_steps)
        drawn = torch.rand(len(own), 1, 1, 1, generator=torch.Generator().manual_seed(step)).to(own.device)
        return torch.where(drawn < done, own.detach().to(truth.dtype), truth)

    @torch.no_grad()
    def _truths(self, batch: EncoderBatch) -> list[Tensor]:
        if self.hinter is None or not len(batch.chips):
            return []
        return self.hinter.middle_maps((to_tensor(batch.chips, self.teacher.device) + 1) * 127.5)

    def _teacher_losses(self, raw: Tensor, pooled: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distance to the teacher's vector through a linear map, and squared differences of all pairs' similarities."""
        present = teacher.abs().sum(dim=1) > 0
        if int(present.sum()) < 2:
            return raw.sum() * 0, raw.sum() * 0
        student, teacher = F.normalize(raw[present]), teacher[present]
        direct = (self.heads.to_teacher(pooled[present]) - teacher).square().sum(dim=1).mean()
        off = ~torch.eye(len(student), dtype=torch.bool, device=raw.device)
        relation = (student @ student.T - teacher_similarity(teacher))[off].square().mean()
        return direct, relation

    def _margin_loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        known = labels >= 0
        if not bool(known.any()):
            return raw.sum() * 0
        return F.cross_entropy(self.heads.classifier(raw[known], labels[known]), labels[known], label_smoothing=0.05)

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        return validate_encoder(self.encoder, self.validation)


def teacher_similarity(vectors: Tensor) -> Tensor:
    """(B, B) cosines that the encoder is to reach: a Gaussian of the teacher's distance, so that strangers are near 0 and dlib's usual
    threshold (0.6) is at about 0.35. vectors (B, 128). Distances rank pairs better than cosines do in dlib's space.
    """
    squared = (vectors[:, None] - vectors[None]).square().sum(dim=-1)
    return torch.exp(-squared / (2 * _TEACHER_REACH**2))


def norm_loss(raw: Tensor, strength: Tensor, clean: int, degraded: int) -> Tensor:
    """The log norm falls in line with the strength, and a degraded view ranks below its own clean one.

    raw (clean + degraded, 512), the degraded views being of the first clean ones.
    """
    log_norm = raw.norm(dim=1).clamp_min(1e-3).log()
    target = F.smooth_l1_loss(log_norm, _CLEAN_LOG_NORM - _NORM_FALL * strength, beta=0.3)
    if degraded == 0:
        return target
    gap = log_norm[:degraded] - log_norm[clean:]
    return target + F.relu(0.5 * _NORM_FALL * strength[clean:] - gap).mean()
