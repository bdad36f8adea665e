"""What differs between models, as data: callers ask the traits and don't test for names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from iconface_video.errors import UsageError
from iconface_video.models.parametrisation import Prediction


@dataclass(frozen=True)
class RestorerTraits:
    """Of one checkpoint; stored in its model_index.json."""

    name: str
    """For people: "embedded"."""
    prediction: Prediction
    max_references: int = 3
    """Pictures per sample that it was trained with; more are combined (`models.references`)."""
    crop_sizes: tuple[int, ...] = (128, 256, 512)
    """px that it was tested with, rising."""
    size_multiple: int = 16
    """px; any crop size is a multiple of it."""
    default_steps: int = 12
    default_guidance: float = 4.0
    """1: the model needs no guidance and one pass a step is enough."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    """Tested ones only; another one is refused."""
    license: str = "Apache-2.0"
    """SPDX, or a name and where to read it."""

    def check_size(self, size: int) -> None:
        """UsageError for a crop size that the model cannot take: it is refused, not rounded."""
        if size < self.size_multiple or size % self.size_multiple:
            raise UsageError(f"model '{self.name}' takes crops whose size is a multiple of {self.size_multiple} px, got {size}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
