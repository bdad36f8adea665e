"""First stage of the embedded restorer: its encoder, decoder and reference attention as a one-step regression.

Convolutions with skips learn in minutes what a transformer alone does not learn in hours; the transformer is put in
between afterwards (`lab.train.restorer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from iconface_video.faces.pixels import to_tensor
from iconface_video.lab.train.data import FaceBatch, FaceMixer
from iconface_video.lab.train.loading import stream
from iconface_video.lab.train.trainer import Task
from iconface_video.lab.train.validation import ValidationSet, validate_columns
from iconface_video.learn.losses import charbonnier
from iconface_video.models.local_attention import ReferenceAttention
from iconface_video.models.picture_layers import GatedNoiseInjection
from iconface_video.models.pixel_autoencoder import PixelAutoencoder

SCALAR_RATE, DOOR_RATE = 15.0, 4.0
"""Of the model's learning rate: the attention's scalars, and the layers through which references and transformer enter."""


def faster_parts(model: PixelAutoencoder) -> list[tuple[float, list[Tensor]]]:
    """(factor, weights): what a rate that suits matrices leaves where it began.

    The attention's scalars are logits, which must move by whole units; the layers through which references and transformer enter
    start at zero, beside maps so large that a normal step hardly shows.
    """
    layers = [layer for layer in model.attention if isinstance(layer, ReferenceAttention)]
    scalars: list[Tensor] = [weight for layer in layers for weight in (layer.scale, layer.null_logit, layer.position_bias)]
    doors: list[Tensor] = [weight for layer in layers for weight in layer.doors()]
    if model.decoder.fuse_features is not None:
        doors.append(model.decoder.fuse_features.weight)
    doors += [door.gain.weight for door in model.decoder.doors if isinstance(door, GatedNoiseInjection)]
    for attention in (model.global_eighth, model.global_bottom):
        if attention is not None:
            scalars.append(attention.null_logit)
            doors += attention.doors()
    if model.decoder.confidence is not None:
        scalars += [model.decoder.confidence.slope, model.decoder.confidence.threshold]
    return [(SCALAR_RATE, scalars), (DOOR_RATE, doors)]


class AutoencoderTask(Task):
    """Regress the clean picture from the degraded one and any references."""

    def __init__(self, model: PixelAutoencoder, mixer: FaceMixer, validation: ValidationSet, workers: int = 1) -> None:
        self.model, self.mixer, self.validation, self.workers = model, mixer, validation, workers
        self.modules: dict[str, nn.Module] = {"autoencoder": model}

    def faster(self) -> list[tuple[float, list[Tensor]]]:
        return faster_parts(self.model)

    def batches(self, seed: int, start_step: int) -> Iterator[FaceBatch]:
        return stream(partial(self.mixer.batch, seed), start_step, self.workers)

    def loss(self, batch: FaceBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        references = to_tensor(batch.references, self.device) if batch.references.shape[1] else None
        restored = self.restore(to_tensor(batch.source, self.device), references)
        truth = to_tensor(batch.truth, self.device)
        error = charbonnier(restored - truth)
        with torch.no_grad():
            before = charbonnier(to_tensor(batch.source, self.device) - truth)
        # The logarithm gives every face the same say: else the hopeless ones drown what can be learnt.
        loss = error.log().mean()
        return loss, {"loss": loss.item(), "relative": (error / before).mean().item()}

    def restore(self, source: Tensor, references: Tensor | None) -> Tensor:
        """source (B, 3, S, S), references (B, R, 3, S, S) -> (B, 3, S, S)."""
        features = self.model.encode_source(source.contiguous(memory_format=torch.channels_last))
        if references is None:
            return self.model.decode(None, features)
        encoded = self.model.encode_references(references.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        maps = tuple(m.unflatten(0, references.shape[:2]) for m in encoded.maps)
        return self.model.decode(None, features, maps)

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        return validate_columns(self.restore, self.validation, self.device, folder / "sheets" / f"{step:07d}.png")
