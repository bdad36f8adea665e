"""Before a long run with a full-size model: does it fit the GPU, and how long will it take. Said, not guessed.

The IConFace model as the pipeline's `FaceModel`: arrays in, arrays out, references looked at once per track.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from iconface_video.models.autoencoder import LatentAutoencoder
from iconface_video.models.checkpoint_index import checkpoint_traits
from iconface_video.models.checkpoints import load_model
from iconface_video.models.context import ReferenceContext
from iconface_video.models.frame_fusion import fuse, load_frame_fusion
from iconface_video.models.load_options import pick_device, pick_dtype
from iconface_video.models.memory_plan import Architecture, Fit, architecture_of, fit, restore_needs
from iconface_video.models.model import IConFaceModel
from iconface_video.models.sampler import Sampling
from iconface_video.restore.framing import Framing
from iconface_video.restore.noise import Shape, draw
from iconface_video.settings import AnchorSettings, RestoreSettings, default_of
from iconface_video.types import Float32, IdentityAnchor, TrackKey, UInt8

REFERENCES: int = default_of(AnchorSettings, "max_references")
_SHAPE = (2048, 3072, 9216)
"""Rows, inner and outer width of the product whose speed is measured: the backbone's own sizes."""
_SMALL_SHAPE = (256, 1024, 1024)
"""Where such a product would take seconds."""
_ROUNDS = 4


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a GPU; None where it is not a GPU's, whose limits are known."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def fitting_options(settings: RestoreSettings) -> Fit | None:
    """How a full-size model is loaded on a GPU; None where there is nothing to plan. Raises UsageError where it cannot fit."""
    device = pick_device(settings.device)
    free = free_bytes(device)
    architecture = None if free is None else architecture_of(settings.model)
    if free is None or architecture is None:
        return None
    traits = checkpoint_traits(settings.model)
    dtype = pick_dtype(settings.dtype, device, traits)
    needs = restore_needs(
        architecture,
        size=settings.crop_size or max(traits.crop_sizes),
        references=min(REFERENCES, traits.max_references),
        batch=settings.batch,
        guided=(settings.guidance_scale or traits.default_guidance) > 1,
        dtype=dtype,
        quantize=settings.quantize,
    )
    return fit(needs, settings, free, str(device))


@torch.inference_mode()
def measured_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of one matrix product, right now."""
    rows, inner, outer = _SHAPE if device.type == "cuda" else _SMALL_SHAPE
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, outer, device=device).to(dtype)
    left @ right

    def wait() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    begun = wait()
    for _ in range(_ROUNDS):
        left @ right
    return 2 * rows * inner * outer * _ROUNDS / max(wait() - begun, 1e-9)


def expected_time(
    architecture: Architecture,
    crops_by_size: Mapping[int, int],
    *,
    steps: int,
    guided: bool,
    references: int,
    speed: float,
) -> str:
    """A sentence: how many operations, at which measured speed, hence how long at least. speed: operations a second."""
    flops = 0
    for size, count in crops_by_size.items():
        needs = restore_needs(architecture, size=size, references=references, guided=guided)
        flops += count * needs.flops_per_face(steps)
    faces = sum(crops_by_size.values())
    seconds = flops / speed
    return (
        f"{faces} faces of {flops / max(faces, 1) / 1e12:.3g} TFLOP each at {speed / 1e12:.3g} TFLOP/s (one matrix product on this "
        f"device, just measured): {_duration(seconds)} at the least, for the model alone"
    )


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


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
        """start: whose result a restoration starts from, with `start_sigma` of noise.  notes: about how it was loaded.

        Raises CheckpointError where neighbours are wanted and the network that brings them together is not there.
        """
        self._model = model
        self._settings = settings
        self._start = start
        self._fusion = load_frame_fusion(device=model.device) if settings.neighbours else None
        self.neighbours = settings.neighbours
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
            Sampling(self._settings.steps, self._settings.guidance_scale, self._settings.start_sigma),
            self._starts(crops, contexts),
        )

    def fuse(self, window: Sequence[UInt8]) -> UInt8:
        """See `LooksAround.fuse`."""
        if self._fusion is None:
            raise ValueError("a restorer without a frame fusion network looks at no neighbours")
        return fuse(self._fusion, window)

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
    start = None
    if settings.start_sigma < 1 and settings.start_from != INPUT:
        own = RestoreSettings(settings.start_from, seed=settings.seed, device=settings.device, neighbours=0)
        start = IConFaceRestorer(load_model(settings.start_from, settings.device), own)
    fitting = fitting_options(settings)  # before billions of weights are read
    model = load_model(
        settings.model, settings.device, options=settings if fitting is None else fitting.options, lora_form="fused"
    )
    return IConFaceRestorer(model, settings, start, () if fitting is None else (fitting.note,))
