from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from iconface_video.errors import UsageError
from iconface_video.models.embedded import EMBEDDED_SCHEDULER
from iconface_video.models.sampler import guided, make_sigmas, resolution_shift, sample_euler

KLEIN_SCHEDULER: dict[str, Any] = {"use_dynamic_shifting": True, "time_shift_type": "exponential", "shift": 3.0}


def test_euler_follows_a_straight_flow_exactly_in_any_number_of_steps() -> None:
    clean, noise = torch.randn(2, 3), torch.randn(2, 3)
    for steps in (1, 5):
        sigmas = make_sigmas(steps, 64, EMBEDDED_SCHEDULER)
        out = sample_euler(lambda x, sigma: noise - clean, noise, sigmas)
        torch.testing.assert_close(out, clean)


def test_euler_is_of_first_order_on_a_bent_flow() -> None:
    """dx/dsigma = x: x(0) = x(1) / e; halving the step halves the error."""
    errors = [
        abs(float(sample_euler(lambda x, sigma: x, torch.ones(1, 1), torch.linspace(1, 0, n + 1))) - np.exp(-1))
        for n in (50, 100)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_each_step_sees_its_sigma() -> None:
    seen: list[Tensor] = []

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(sigma)
        return x

    sigmas = make_sigmas(3, 64, EMBEDDED_SCHEDULER)
    sample_euler(velocity, torch.ones(2, 1), sigmas)
    torch.testing.assert_close(torch.stack(seen), sigmas[:3, None].expand(-1, 2))


@pytest.mark.parametrize("tokens", [256, 1024, 4300, 4301, 8000])
@pytest.mark.parametrize("steps", [4, 12, 50])
def test_schedule_is_that_of_the_klein_pipeline(tokens: int, steps: int) -> None:
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu, retrieve_timesteps

    mu = compute_empirical_mu(tokens, steps)
    assert resolution_shift(tokens, steps) == pytest.approx(mu, abs=1e-9)
    scheduler = FlowMatchEulerDiscreteScheduler(**KLEIN_SCHEDULER)
    retrieve_timesteps(scheduler, steps, None, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    torch.testing.assert_close(make_sigmas(steps, tokens, KLEIN_SCHEDULER), scheduler.sigmas)


def test_schedule_falls_from_start_to_zero(tmp_path: Path) -> None:
    FlowMatchEulerDiscreteScheduler(**KLEIN_SCHEDULER).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "scheduler_config.json").read_text())
    for start in (1.0, 0.4):
        sigmas = make_sigmas(8, 1024, config, start)
        assert sigmas[0] == pytest.approx(start)
        assert sigmas[-1] == 0
        assert (sigmas.diff() < 0).all()
    torch.testing.assert_close(make_sigmas(4, 1024, EMBEDDED_SCHEDULER), torch.linspace(1, 0, 5))


@pytest.mark.parametrize(("steps", "start"), [(0, 1.0), (4, 0.0), (4, 1.2)])
def test_impossible_schedules_are_refused(steps: int, start: float) -> None:
    with pytest.raises(UsageError, match="steps must be at least 1 and start_sigma within"):
        make_sigmas(steps, 64, EMBEDDED_SCHEDULER, start)


def test_guidance_formula() -> None:
    velocity = guided(lambda x, s: x + 1, lambda x, s: x - 1, 4.0)
    x = torch.zeros(1, 1)
    assert velocity(x, torch.ones(1)).item() == -1 + 4 * 2
