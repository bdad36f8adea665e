"""The IConFace model as the pipeline's `FaceModel`: arrays in, arrays out, references looked at once per track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from iconface_video.models.checkpoints import load_model
from iconface_video.models.context import ReferenceContext
from iconface_video.models.latent_autoencoder import LatentAutoencoder
from iconface_video.models.load_options import LoadOptions
from iconface_video.models.memory_plan import architecture_of
from iconface_video.models.model import IConFaceModel
from iconface_video.restore.expected import REFERENCES, expected_time, fitting_options, measured_speed
from iconface_video.restore.framing import Framing
from iconface_video.restore.noise import Shape, draw
from iconface_video.settings import RestoreSettings, default_of
from iconface_video.types import Float32, IdentityAnchor, TrackKey, UInt8

INPUT: str = default_of(RestoreSettings, "start_from")
_NO_TRACK = TrackKey(0, 0, 0)


@dataclass(frozen=True, eq=False)
class TrackContext:
    """What is constant over a track."""

    direction: Float32
    """(512,) of the identity anchor."""
    references: ReferenceContext | None
    start: TrackContext | None = None
    """Of the model that a restoration starts from."""


class IConFaceRestorer:
    """A loaded model with the run's sampler settings."""

    def __init__(
        self,
        model: IConFaceModel,
        settings: RestoreSettings,
        start: IConFaceRestorer | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """start: whose result a restoration starts from, with `start_sigma` of noise.  notes: about how it was loaded."""
        self._model = model
        self._settings = settings
        self._start = start
        self.name = settings.model
        self.crop_sizes = tuple(sorted(model.traits.crop_sizes))
        self.framing = Framing(settings.crop_scale or model.traits.crop_scale, model.traits.border)
        self.notes = (*_about(model, settings.model), *notes)

    @property
    def network(self) -> IConFaceModel:
        """The model itself, for those who learn with it."""
        return self._model

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

    def expected_time(self, crops_by_size: Mapping[int, int]) -> str | None:
        """A sentence for people about a full-size model's work; None for a small one, whose first faces are soon there."""
        architecture = architecture_of(self._settings.model) if self._is_latent else None
        if architecture is None or not crops_by_size:
            return None
        traits, wish = self._model.traits, self._settings
        return expected_time(
            architecture,
            crops_by_size,
            steps=wish.steps or traits.default_steps,
            guided=(wish.guidance_scale or traits.default_guidance) > 1,
            references=min(REFERENCES, traits.max_references),
            speed=measured_speed(self._model.device, self._model.compute_dtype or self._model.dtype),
        )

    @property
    def _is_latent(self) -> bool:
        return isinstance(self._model.autoencoder, LatentAutoencoder)

    def noise_shape(self, size: int) -> Shape:
        """Raises UsageError for a size that the model does not take."""
        return self._model.noise_shape(size)

    def prepare(self, anchor: IdentityAnchor, size: int) -> TrackContext:
        start = None if self._start is None else self._start.prepare(anchor, size)
        return TrackContext(anchor.direction, self._model.prepare_references(anchor.references, size), start)

    def restore(self, crops: UInt8, contexts: Sequence[TrackContext], noise: Float32) -> UInt8:
        return self._model.restore_crops(
            crops,
            np.stack([context.direction for context in contexts]),
            [context.references for context in contexts],
            noise,
            steps=self._settings.steps,
            guidance_scale=self._settings.guidance_scale,
            start_sigma=self._settings.start_sigma,
            starts=self._starts(crops, contexts),
        )

    def _starts(self, crops: UInt8, contexts: Sequence[TrackContext]) -> UInt8 | None:
        """The other model's results; its noise is the same for every face: it depends on nothing but seed and size."""
        if self._start is None:
            return None
        shape = self._start.noise_shape(crops.shape[1])
        noise = draw(self._settings.seed, _NO_TRACK, "start", crops.shape[1], shape)
        own = [context.start for context in contexts if context.start is not None]
        return self._start.restore(crops, own, np.repeat(noise[None], len(crops), axis=0))


def _about(model: IConFaceModel, source: str) -> tuple[str, ...]:
    """What a person should know of a model that lacks a part of IConFace."""
    if not model.transformer.settings.is_plain:
        return ()
    name = model.traits.name
    called = name if name == source else f"{name} ({source})"
    return (f"model {called}: it has no identity pathway, so the person is told by the reference pictures alone",)


def load_face_model(settings: RestoreSettings) -> IConFaceRestorer:
    """Load what the settings name. Raises CheckpointError, or UsageError for a device or number format that is not there."""
    options = LoadOptions(
        settings.dtype,
        compile=settings.compile,
        quantize=settings.quantize,
        offload=settings.offload,
        lora="fused",
        lora_scale=settings.lora_scale,
    )
    start = None
    if settings.start_sigma < 1 and settings.start_from != INPUT:
        own = RestoreSettings(settings.start_from, seed=settings.seed, device=settings.device)
        start = IConFaceRestorer(load_model(settings.start_from, settings.device), own)
    fitting = fitting_options(settings, options)  # before billions of weights are read
    model = load_model(settings.model, settings.device, options=options if fitting is None else fitting.options)
    return IConFaceRestorer(model, settings, start, () if fitting is None else (fitting.note,))
