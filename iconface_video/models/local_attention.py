"""Local attention from the picture being restored to the same place of aligned references."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 4
"""Queries are handled in blocks of 4 x 4 cells, each block with the keys of its surroundings: dense products, any size."""

START_SHARPNESS = 2.0
"""Of the position bias: half of the weight on the same place. A wider start shows a reference so blurred that it tells
nothing which the degraded picture does not tell as well, and then it is never learnt to look sharper."""


class ReferenceAttention(nn.Module):
    """Each cell looks at a window of cells around its own place in every reference, and at a learned "nothing".

    Keys start equal to queries (same projection of the same encoder's maps) and the position bias starts as "look at the
    same place", so that the references are usable from the first step; the output starts at zero. The null key lets it
    turn away from a reference that does not fit (another person, another pose).
    """

    offset_index: Tensor

    def __init__(self, width: int, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.channels, self.heads, self.radius = channels, heads, window // 2
        self.to_query = nn.Conv2d(width, channels, 1, bias=False)
        self.to_key = nn.Conv2d(width, channels, 1, bias=False)
        self.to_value = nn.Conv2d(width, channels, 1, bias=False)
        self.to_out = nn.Conv2d(channels, width, 1)
        self.scale = nn.Parameter(torch.full((heads, 1, 1), math.log(5.0)))
        self.null_logit = nn.Parameter(torch.zeros(heads, 1, 1))
        rows = torch.arange(window) - self.radius
        distance = (rows[:, None] ** 2 + rows[None, :] ** 2).float()
        self.position_bias = nn.Parameter((-START_SHARPNESS * distance).repeat(heads, 1, 1))
        self.register_buffer("offset_index", self._offsets(window), persistent=False)
        self.to_key.weight.data.copy_(self.to_query.weight.data)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)  # type: ignore[arg-type]

    def _offsets(self, window: int) -> Tensor:
        """(BLOCK^2, side^2) index into the flat window for each query and key of a block; window^2 where out of reach."""
        side = BLOCK + 2 * self.radius
        query = torch.arange(BLOCK)
        delta = torch.arange(side)[None, :] - query[:, None]  # key minus query, 0..window-1 inside the window
        inside = (delta >= 0) & (delta < window)
        index = delta[:, None, :, None] * window + delta[None, :, None, :]
        index = index.where(inside[:, None, :, None] & inside[None, :, None, :], torch.tensor(window * window))
        return index.reshape(BLOCK * BLOCK, side * side)

    def keys_values(self, maps: Tensor) -> Tensor:
        """(R, width, h, w) encoder maps of references -> (R, 2 channels, h, w), cacheable."""
        return torch.cat([self.to_key(maps), self.to_value(maps)], 1)

    def _blocks(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) with H, W multiples of BLOCK -> (N, blocks, heads, side^2, C / heads)."""
        side = BLOCK + 2 * self.radius
        tiles = F.unfold(maps, side, padding=self.radius, stride=BLOCK)  # (N, C * side^2, blocks)
        tiles = tiles.unflatten(1, (self.heads, -1, side * side))
        return tiles.permute(0, 4, 1, 3, 2)

    def _tiles(self, keys_values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(B, R, 2 channels, h, w) -> keys of length 1 and values, (B, blocks, heads, R * side^2, channels / heads) each."""
        batch, count = keys_values.shape[:2]
        stored = F.pad(keys_values.flatten(0, 1).to(dtype), _padding(*keys_values.shape[-2:]))
        key, value = (self._blocks(x).unflatten(0, (batch, count)) for x in stored.chunk(2, 1))
        # (B, R, blocks, heads, keys, d) -> (B, blocks, heads, R * keys, d)
        key, value = (x.permute(0, 2, 3, 1, 4, 5).flatten(3, 4) for x in (key, value))
        return F.normalize(key, dim=-1), value

    def _seen_alike(self, keys_values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """`_tiles`, made once for a batch whose samples share their references, as `batch_references` tells by the stride."""
        if keys_values.stride(0) == 0 and len(keys_values) > 1:
            return self._tiles(keys_values[:1], dtype)
        return self._tiles(keys_values, dtype)

    def forward(self, query_map: Tensor, keys_values: Tensor, mask: Tensor | None = None) -> Tensor:
        """query_map (B, width, h, w); keys_values (B, R, 2 channels, h, w); mask (B, R) True where present -> (B, width, h, w)."""
        height, width = query_map.shape[-2:]
        query = F.pad(self.to_query(query_map), _padding(height, width))
        count = keys_values.shape[1]
        key, value = self._seen_alike(keys_values, query.dtype)
        rows, columns = query.shape[-2] // BLOCK, query.shape[-1] // BLOCK
        tiles = query.unflatten(1, (self.heads, -1)).unflatten(3, (rows, BLOCK)).unflatten(5, (columns, BLOCK))
        tiles = tiles.permute(0, 3, 5, 1, 4, 6, 2).flatten(4, 5).flatten(1, 2)  # (B, blocks, heads, BLOCK^2, d)
        weights = self._weights(F.normalize(tiles, dim=-1), key, count, mask)
        seen = weights.to(value.dtype) @ value
        seen = seen.unflatten(1, (rows, columns)).unflatten(4, (BLOCK, BLOCK))
        seen = seen.permute(0, 3, 6, 1, 4, 2, 5).flatten(1, 2).flatten(2, 3).flatten(3, 4)
        out: Tensor = self.to_out(seen[..., :height, :width])
        if mask is not None:  # a face without references is untouched, as if it were alone: not even the bias is added
            out = out * mask.any(1)[:, None, None, None]
        return out

    def _weights(self, query: Tensor, key: Tensor, count: int, mask: Tensor | None) -> Tensor:
        """Softmax over all references' windows and the null key; the null's share is dropped."""
        logits = (query @ key.transpose(-1, -2)).float() * self.scale.exp()
        bias = F.pad(self.position_bias.flatten(1), (0, 1), value=-torch.inf)[:, self.offset_index]
        logits = logits + bias.repeat(1, 1, count)
        if mask is not None:
            shown = mask.repeat_interleave(key.shape[-2] // count, 1)
            logits = logits.masked_fill(~shown[:, None, None, None, :], -torch.inf)
        null = self.null_logit.expand(*logits.shape[:-1], 1)
        return torch.cat([null, logits], -1).softmax(-1)[..., 1:]


def _padding(height: int, width: int) -> tuple[int, int, int, int]:
    """To whole blocks, for `F.pad`."""
    return 0, -width % BLOCK, 0, -height % BLOCK
