"""Muon: momentum whose matrices are orthogonalised before each step; AdamW for what is no matrix.

Source: Jordan et al. 2024 (the Newton-Schulz iteration and its coefficients), Liu et al. 2025, arXiv 2502.16982, 2.2 (an
update's RMS matched to AdamW's, so that one learning rate serves both). Convolutions are matrices of out x (in * k * k).
With the few hundred thousand pictures that processors get to see, it learns several times as much from each as AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from iconface_video.models.load_options import has_fast_bfloat16

SMALLEST_SIDE = 16
"""A weight whose matrix has fewer rows or columns (heads, biases, prompts) is left to AdamW."""
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_ADAMW_RMS = 0.2


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon takes it."""
    return weight.ndim >= 2 and min(len(weight), weight[0].numel()) >= SMALLEST_SIDE


def orthogonalised(stack: Tensor) -> Tensor:
    """(n, rows, columns) -> the nearest matrices with singular values of about 1, float32.

    Five Newton-Schulz iterations, in bfloat16 where the processor multiplies it (elsewhere that is many times slower).
    """
    a, b, c = _COEFFICIENTS
    held = torch.bfloat16 if has_fast_bfloat16(stack.device) else torch.float32
    tall = stack.shape[1] > stack.shape[2]
    x = stack.mT if tall else stack
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(held)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """One optimizer for all weights of a network; see the module's text."""

    def __init__(
        self,
        weights: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        every: int = 1,
    ) -> None:
        """weights: all of them, or groups as torch's optimizers take them.  betas: AdamW's, for what is no matrix.

        every: of how many steps one moves the matrices, that many times as far (momentum hardly turns meanwhile, and most of the
        work is to orthogonalise it): the steps before which the groups' "moves" is true.
        """
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum, "every": every, "moves": True}
        super().__init__(weights, defaults)
        self.param_groups = [
            {**group, "params": chosen, "matrices": matrices}
            for group in self.param_groups
            for matrices in (True, False)
            if (chosen := [weight for weight in group["params"] if is_matrix(weight) == matrices])
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if group["matrices"]:
                self._step_matrices(weights, group)
            else:
                self._step_adamw(weights, group)

    def _step_matrices(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        rate, momentum = group["every"] * group["lr"], group["momentum"]
        alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - momentum)
            if not group["moves"]:
                continue
            update = weight.grad.lerp(state["momentum"], momentum).flatten(1)
            alike.setdefault((update.shape[0], update.shape[1]), []).append((weight, update))
        for shape, pairs in alike.items():
            moves = orthogonalised(torch.stack([update for _, update in pairs]))
            for (weight, _), move in zip(pairs, moves):
                weight.mul_(1 - rate * group["weight_decay"])
                weight.add_(move.view(weight.shape), alpha=-rate * _ADAMW_RMS * max(shape) ** 0.5)

    def _step_adamw(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """torch's own AdamW; its moments keep the names under which checkpoints have always held them."""
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        states = [self.state[weight] for weight in weights]
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
