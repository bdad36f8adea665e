"""The online mix on batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iconface_video.errors import UsageError
from iconface_video.train.degradations.picture import degrade


def degrade_batch(images: Tensor, strengths: Sequence[float], seed: int | Sequence[int], *, seen_px: float = 512.0) -> Tensor:
    """Damage a batch: float (B, 3, H, W) RGB in [-1, 1] -> the same shape, device and type, each picture by its own strength.

    Deterministic by `seed`: one number for the batch (picture i then draws from (seed, i)), or one for each picture, so that a picture's
    damage does not depend on its neighbours. Works in 8 bits. Raises `UsageError` when the counts differ.
    """
    seeds = [(int(seed), place) for place in range(len(images))] if isinstance(seed, int) else [(int(s),) for s in seed]
    if not len(images) == len(strengths) == len(seeds):
        raise UsageError(
            f"{len(images)} pictures, {len(strengths)} strengths, {len(seeds)} seeds: there must be as many of each"
        )
    pictures = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    damaged = [
        degrade(np.ascontiguousarray(picture), float(strength), np.random.default_rng(key), seen_px=seen_px)
        for picture, strength, key in zip(pictures, strengths, seeds)
    ]
    stacked = torch.from_numpy(np.stack(damaged)).permute(0, 3, 1, 2)
    return (stacked.to(images.device).float() / 127.5 - 1).to(images.dtype)
