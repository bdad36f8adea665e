"""The IConFace model as the pipeline's `FaceModel`: arrays in, arrays out, references looked at once per track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from iconface_video.models.checkpoints import load_model
from iconface_video.models.context import ReferenceContext
from iconface_video.models.load_options import LoadOptions
from iconface_video.models.model import IConFaceModel
from iconface_video.restore.noise import Shape
from iconface_video.settings import RestoreSettings
from iconface_video.types import Float32, IdentityAnchor, UInt8


@dataclass(frozen=True, eq=False)
class TrackContext:
    """What is constant over a track."""

    direction: Float32
    """(512,) of the identity anchor."""
    references: ReferenceContext | None


class IConFaceRestorer:
    """A loaded model with the run's sampler settings."""

    def __init__(self, model: IConFaceModel, settings: RestoreSettings) -> None:
        self._model = model
        self._settings = settings
        self.name = settings.model
        self.crop_sizes = tuple(sorted(model.traits.crop_sizes))

    @property
    def identity(self) -> dict[str, Any]:
        """What beside weights and settings may alter a result's last bits; for the fingerprint."""
        device = self._model.device
        is_cpu = device.type == "cpu"
        return {
            "device": device.type,
            "processor": torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads() if is_cpu else None,
            "format": str(self._model.compute_dtype or self._model.dtype),
        }

    def noise_shape(self, size: int) -> Shape:
        """Raises UsageError for a size that the model does not take."""
        return self._model.noise_shape(size)

    def prepare(self, anchor: IdentityAnchor, size: int) -> TrackContext:
        return TrackContext(anchor.direction, self._model.prepare_references(anchor.references, size))

    def restore(self, crops: UInt8, contexts: Sequence[TrackContext], noise: Float32) -> UInt8:
        return self._model.restore_crops(
            crops,
            np.stack([context.direction for context in contexts]),
            [context.references for context in contexts],
            noise,
            steps=self._settings.steps,
            guidance_scale=self._settings.guidance_scale,
            start_sigma=self._settings.start_sigma,
        )


def load_face_model(settings: RestoreSettings) -> IConFaceRestorer:
    """Load what the settings name. Raises CheckpointError, or UsageError for a device or number format that is not there."""
    options = LoadOptions(settings.dtype, compile=settings.compile, quantize=settings.quantize, offload=settings.offload)
    return IConFaceRestorer(load_model(settings.model, settings.device, options=options), settings)
