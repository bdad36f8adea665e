"""More references than a model was trained for, without retraining (after RefFR's multi-reference inference).

A model trained with at most m references sees n > m of them like this: slots repeat (t = 10 + r mod m), so that no position
is one it has never seen; and every reference's keys weigh m / n, so that all of them together draw as much attention as m
did in training. A reference given twice is thus worth the same as one given once, and n equal ones the same as m.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reference_slots(count: int, trained_for: int, device: torch.device | None = None) -> Tensor:
    """(count,) int64: which slot each reference takes."""
    return torch.arange(count, device=device) % trained_for


def reference_bias(present: Tensor, trained_for: int) -> Tensor:
    """Added to the attention logits of a reference's keys.

    present: (B, R) bool -> (B, R) float32: -inf where there is none, log(m / n) where a sample has n > m, else 0.
    """
    counts = present.sum(1, keepdim=True).clamp(min=1)
    weight = (trained_for / counts).clamp(max=1).log().expand(present.shape)
    return weight.masked_fill(~present, -torch.inf)
