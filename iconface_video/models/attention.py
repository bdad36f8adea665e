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


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Apply RoPE to queries or keys (B, tokens, heads, head_dim)."""
    return cast(Tensor, apply_rotary_emb(x, cast(Any, rotary), sequence_dim=1))


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
    out = dispatch_attention_fn(
        query,
        key,
        value,
        attn_mask=mask,
        backend=processor._attention_backend,
        parallel_config=processor._parallel_config,
    )
    seen: Tensor = out.flatten(2, 3).to(query.dtype)
    return seen


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
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, heads))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, heads))
        value = attn.to_v(hidden_states).unflatten(-1, heads)
        text_tokens = encoder_hidden_states.shape[1]
        if text_tokens:
            text_query = attn.norm_added_q(attn.add_q_proj(encoder_hidden_states).unflatten(-1, heads))
            text_key = attn.norm_added_k(attn.add_k_proj(encoder_hidden_states).unflatten(-1, heads))
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
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            query = rotate(query, image_rotary_emb)
            key = rotate(key, image_rotary_emb)
        seen = _attend(self, query, key, value, attention_mask, outside, record)
        out: Tensor = attn.to_out(torch.cat([seen, attn.mlp_act_fn(feed_forward)], -1))
        return out
