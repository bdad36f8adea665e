"""The losses by themselves."""

from __future__ import annotations

import torch

from iconface_video.train.losses import PatchDiscriminator, hinge_judge, hinge_restorer


def test_the_judge_learns_to_tell_blurred_from_sharp_at_both_scales():
    torch.manual_seed(0)
    judge = PatchDiscriminator(width=8)
    optimizer = torch.optim.Adam(judge.parameters(), 2e-3, betas=(0.5, 0.9))
    kernel = torch.ones(3, 1, 5, 5) / 25
    for _ in range(40):
        sharp = torch.randn(4, 3, 64, 64).clamp(-1, 1)
        blurred = torch.nn.functional.conv2d(sharp, kernel, padding=2, groups=3)
        loss = hinge_judge(judge(sharp, blurred), judge(blurred, blurred))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    real, fake = judge(sharp, blurred), judge(blurred, blurred)
    assert [logits.shape[-1] for logits in real] == [16, 4]
    for taken_for_real, found_out in zip(real, fake):
        assert taken_for_real.mean() > found_out.mean() + 0.2
    assert hinge_restorer(fake) > hinge_restorer(real)  # the restorer's loss is higher where it is found out
