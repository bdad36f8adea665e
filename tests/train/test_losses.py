"""The losses by themselves."""

from __future__ import annotations

import pytest
import torch

from iconface_video.learn.losses import (
    PatchDiscriminator,
    charbonnier_at_scales,
    energy_spread,
    hinge_discriminator,
    hinge_restorer,
)


def test_the_judge_learns_to_tell_blurred_from_sharp_at_both_scales():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(width=8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.5, 0.9))
    kernel = torch.ones(3, 1, 5, 5) / 25
    for _ in range(40):
        sharp = torch.randn(4, 3, 64, 64).clamp(-1, 1)
        blurred = torch.nn.functional.conv2d(sharp, kernel, padding=2, groups=3)
        loss = hinge_discriminator(discriminator(sharp, blurred), discriminator(blurred, blurred))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    real, fake = discriminator(sharp, blurred), discriminator(blurred, blurred)
    assert [logits.shape[-1] for logits in real] == [16, 4]
    for taken_for_real, found_out in zip(real, fake):
        assert taken_for_real.mean() > found_out.mean() + 0.2
    assert hinge_restorer(fake) > hinge_restorer(real)  # the restorer's loss is higher where it is found out


def test_the_pixel_loss_at_scales_punishes_coarse_errors_more() -> None:
    coarse = torch.full((1, 3, 16, 16), 0.1)
    fine = coarse * (1 - 2 * (torch.arange(16) % 2))  # the same size, cancelling out at half resolution
    plain, scaled = ([charbonnier_at_scales(d, w).item() for d in (coarse, fine)] for w in ((1.0,), (1.0, 0.5, 0.5)))
    assert plain[0] == pytest.approx(plain[1])
    assert scaled[0] == pytest.approx(2 * plain[0])
    assert scaled[1] == pytest.approx(plain[1], rel=0.05)


def test_a_picture_without_weight_is_not_judged() -> None:
    logits = (torch.randn(2, 1, 8, 8), torch.randn(2, 1, 2, 2))
    first = tuple(scale[:1] for scale in logits)
    torch.testing.assert_close(hinge_restorer(logits, torch.tensor([1.0, 0.0])), hinge_restorer(first) / 2)
    torch.testing.assert_close(hinge_restorer(logits, torch.ones(2)), hinge_restorer(logits))


def test_the_energy_score_is_least_where_samples_are_spread_as_the_truths_are() -> None:
    """Truths of deviation 1, samples of deviation s: the slope in s is down below 1, up above; without the second term up always."""
    noise, other, truth = torch.randn(3, 1, 3, 400, 400, generator=torch.Generator().manual_seed(2))

    def slope(deviation: float, share: float) -> float:
        s = torch.tensor(deviation, requires_grad=True)
        error = charbonnier_at_scales(s * noise - truth, (1.0, 1.0))
        (error - share * energy_spread(s * noise, s * other, (1.0, 1.0))).sum().backward()
        assert s.grad is not None
        return s.grad.item()

    assert slope(0.6, 1.0) < -0.03 < abs(slope(1.0, 1.0)) < 0.03 < slope(1.4, 1.0)
    assert slope(0.3, 0.0) > 0.03
