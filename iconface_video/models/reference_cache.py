"""References as the transformer takes them: tokens, or keys and values computed once (causal reference attention)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from iconface_video.models.attention import KeysValues
from iconface_video.models.positions import Grid


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

    @property
    def present(self) -> Tensor:
        """(B, R) bool."""
        return torch.ones_like(self.index, dtype=torch.bool) if self.mask is None else self.mask


def gather_index(counts: Sequence[int], starts: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Sample b sees `counts[b]` references in a row from `starts[b]` on -> index (B, max(counts)) and mask (None: all there)."""
    most = max(counts)
    slots = torch.arange(most)
    present = slots < torch.tensor(counts)[:, None]
    index = (torch.tensor(starts)[:, None] + slots) * present
    return index, None if bool(present.all()) else present


def batch_caches(per_sample: Sequence[ReferenceCache | None]) -> CachedReferences | None:
    """References of each sample of a batch -> one CachedReferences; None when no sample has any.

    A cache that several samples share (faces of one track) is held once.
    """
    unique = {id(cache): cache for cache in per_sample if cache is not None and len(cache)}
    if not unique:
        return None
    starts, total = {}, 0
    for key, cache in unique.items():
        starts[key] = total
        total += len(cache)
    counts = [len(cache) if cache is not None else 0 for cache in per_sample]
    joined = ReferenceCache.cat(list(unique.values()))
    index, mask = gather_index(counts, [starts.get(id(cache), 0) for cache in per_sample])
    device = joined.layers[0][0].device
    return CachedReferences(joined, index.to(device), None if mask is None else mask.to(device))
