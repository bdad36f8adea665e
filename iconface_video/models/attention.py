"""Attention of the FLUX.2 blocks with keys from outside: references are computed once (tokens, or keys and values) and looked at by
everything else, also more of them than a model was trained for (after RefFR's multi-reference inference).

Both processors do what diffusers' own do, to the bit, while nothing comes from outside.

A model trained with at most m references sees n > m of them like this: slots repeat (t = 10 + r mod m), so that no position
is one it has never seen; and every reference's keys weigh m / n, so that all of them together draw as much attention as m
did in training. A reference given twice is thus worth the same as one given once, and n equal ones the same as m.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from iconface_video.models.conditioning import Grid

KeysValues = tuple[Tensor, Tensor]
"""Keys after normalisation and RoPE, and values: (B, K, heads, head_dim) each."""
Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, (tokens, head_dim) each."""

LARGEST_LOGITS = 2**26
"""Of attention written out: 128 MiB in bfloat16."""


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Apply RoPE to queries or keys (B, tokens, heads, head_dim)."""
    return cast(Tensor, apply_rotary_emb(x, cast(Any, rotary), sequence_dim=1))


def _normalise(norm: Any, x: Tensor) -> Tensor:
    """`norm(x)`; under autocast with the weight in x's own format, without which torch leaves its fused kernel."""
    if norm.weight is None or norm.weight.dtype == x.dtype:
        return cast(Tensor, norm(x))
    return torch.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


def _two_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k / sqrt(d)) v written out; all (B, tokens, heads, head_dim)."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    return (logits.softmax(-1) @ value).transpose(1, 2)


def _is_faster_as_two_products(query: Tensor, key: Tensor) -> bool:
    """torch's fused CPU kernel is two to three times slower in bfloat16, as long as the logits fit in memory."""
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or key.dtype != torch.bfloat16:
        return False
    return query.shape[0] * query.shape[2] * query.shape[1] * key.shape[1] <= LARGEST_LOGITS


def _attend(
    processor: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    outside: KeysValues | None,
    record: list[KeysValues] | None,
) -> Tensor:
    """Attention over the sequence's own keys and, where given, those from outside -> (B, tokens, heads * head_dim)."""
    if record is not None:
        record.append((key, value))
    if outside is not None:
        key = torch.cat([key, outside[0].to(key.dtype)], 1)
        value = torch.cat([value, outside[1].to(value.dtype)], 1)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    if processor._attention_backend is None and _is_faster_as_two_products(query, key):
        return _two_products(query, key, value.to(key.dtype), mask).flatten(2, 3)
    out = dispatch_attention_fn(
        query,
        key,
        value,
        attn_mask=mask,
        backend=processor._attention_backend,
        parallel_config=processor._parallel_config,
    )
    return out.flatten(2, 3).to(query.dtype)


class JointAttention:
    """Processor of the double-stream blocks."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
        outside: KeysValues | None = None,
        record: list[KeysValues] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """hidden_states (B, N, D) image tokens, encoder_hidden_states (B, L, D) text tokens -> both, attended.

        outside: further keys and values; record: collects this block's own.
        """
        heads = (-1, attn.head_dim)
        query = _normalise(attn.norm_q, attn.to_q(hidden_states).unflatten(-1, heads))
        key = _normalise(attn.norm_k, attn.to_k(hidden_states).unflatten(-1, heads))
        value = attn.to_v(hidden_states).unflatten(-1, heads)
        text_tokens = encoder_hidden_states.shape[1]
        if text_tokens:
            text_query = _normalise(attn.norm_added_q, attn.add_q_proj(encoder_hidden_states).unflatten(-1, heads))
            text_key = _normalise(attn.norm_added_k, attn.add_k_proj(encoder_hidden_states).unflatten(-1, heads))
            text_value = attn.add_v_proj(encoder_hidden_states).unflatten(-1, heads)
            query = torch.cat([text_query, query], 1)
            key = torch.cat([text_key, key], 1)
            value = torch.cat([text_value, value], 1)
        if image_rotary_emb is not None:
            query = rotate(query, image_rotary_emb)
            key = rotate(key, image_rotary_emb)
        seen = _attend(self, query, key, value, attention_mask, outside, record)
        text, image = seen[:, :text_tokens], seen[:, text_tokens:]
        return attn.to_out[1](attn.to_out[0](image)), attn.to_add_out(text) if text_tokens else encoder_hidden_states


class ParallelAttention:
    """Processor of the single-stream blocks, where attention and feed-forward share their projections."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
        outside: KeysValues | None = None,
        record: list[KeysValues] | None = None,
    ) -> Tensor:
        """hidden_states (B, L + N, D) -> the same shape; `outside` and `record` as in `JointAttention`."""
        wide = attn.to_qkv_mlp_proj(hidden_states)
        joint, feed_forward = wide.split([3 * attn.inner_dim, wide.shape[-1] - 3 * attn.inner_dim], -1)
        query, key, value = (part.unflatten(-1, (-1, attn.head_dim)) for part in joint.chunk(3, -1))
        query, key = _normalise(attn.norm_q, query), _normalise(attn.norm_k, key)
        if image_rotary_emb is not None:
            query = rotate(query, image_rotary_emb)
            key = rotate(key, image_rotary_emb)
        seen = _attend(self, query, key, value, attention_mask, outside, record)
        out: Tensor = attn.to_out(torch.cat([seen, attn.mlp_act_fn(feed_forward)], -1))
        return out


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
