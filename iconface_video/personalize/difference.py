"""Low-rank differences of a network's weights: learnt beside frozen weights, put on a model and taken off again.

A weight W (out, in, k, k) is the matrix (out, in * k * k); its difference is a product of two narrow matrices, "up" (out, rank)
and "down" (rank, in * k * k) (LoRA, Hu et al. 2021, arXiv 2106.09685, 4.1). Which weights get one is said by a pattern of their
names, so that nothing here knows a particular network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SMALLEST_SIDE = 16
"""A matrix with fewer rows or columns gets no difference: heads are what gives a picture its colours, and hold little."""


@dataclass(frozen=True, eq=False)
class Factors:
    """Difference of one weight: up @ down."""

    up: Tensor
    """(out, rank)."""
    down: Tensor
    """(rank, in * k * k)."""

    def product(self) -> Tensor:
        """(out, in * k * k) float32."""
        return self.up.float() @ self.down.float()


class LowRank(nn.Module):
    """The parametrisation of a weight while its difference is learnt; it starts as an identity."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(rank, rows, columns)
        directions = torch.linalg.qr(torch.randn(columns, rank, generator=generator))[0].T
        # Muon moves `up` by a matrix of spectral norm ~ sqrt(out): scaled so, the product moves as the whole weight would.
        scale = (max(rows, columns) / rows) ** 0.5
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        self.down = nn.Parameter((directions * scale).contiguous().to(weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up @ self.down).view_as(weight)


def target_weights(model: nn.Module, pattern: str) -> list[str]:
    """Names of the convolutions' and linear layers' weights that the regular expression matches, in the model's order."""
    names = []
    for name, module in model.named_modules():
        full = f"{name}.weight"
        if isinstance(module, (nn.Conv2d, nn.Linear)) and re.fullmatch(pattern, full):
            matrix = module.weight.flatten(1)
            if min(matrix.shape) >= SMALLEST_SIDE:
                names.append(full)
    return names


def attach(model: nn.Module, names: list[str], rank: int, generator: torch.Generator) -> dict[str, LowRank]:
    """Freeze the model and put a learnable difference on each of these weights; weight's name -> its difference."""
    model.requires_grad_(False)
    made = {}
    for name in names:
        module = model.get_submodule(name.removesuffix(".weight"))
        made[name] = LowRank(cast(Tensor, module.weight), rank, generator)
        parametrize.register_parametrization(module, "weight", made[name])
    return made


def learnt_factors(differences: Mapping[str, LowRank]) -> dict[str, Factors]:
    """What was learnt, by the weight's name."""
    return {name: kept_factors(item.up, item.down) for name, item in differences.items()}


def kept_factors(up: Tensor, down: Tensor) -> Factors:
    """float16 on the processor: as they are kept."""
    return Factors(*(side.detach().to("cpu", torch.float16).contiguous() for side in (up, down)))


class Wearer:
    """A model that may carry one difference at a time. Taken off, its weights are the very tensors that they were.

    Not for several threads at once: whoever restores with the model sees what it carries.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = dict(model.named_parameters())
        self._originals: dict[str, Tensor] = {}

    @torch.no_grad()
    def put_on(self, factors: Mapping[str, Factors], strength: float = 1.0) -> None:
        """Add strength (0..1) of a difference to the model's own weights; what it carried before is taken off."""
        self.take_off()
        if not strength:
            return
        for name, item in factors.items():
            weight = self._weights[name]
            own = weight.data
            difference = item.product().to(own.device).mul_(strength)
            self._originals[name] = own
            weight.data = (own.float() + difference.view(own.shape)).to(own.dtype)

    def take_off(self) -> None:
        """Back to the model's own weights, bit by bit."""
        for name, own in self._originals.items():
            self._weights[name].data = own
        self._originals = {}
