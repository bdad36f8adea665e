"""The losses by themselves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from iconface_video.faces.landmark_network import find_landmarks, load_landmark_network
from iconface_video.lab.train.feature_regions import feature_regions
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


def test_an_error_in_eyes_and_mouth_counts_more() -> None:
    """The regions are where a face's features are, a tenth of it; the same error there costs twice as much."""
    face = np.asarray(cv2.resize(data.astronaut()[10:210, 120:320], (128, 128)), np.uint8)
    points = find_landmarks(load_landmark_network(), [face])
    (region,) = feature_regions(points, 128)
    assert region.shape == (1, 128, 128)
    assert region.min() >= 0
    assert region.max() == pytest.approx(1)
    assert 0.04 < region.mean() < 0.2
    eyes, mouth = points[0, [33, 263]] * 128, points[0, [61, 291]] * 128
    assert all(region[0, round(y), round(x)] > 0.9 for x, y in [*eyes, *mouth])
    cheek = (0.5 * (eyes[0] + mouth[0])).round().astype(int)
    assert region[0, cheek[1], cheek[0]] < 0.1
    weight = 1 + torch.from_numpy(region)[None]
    inside = 0.5 * (weight > 1.99)
    outside = 0.5 * (weight < 1.01)
    for place, times in ((inside, 2), (outside, 1)):
        plain, weighted = (charbonnier_at_scales(place, (1.0,), w) for w in (None, weight))
        assert (weighted / plain).item() == pytest.approx(times, rel=0.1)
