"""Training of the identity encoder: it learns a teacher's distances on every photo, AdaFace's margin on people with names,
and a norm that falls with the damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.faces.encoder_networks import CompactNet
from iconface_video.faces.identity_encoder import ENCODER_SIZE, EncoderSettings, IdentityEncoder
from iconface_video.train.dlib_network import MAP_STEPS, MAP_WIDTHS, DlibFaceNetwork
from iconface_video.train.encoder_data import EncoderBatch, EncoderFaces, EncoderMixer
from iconface_video.train.encoder_validation import ValidationFaces, validate_encoder
from iconface_video.train.teacher import TEACHER_SIZE, chip_from_arcface112, load_network
from iconface_video.train.trainer import Task
from iconface_video.types import EMBEDDING_SIZE, UInt8

_CLEAN_LOG_NORM, _NORM_FALL = float(np.log(20.0)), 0.14
"""A clean photo's norm is pulled to 20, one of strength 16 to about 2."""

_TEACHER_REACH = 0.42


@dataclass(frozen=True)
class EncoderTaskSettings:
    """How much of what."""

    clean: int = 40
    """Clean photos in a batch."""
    degraded: int = 24
    """How many of them are also seen degraded."""
    sizes: tuple[tuple[float, int], ...] = ((0.6, 64), (1.0, 80))
    """(share of all steps until which, px): small pictures first, they cost half."""
    total_steps: int = 4000
    direct_weight: float = 2.0
    relation_weight: float = 20.0
    margin_weight: float = 0.03
    margin_ramp: float = 0.4
    """Share of all steps over which the margin loss grows to its weight: on a young net it only disturbs."""
    norm_weight: float = 0.3
    hinted: int = 24
    """For how many of the clean photos the teacher's network is run: it takes a third of the time of a view."""
    hint_weight: float = 1.0
    """Of the teacher's feature maps (FitNets, arXiv 1412.6550): what makes a young net learn quickly. 0: the teacher's network is not run."""
    workers: int = 1


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
        self.to_hints = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(CompactNet.STAGE_WIDTHS, MAP_WIDTHS))
        self.classifier = AdaFaceHead(people)


class HintLoss(nn.Module):
    """How far guesses of the teacher's feature maps are from the true ones, as a share of each channel's variance."""

    def __init__(self, teacher: DlibFaceNetwork) -> None:
        super().__init__()
        self.teacher = teacher
        self.register_buffer("chip_from_arcface", torch.from_numpy(chip_from_arcface112()).float())

    def forward(self, guesses: list[Tensor], chips: Tensor) -> Tensor:
        """guesses: (B, c, h, h) over the ArcFace frame; chips: (B, 3, 150, 150) in [-1, 1], the same faces. Returns the mean over levels."""
        with torch.no_grad():
            truths = self.teacher.middle_maps((chips + 1) * 127.5)
        levels = [self._distance(guess, truth, step) for guess, truth, step in zip(guesses, truths, MAP_STEPS)]
        return torch.stack(levels).mean()

    def _distance(self, guess: Tensor, truth: Tensor, step: int) -> Tensor:
        with torch.autocast(guess.device.type, enabled=False):
            guess, truth = guess.float(), truth.float()
            grid, inside = self._places(guess.shape[-1], truth.shape[-1], step)
            seen = F.grid_sample(
                truth, grid.expand(len(truth), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=True
            )
            spread = seen.var(dim=(0, 2, 3), keepdim=True) + 1e-4
            return ((guess - seen).square() / spread).mean(dim=(0, 1))[inside].mean()

    def _places(self, side: int, teacher_side: int, step: int) -> tuple[Tensor, Tensor]:
        """Where the guess's places are in the teacher's map (grid_sample's coordinates), and which of them it covers."""
        matrix: Tensor = self.chip_from_arcface  # type: ignore[assignment]
        arcface = (torch.arange(side, device=matrix.device) + 0.5) * ENCODER_SIZE / side - 0.5
        y, x = torch.meshgrid(arcface, arcface, indexing="ij")
        chip = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ matrix.T
        place = (chip - 1) / step - 1
        inside = ((place > -0.75) & (place < teacher_side - 0.25)).all(dim=-1)
        return (2 * place / (teacher_side - 1) - 1)[None], inside


def _pixels(images: UInt8, device: torch.device) -> Tensor:
    """uint8 (B, S, S, 3) -> float (B, 3, S, S) in [-1, 1]."""
    pixels = torch.as_tensor(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


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
        hinted = settings.hint_weight > 0 and isinstance(self.encoder.network, CompactNet)
        self.hinter = HintLoss(load_network()) if hinted else None
        self.mixer = EncoderMixer(faces, settings.clean, settings.degraded, chips=settings.hinted if hinted else 0)

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        return {"encoder": [*self.encoder.parameters(), *self.heads.parameters()]}

    def to(self, device: torch.device) -> None:
        self.teacher, self.labels = self.teacher.to(device), self.labels.to(device)
        if self.hinter:
            self.hinter.to(device)

    def size_at(self, step: int) -> int:
        """Side of the training views in px."""
        done = step / max(1, self.settings.total_steps)
        return next((size for until, size in self.settings.sizes if done < until), self.settings.sizes[-1][1])

    def batches(self, seed: int, start_step: int) -> Iterator[EncoderBatch]:
        from torch.utils.data import DataLoader, IterableDataset, get_worker_info

        make, size_at = self.mixer.batch, self.size_at

        class Steps(IterableDataset):
            def __iter__(self) -> Iterator[EncoderBatch]:
                info = get_worker_info()
                first, stride = (info.id, info.num_workers) if info else (0, 1)
                cv2.setNumThreads(1)
                step = start_step + first
                while True:
                    yield make(seed, step, size_at(step))
                    step += stride

        workers = self.settings.workers
        yield from DataLoader(Steps(), batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)

    def loss(self, batch: EncoderBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        settings, device = self.settings, self.teacher.device
        self.encoder.input_size = self.size_at(step)
        index = torch.as_tensor(batch.index).to(device)
        raw, pooled, maps = self._embed(_pixels(batch.images, device))
        with torch.autocast(raw.device.type, enabled=False):
            raw = raw.float()
            direct, relation = self._teacher_losses(raw, pooled.float(), self.teacher[index])
            margin = self._margin_loss(raw, self.labels[index])
            norm = norm_loss(raw, torch.as_tensor(batch.strength).to(raw), settings.clean, settings.degraded)
        hint = self._hint_loss(batch, maps) if self.hinter else raw.sum() * 0
        grown = min(1.0, step / max(1.0, settings.margin_ramp * settings.total_steps))
        total = settings.direct_weight * direct + settings.relation_weight * relation + settings.hint_weight * hint
        total = total + grown * settings.margin_weight * margin + settings.norm_weight * norm
        figures = {"direct": direct, "relation": relation, "margin": margin, "norm": norm, "hint": hint, "loss": total}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    def _embed(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Raw embeddings, what the teacher's vectors are read from, and feature maps (of the compact net only)."""
        network = self.encoder.network
        if isinstance(network, CompactNet):
            return network.with_stages(self.encoder.prepared(images))
        raw = self.encoder(images)
        return raw, F.normalize(raw), []

    def _hint_loss(self, batch: EncoderBatch, maps: list[Tensor]) -> Tensor:
        assert self.hinter is not None
        guesses = [head(level[: len(batch.chips)]) for head, level in zip(self.heads.to_hints, maps)]
        return self.hinter(guesses, _pixels(batch.chips, self.teacher.device))

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
        self.encoder.input_size = self.size_at(max(0, step - 1))
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
