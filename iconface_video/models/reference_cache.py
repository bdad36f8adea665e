"""References as the transformer takes them: tokens, or keys and values computed once (causal reference attention)."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from iconface_video.models.attention import KeysValues
from iconface_video.models.positions import Grid

Held = TypeVar("Held", bound=Sized)


@dataclass(frozen=True, eq=False)
class ReferenceTokens:
    """Reference tokens of a batch, not yet looked at by the transformer."""

    tokens: Tensor
    """(B, R, M, in_channels)."""
    grid: Grid
    """(rows, columns) of one reference, rows * columns = M."""
    mask: Tensor | None = None
    """(B, R) bool, True where there is a reference; None: all there. What stands at False is never seen."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 4 or self.tokens.shape[2] != self.grid[0] * self.grid[1]:
            raise ValueError(f"reference tokens are (B, R, M, C) with M of grid {self.grid}, got {tuple(self.tokens.shape)}")
        if self.mask is not None and self.mask.shape != self.tokens.shape[:2]:
            raise ValueError(f"the mask of references is {tuple(self.tokens.shape[:2])}, got {tuple(self.mask.shape)}")

    @property
    def tokens_each(self) -> int:
        """M."""
        return self.tokens.shape[2]

    def repeated(self, times: int) -> ReferenceTokens:
        """The batch several times, one after another."""
        mask = None if self.mask is None else self.mask.repeat(times, 1)
        return ReferenceTokens(self.tokens.repeat(times, 1, 1, 1), self.grid, mask)

    @property
    def present(self) -> Tensor:
        """(B, R) bool."""
        if self.mask is not None:
            return self.mask
        return torch.ones(self.tokens.shape[:2], dtype=torch.bool, device=self.tokens.device)


@dataclass(frozen=True, eq=False)
class ReferenceCache:
    """Keys and values of R references in every block; each reference stands alone, so any of them can be combined.

    Keys are rotated for row and column, not yet for the reference's slot (t = 10 + r): the same reference may stand in any.
    """

    layers: tuple[KeysValues, ...]
    """Per block, double-stream blocks first: keys and values, (R, M, heads, head_dim) each."""
    scene_grid: Grid
    """Grid of the scene that the rows and columns refer to."""

    def __len__(self) -> int:
        return len(self.layers[0][0])

    def __getitem__(self, which: slice | Sequence[int]) -> ReferenceCache:
        """Some of the references, by a slice or a list of indices."""
        chosen = which if isinstance(which, slice) else list(which)
        return ReferenceCache(tuple((k[chosen], v[chosen]) for k, v in self.layers), self.scene_grid)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ReferenceCache:
        return ReferenceCache(tuple((k.to(device, dtype), v.to(device, dtype)) for k, v in self.layers), self.scene_grid)

    @staticmethod
    def cat(caches: Sequence[ReferenceCache]) -> ReferenceCache:
        """All references of several caches, in order. ValueError where they were made for different scene grids."""
        grids = {cache.scene_grid for cache in caches}
        if len(grids) != 1:
            raise ValueError(f"references were cached for different scene grids: {sorted(grids)}")
        if len(caches) == 1:
            return caches[0]
        layers = zip(*(cache.layers for cache in caches))
        joined = tuple((torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in layers)
        return ReferenceCache(joined, caches[0].scene_grid)


@dataclass(frozen=True, eq=False)
class CachedReferences:
    """Which references of one cache each sample of a batch sees: what the transformer's forward takes."""

    cache: ReferenceCache
    index: Tensor
    """(B, R) int64, into the cache; anything valid where the mask is False."""
    mask: Tensor | None = None
    """(B, R) bool, True where there is a reference; None: all there."""

    @property
    def tokens_each(self) -> int:
        """M."""
        return self.cache.layers[0][0].shape[1]

    def repeated(self, times: int) -> CachedReferences:
        """The batch several times, one after another."""
        mask = None if self.mask is None else self.mask.repeat(times, 1)
        return CachedReferences(self.cache, self.index.repeat(times, 1), mask)

    @property
    def present(self) -> Tensor:
        """(B, R) bool."""
        return torch.ones_like(self.index, dtype=torch.bool) if self.mask is None else self.mask


def share_and_index(per_sample: Sequence[Held | None]) -> tuple[list[Held], Tensor, Tensor | None] | None:
    """Which references each sample of a batch sees, when what several samples share is held once.

    Returns the different ones, an index (B, R) into all their references in a row, and a mask (B, R) that is False where
    there is no reference (None: all there); None when no sample has any.
    """
    unique = {id(held): held for held in per_sample if held is not None and len(held)}
    if not unique:
        return None
    starts, total = {}, 0
    for key, held in unique.items():
        starts[key] = total
        total += len(held)
    counts = torch.tensor([len(held) if held is not None else 0 for held in per_sample])
    first = torch.tensor([starts.get(id(held), 0) for held in per_sample])
    slots = torch.arange(int(counts.max()))
    present = slots < counts[:, None]
    return list(unique.values()), (first[:, None] + slots) * present, None if bool(present.all()) else present


def batch_caches(per_sample: Sequence[ReferenceCache | None]) -> CachedReferences | None:
    """References of each sample of a batch -> one CachedReferences; None when no sample has any."""
    shared = share_and_index(per_sample)
    if shared is None:
        return None
    caches, index, mask = shared
    joined = ReferenceCache.cat(caches)
    device = joined.layers[0][0].device
    return CachedReferences(joined, index.to(device), None if mask is None else mask.to(device))
