"""What one step of a restorer's training looks at, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from iconface_video.models.pixel_autoencoder import Decoded


@dataclass(frozen=True, eq=False)
class Shown:
    """A batch as a step sees it; pictures (B, 3, S, S) in [-1, 1]."""

    truth: Tensor
    source: Tensor
    references: Tensor | None
    """(B, R, 3, S, S)."""
    anchor: Tensor | None
    """(B, 512) unit."""
    noise: Tensor
    """As the pictures."""
    pixel_weight: Tensor | None = None
    """(B, 1, S, S): how much an error counts at each place; None: the same everywhere."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """What a step made, of whole faces or of patches of them, (B, 3, P, P)."""

    truth: Tensor
    source: Tensor
    restored: Tensor
    whole: Tensor
    """(B, 3, S, S): the restored in its face."""
    sigma: Tensor
    """(B,)."""
    moves: Tensor
    """As `FaceBatch.moves`, in px of the patches."""
    before: Tensor
    """What the pass began with: the source, or a coarser pass's result."""
    decoded: Decoded | None
    other: Tensor | None
    """(B, 3, P, P), restored from other noise."""
    pixel_weight: Tensor | None = None
    """(B, 1, P, P), see `Shown`."""
