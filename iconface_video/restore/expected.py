"""Before a long run with a full-size model: does it fit the GPU, and how long will it take. Said, not guessed."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from iconface_video.models.checkpoints import checkpoint_traits
from iconface_video.models.load_options import LoadOptions, pick_device, pick_dtype
from iconface_video.models.memory_plan import Architecture, Fit, architecture_of, fit, restore_needs
from iconface_video.settings import AnchorSettings, RestoreSettings, default_of

REFERENCES: int = default_of(AnchorSettings, "max_references")
_SHAPE = (2048, 3072, 9216)
"""Rows, inner and outer width of the product whose speed is measured: the backbone's own sizes."""
_SMALL_SHAPE = (256, 1024, 1024)
"""Where such a product would take seconds."""
_ROUNDS = 4


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a GPU; None where it is not a GPU's, whose limits are known."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def fitting_options(settings: RestoreSettings, options: LoadOptions) -> Fit | None:
    """How a full-size model is loaded on a GPU; None where there is nothing to plan. Raises UsageError where it cannot fit."""
    device = pick_device(settings.device)
    free = free_bytes(device)
    architecture = None if free is None else architecture_of(settings.model)
    if free is None or architecture is None:
        return None
    traits = checkpoint_traits(settings.model)
    dtype = pick_dtype(options.dtype, device, traits)
    needs = restore_needs(
        architecture,
        size=settings.crop_size or max(traits.crop_sizes),
        references=min(REFERENCES, traits.max_references),
        batch=settings.batch,
        guided=(settings.guidance_scale or traits.default_guidance) > 1,
        dtype=dtype,
        quantize=options.quantize,
    )
    return fit(needs, options, free, str(device))


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
