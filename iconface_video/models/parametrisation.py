"""What a network predicts, turned into what the sampler and the losses need. Training and sampling both go through this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Prediction = Literal["velocity", "image"]


def _over(sigma: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...), to go with x."""
    return sigma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x = (1 - sigma) clean + sigma noise (IConFace eq. 1). clean, noise (B, ...); sigma (B,)."""
    share = _over(sigma, clean)
    return (1 - share) * clean + share * noise


@dataclass(frozen=True)
class Parametrisation:
    """Of a network that predicts the velocity noise - clean, or the clean picture itself."""

    prediction: Prediction
    smallest_sigma: float = 1e-3
    """Below it an image prediction is divided by this instead: the velocity stays finite."""

    def velocity(self, output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """output, x: (B, ...) network output and noisy state; sigma (B,) -> velocity (B, ...)."""
        if self.prediction == "velocity":
            return output
        return (x - output) / _over(sigma.clamp(min=self.smallest_sigma), x)

    def clean(self, output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """Clean estimate x - sigma * velocity (B, ...)."""
        if self.prediction == "image":
            return output
        return x - _over(sigma, x) * output
