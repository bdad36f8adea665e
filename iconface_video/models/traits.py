"""What differs between models, as data (callers ask the traits and don't test for names), and what a network predicts, turned into
what the sampler and the losses need. Training and sampling both go through this.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from iconface_video.errors import UsageError

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


@dataclass(frozen=True)
class RestorerTraits:
    """Of one checkpoint; stored in its model_index.json."""

    name: str
    """For people: "embedded"."""
    prediction: Prediction
    max_references: int = 3
    """Pictures per sample that it was trained with; more are combined (`models.attention`)."""
    crop_sizes: tuple[int, ...] = (128, 256, 512)
    """px that it was tested with, rising."""
    size_multiple: int = 16
    """px; any crop size is a multiple of it."""
    default_steps: int = 12
    default_guidance: float = 4.0
    """1: the model needs no guidance and one pass a step is enough."""
    crop_scale: float = 1.0
    """How much wider than the FFHQ frame, about its middle, the crops and references are that it expects."""
    border: tuple[int, int, int] | None = None
    """RGB of what lies outside of the picture; None: mirrored."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    """Tested ones only; another one is refused."""
    license: str = "Apache-2.0"
    """SPDX, or a name and where to read it."""

    def __post_init__(self) -> None:
        """ValueError for what no model has: traits are read from files."""
        whole = {
            "max_references": (self.max_references, 0, 64),
            "size_multiple": (self.size_multiple, 1, 1024),
            "default_steps": (self.default_steps, 1, 1000),
            **{f"crop_sizes[{n}]": (size, 8, 4096) for n, size in enumerate(self.crop_sizes)},
        }
        for name, (value, low, high) in whole.items():
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}, must be a whole number within [{low}, {high}]")
        if not self.crop_sizes:
            raise ValueError("crop_sizes is empty")
        if not isinstance(self.default_guidance, (int, float)) or not 1 <= self.default_guidance <= 100:
            raise ValueError(f"default_guidance is {self.default_guidance!r}, must be within [1, 100]")
        if not isinstance(self.crop_scale, (int, float)) or not 1 <= self.crop_scale <= 4:
            raise ValueError(f"crop_scale is {self.crop_scale!r}, must be within [1, 4]")
        if self.border is not None and (
            len(self.border) != 3 or not all(type(c) is int and 0 <= c <= 255 for c in self.border)
        ):
            raise ValueError(f"border is {self.border!r}, must be three whole numbers within [0, 255]")
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction is {self.prediction!r}, must be one of {', '.join(get_args(Prediction))}")
        if not all(isinstance(text, str) for text in (self.name, self.license, *self.dtypes)) or not self.dtypes:
            raise ValueError("name, license and dtypes must be texts")

    def check_size(self, size: int) -> None:
        """UsageError for a crop size that the model cannot take: it is refused, not rounded."""
        if size < self.size_multiple or size % self.size_multiple:
            raise UsageError(f"model '{self.name}' takes crops whose size is a multiple of {self.size_multiple} px, got {size}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
