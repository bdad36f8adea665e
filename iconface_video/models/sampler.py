"""Flow matching sampler: pure functions of velocity, noise and schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from iconface_video.errors import UsageError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x (B, ...), sigma (B,)) -> velocity (B, ...)."""


@dataclass(frozen=True)
class Sampling:
    """How a picture is sampled."""

    steps: int | None = None
    """None: the model's own number."""
    guidance_scale: float | None = None
    """None: the model's own."""
    start_sigma: float = 1.0
    """Below 1 starts from a picture with that share of noise."""


AS_TRAINED = Sampling()


@torch.no_grad()
def sample_euler(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """Follow the flow from sigmas[0] to sigmas[-1].

    Args:
        x: (B, ...) state at sigmas[0].
        sigmas: (steps + 1,) falling; the last one 0, or where training takes over.
    """
    for sigma, following in pairwise(sigmas):
        x = x + (following - sigma).to(x) * velocity(x, sigma.to(x).expand(len(x)))
    return x


def guided(conditional: Velocity, unconditional: Velocity | None, scale: float) -> Velocity:
    """Classifier-free guidance: unconditional + scale (conditional - unconditional). Scale 1 runs one pass, not two.

    UsageError where a scale above 1 is asked of a model without an unconditional pass.
    """
    if scale == 1:
        return conditional
    if unconditional is None:
        raise UsageError(f"guidance_scale is {scale}, but this model takes no guidance: leave it out or give 1")

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        away = unconditional(x, sigma)
        return away + scale * (conditional(x, sigma) - away)

    return velocity


def resolution_shift(tokens: int, steps: int) -> float:
    """mu of the FLUX.2 klein pipeline: a line in the number of tokens, blended over the number of steps.

    Two fitted lines, at 10 and at 200 steps, are joined linearly; above 4300 tokens the latter holds for every step count.
    """
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    at_200 = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return at_200
    return at_10 + (at_200 - at_10) / 190 * (steps - 10)


def make_sigmas(steps: int, tokens: int, scheduler_config: Mapping[str, Any], start_sigma: float = 1.0) -> Tensor:
    """Schedule of FlowMatchEulerDiscreteScheduler: (steps + 1,) float32, falling from `start_sigma` to 0.

    Args:
        tokens: of the scene; bends the schedule where the config says `use_dynamic_shifting`.
        scheduler_config: as in scheduler/scheduler_config.json.
        start_sigma: (0, 1]; below 1 the whole schedule is scaled down, so that all steps are spent on what is left.
    """
    if steps < 1 or not 0 < start_sigma <= 1:
        raise UsageError(f"steps must be at least 1 and start_sigma within (0, 1], got {steps} and {start_sigma}")
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(dict(scheduler_config))
    shift = resolution_shift(tokens, steps) if scheduler.config.use_dynamic_shifting else None
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)
    sigmas: Tensor = scheduler.sigmas
    return sigmas * start_sigma
