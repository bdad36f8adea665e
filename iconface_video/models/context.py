"""What the model sees beside the noisy state: references (constant over a track) and all conditioning of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from iconface_video.models.attention import CachedReferences, ReferenceCache, ReferenceTokens, share_and_index
from iconface_video.models.conditioning import Grid


@dataclass(frozen=True, eq=False)
class ReferenceContext:
    """R references of one person, looked at once for all frames and steps. Can be indexed and joined."""

    tokens: Tensor
    """(R, M, in_channels)."""
    grid: Grid
    """(rows, columns) of one reference."""
    maps: tuple[Tensor, ...]
    """The autoencoder's, (R, C, h, w) each."""
    cache: ReferenceCache | None
    """Keys and values, where references attend only to themselves; None: they take part in joint attention."""
    size: int
    """px of the crops that they go with."""

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, which: slice | Sequence[int]) -> ReferenceContext:
        """Some of the references, by a slice or a list of indices."""
        chosen = which if isinstance(which, slice) else list(which)
        cache = None if self.cache is None else self.cache[which]
        return ReferenceContext(self.tokens[chosen], self.grid, tuple(m[chosen] for m in self.maps), cache, self.size)

    @staticmethod
    def cat(contexts: Sequence[ReferenceContext]) -> ReferenceContext:
        """All references of several contexts, in order. ValueError where they were made for different crop sizes."""
        sizes = {context.size for context in contexts}
        if len(sizes) != 1:
            raise ValueError(f"references were prepared for different crop sizes: {sorted(sizes)}")
        first = contexts[0]
        if len(contexts) == 1:
            return first
        caches = [context.cache for context in contexts if context.cache is not None]
        return ReferenceContext(
            torch.cat([context.tokens for context in contexts]),
            first.grid,
            tuple(torch.cat(maps) for maps in zip(*(context.maps for context in contexts))),
            ReferenceCache.cat(caches) if caches else None,
            first.size,
        )

    def __repr__(self) -> str:
        return f"ReferenceContext({len(self)} for {self.size} px, cached={self.cache is not None})"


@dataclass(frozen=True, eq=False)
class BatchedReferences:
    """References of a batch, as transformer and decoder take them."""

    transformer: ReferenceTokens | CachedReferences
    maps: tuple[Tensor, ...] | None
    """(B, R, C, h, w) each; None: the autoencoder uses none."""
    mask: Tensor | None
    """(B, R) bool; None: all there."""


def batch_references(per_sample: Sequence[ReferenceContext | None]) -> BatchedReferences | None:
    """Any number of references for each sample; None when no sample has any. A context shared by samples is held once."""
    shared = share_and_index(per_sample)
    if shared is None:
        return None
    contexts, index, mask = shared
    joined = ReferenceContext.cat(contexts)
    index = index.to(joined.tokens.device)
    mask = None if mask is None else mask.to(index.device)
    # One view for all where they share their references: no copies, and the decoder can tell.
    alike = bool((index == index[:1]).all())
    maps = tuple(m[index[0]].expand(len(index), -1, -1, -1, -1) if alike else m[index] for m in joined.maps) or None
    if joined.cache is not None:
        return BatchedReferences(CachedReferences(joined.cache, index, mask), maps, mask)
    return BatchedReferences(ReferenceTokens(joined.tokens[index], joined.grid, mask), maps, mask)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Everything that the model sees besides the noisy state; the same over all steps."""

    source: Any
    """What the autoencoder saw in the degraded pictures (`SourceView`)."""
    identity: Tensor | None
    """(B, 512) unit."""
    references: BatchedReferences | None
