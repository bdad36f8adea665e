"""Attention over the whole face: a feature is put where the rest of the face asks for it, and found wherever a reference has it.

Affordable only where cells are few: at 1/8 and 1/16 of a coarse picture. Local attention (`local_attention`) carries the fine
scales.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.models.picture_layers import ChannelNorm

SLOPES = (0.05, 1.5)
"""Of the logits' fall with the squared distance in cells of a 16 x 16 grid: the first head looks over a third of the face, the last
one at the same place alone."""
TEMPERATURE = 8.0
"""Keys and queries to references have length 1: their products times this are logits."""
_GRID = 16


class GlobalAttention(nn.Module):
    """Self attention over a map's cells, then cross attention to all cells of all references, beside a null key.

    Both outputs start at zero; keys of references start equal to queries, as in `ReferenceAttention`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_reference = ChannelNorm(width), ChannelNorm(width)
        self.to_self = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.to_query = nn.Conv2d(width, width, 1, bias=False)
        self.to_key = nn.Conv2d(width, width, 1, bias=False)
        self.to_value = nn.Conv2d(width, width, 1, bias=False)
        self.self_out, self.reference_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.null_logit = nn.Parameter(torch.zeros(heads, 1, 1))
        self.to_key.weight.data.copy_(self.to_query.weight.data)
        for layer in (self.self_out, self.reference_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def doors(self) -> list[Tensor]:
        """The weights that start at zero."""
        return [self.self_out.weight, self.reference_out.weight]

    def keys_values(self, maps: Tensor) -> Tensor:
        """Encoder maps of references (R, width, h, w) -> (R, 2 width, h, w), cacheable."""
        seen = self.norm_reference(maps)
        return torch.cat([self.to_key(seen), self.to_value(seen)], 1)

    def forward(self, x: Tensor, keys_values: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x (B, width, h, w) -> the same, with what the rest of it and the references have to add.

        keys_values: (B, R, 2 width, h', w').  mask: (B, R) bool, True where there is a reference; None: all are there.
        """
        height, width = x.shape[-2:]
        seen = self.norm(x)
        query, key, value = (self._split(part) for part in self.to_self(seen).chunk(3, 1))
        x = x + self.self_out(self._join(F.scaled_dot_product_attention(query, key, value), height, width))
        if keys_values is None:
            return x
        added = self._from_references(seen, keys_values, mask)
        if mask is not None:  # a face without references is untouched, as if it were alone: not even the bias is added
            added = added * mask.any(1)[:, None, None, None]
        return x + added

    def _from_references(self, seen: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        (batch, count), (height, width) = keys_values.shape[:2], seen.shape[-2:]
        query = F.normalize(self._split(self.to_query(seen)), dim=-1)
        keys, values = keys_values.flatten(0, 1).to(query.dtype).chunk(2, 1)
        key = self._split(F.normalize(keys.unflatten(1, (self.heads, -1)), dim=2).flatten(1, 2))
        # (B R, heads, cells, d) -> (B, heads, R cells, d)
        key, value = (t.unflatten(0, (batch, count)).transpose(1, 2).flatten(2, 3) for t in (key, self._split(values)))
        bias = self._distance_bias(height, width, keys_values.shape[-2], keys_values.shape[-1], query).repeat(1, 1, count)
        bias = bias.expand(batch, -1, -1, -1)
        if mask is not None:
            hidden = ~mask.repeat_interleave(key.shape[2] // count, 1)
            bias = bias.masked_fill(hidden[:, None, None, :], -torch.inf)
        null = self.null_logit.to(query.dtype).expand(batch, -1, query.shape[2], 1)
        bias = torch.cat([null, bias], -1)
        nothing = torch.zeros_like(key[:, :, :1])
        found = F.scaled_dot_product_attention(
            query, torch.cat([nothing, key], 2), torch.cat([nothing, value], 2), attn_mask=bias, scale=TEMPERATURE
        )
        out: Tensor = self.reference_out(self._join(found, height, width))
        return out

    def _distance_bias(self, height: int, width: int, key_height: int, key_width: int, like: Tensor) -> Tensor:
        """(heads, cells, keys): distances are shares of the side, so that maps of any size see alike."""
        here, there = _cell_centres(height, width, like), _cell_centres(key_height, key_width, like)
        squared = (here[:, None] - there[None]).square().sum(-1) * _GRID**2
        slopes = torch.linspace(*SLOPES, self.heads, device=like.device, dtype=like.dtype)
        return -slopes[:, None, None] * squared

    def _split(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> (N, heads, h w, width / heads)."""
        return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)

    @staticmethod
    def _join(x: Tensor, height: int, width: int) -> Tensor:
        """Inverse of `_split`."""
        return x.transpose(2, 3).flatten(1, 2).unflatten(2, (height, width))


def _cell_centres(height: int, width: int, like: Tensor) -> Tensor:
    """(h w, 2) within 0..1."""
    rows = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    columns = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
