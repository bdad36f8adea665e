"""Muon: what it moves, how far, and that its state survives a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from iconface_video.lab.train.run_state import load_optimizer_state, optimizer_state
from iconface_video.learn.muon import Muon, is_matrix, orthogonalised


def test_an_orthogonalised_matrix_keeps_its_directions_and_loses_its_sizes() -> None:
    matrix = torch.randn(2, 24, 70, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    moved = orthogonalised(matrix)
    sizes = torch.linalg.svdvals(moved)
    assert sizes.min() > 0.5
    assert sizes.max() < 1.35
    overlap = torch.nn.functional.cosine_similarity(moved.flatten(1), (left @ right).flatten(1))
    assert overlap.min() > 0.95
    torch.testing.assert_close(orthogonalised(matrix.mT), moved.mT, atol=0.02, rtol=0)


def test_heads_biases_and_prompts_are_no_matrices() -> None:
    assert is_matrix(nn.Conv2d(16, 32, 3).weight)
    assert is_matrix(nn.Linear(64, 64).weight)
    assert not is_matrix(nn.Conv2d(32, 3, 3).weight)
    assert not is_matrix(torch.zeros(1, 4, 64))
    assert not is_matrix(torch.zeros(64))


def _net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 3, 1))


def _train(net: nn.Sequential, optimizer: torch.optim.Optimizer, first: int, last: int) -> float:
    loss = torch.zeros(())
    for step in range(first, last):
        x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = (net(x) - x.flip(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_it_learns_and_a_reloaded_state_goes_on_to_the_bit() -> None:
    whole, half = _net(), _net()
    before = _train(_net(), Muon(_net().parameters(), lr=0.0), 0, 1)
    optimizer = Muon(whole.parameters(), lr=5e-3)
    after = _train(whole, optimizer, 0, 40)
    assert after < 0.5 * before
    first = Muon(half.parameters(), lr=5e-3)
    _train(half, first, 0, 15)
    second = Muon(half.parameters(), lr=5e-3)
    names = dict(half.named_parameters())
    load_optimizer_state(second, optimizer_state(first, names), names)
    _train(half, second, 15, 40)
    for a, b in zip(whole.parameters(), half.parameters()):
        assert torch.equal(a, b)


def test_what_is_no_matrix_moves_as_torchs_adamw_moves_it() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 8)) for _ in range(2))
    optimizers = (
        Muon([ours], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1),
        torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1),
    )
    for step in range(5):
        gradient = torch.randn(8, generator=torch.Generator().manual_seed(step))
        for weight, optimizer in zip((ours, theirs), optimizers):
            weight.grad = gradient.clone()
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_a_state_written_before_torchs_adamw_was_used_goes_on() -> None:
    """What the earlier code held after two steps of gradients 1 and 3 on a bias: lr 0.1, betas 0.9 and 0.99, decay 0.01."""
    weight = nn.Parameter(torch.full((2,), 0.6))
    old = {"bias/step": torch.tensor(2.0), "bias/mean": torch.full((2,), 0.39), "bias/square": torch.full((2,), 0.0999)}
    optimizer = Muon([weight], lr=0.1)
    load_optimizer_state(optimizer, old, {"bias": weight})
    weight.grad = torch.full((2,), -2.0)
    optimizer.step()
    mean, square = 0.9 * 0.39 - 0.1 * 2, 0.99 * 0.0999 + 0.01 * 4
    expected = 0.6 * (1 - 0.1 * 0.01) - 0.1 * (mean / (1 - 0.9**3)) / ((square / (1 - 0.99**3)) ** 0.5 + 1e-8)
    torch.testing.assert_close(weight.detach(), torch.full((2,), expected), rtol=1e-6, atol=0)
    assert set(optimizer_state(optimizer, {"bias": weight})) == set(old)


def test_matrices_that_move_in_every_second_step_go_twice_as_far() -> None:
    net, often = _net(), _net()
    optimizer, plain = (
        Muon(net.parameters(), lr=5e-3, weight_decay=0.0, every=2),
        Muon(often.parameters(), lr=5e-3, weight_decay=0.0),
    )
    matrix, bias = net[0].weight, net[0].bias
    ways = []
    for step in range(2):
        before, bias_before = matrix.detach().clone(), bias.detach().clone()
        for group in optimizer.param_groups:
            group["moves"] = step % 2 == 0
        _train(net, optimizer, step, step + 1)
        ways.append(float((matrix.detach() - before).norm()))
        assert not torch.equal(bias, bias_before)
    begun = often[0].weight.detach().clone()
    _train(often, plain, 0, 1)
    assert ways[1] == 0
    assert ways[0] == pytest.approx(2 * float((often[0].weight.detach() - begun).norm()), rel=1e-4)
