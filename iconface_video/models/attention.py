"""Attention of the FLUX.2 blocks with keys from outside: references computed once and looked at by everything else.

Both processors do what diffusers' own do, to the bit, while nothing comes from outside.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

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
