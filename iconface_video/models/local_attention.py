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

    def __init__(
        self,
        width: int,
        channels: int,
        heads: int,
        window: int,
        queries_from_state: bool = False,
        detail: int = 0,
        finer_width: int = 0,
    ) -> None:
        """detail: channels taken over from the reference's map of twice the resolution (finer_width channels); 0: none."""
        super().__init__()
        self.channels, self.heads, self.radius, self.detail = channels, heads, window // 2, detail
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
        self.to_query_from_state = nn.Conv2d(width, channels, 1, bias=False) if queries_from_state else None
        if self.to_query_from_state is not None:
            nn.init.zeros_(self.to_query_from_state.weight)
        self.to_detail = nn.Conv2d(4 * finer_width, detail, 1, bias=False) if detail else None
        self.to_finer = nn.Conv2d(detail, 4 * finer_width, 1) if detail else None
        if self.to_finer is not None:
            nn.init.zeros_(self.to_finer.weight)
            nn.init.zeros_(self.to_finer.bias)  # type: ignore[arg-type]

    def _offsets(self, window: int) -> Tensor:
        """(BLOCK^2, side^2) index into the flat window for each query and key of a block; window^2 where out of reach."""
        side = BLOCK + 2 * self.radius
        query = torch.arange(BLOCK)
        delta = torch.arange(side)[None, :] - query[:, None]  # key minus query, 0..window-1 inside the window
        inside = (delta >= 0) & (delta < window)
        index = delta[:, None, :, None] * window + delta[None, :, None, :]
        index = index.where(inside[:, None, :, None] & inside[None, :, None, :], torch.tensor(window * window))
        return index.reshape(BLOCK * BLOCK, side * side)

    def doors(self) -> list[Tensor]:
        """The weights that start at zero: what was seen enters the picture through them, and the state the queries."""
        layers = [self.to_out, self.to_query_from_state, self.to_finer]
        return [layer.weight for layer in layers if layer is not None]

    def keys_values(self, maps: Tensor, finer: Tensor | None = None) -> Tensor:
        """Encoder maps of references -> (R, 2 channels + detail, h, w), cacheable.

        maps: (R, width, h, w).  finer: (R, finer_width, 2 h, 2 w), where there is detail to be taken over.
        """
        parts = [self.to_key(maps), self.to_value(maps)]
        if self.to_detail is not None:
            assert finer is not None
            parts.append(self.to_detail(F.pixel_unshuffle(finer, 2)))
        return torch.cat(parts, 1)

    def _blocks(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) with H, W multiples of BLOCK -> (N, blocks, heads, side^2, C / heads)."""
        side = BLOCK + 2 * self.radius
        tiles = F.unfold(maps, side, padding=self.radius, stride=BLOCK)  # (N, C * side^2, blocks)
        tiles = tiles.unflatten(1, (self.heads, -1, side * side))
        return tiles.permute(0, 4, 1, 3, 2)

    def _tiles(self, keys_values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(B, R, 2 channels + detail, h, w) -> keys of length 1, (B, blocks, heads, R * side^2, channels / heads), and values,
        which have each head's share of the detail behind its own."""
        batch, count = keys_values.shape[:2]
        stored = F.pad(keys_values.flatten(0, 1).to(dtype), _padding(*keys_values.shape[-2:]))
        parts = stored.split([self.channels, self.channels, *([self.detail] if self.detail else [])], 1)
        # (B, R, blocks, heads, keys, d) -> (B, blocks, heads, R * keys, d)
        tiles = [self._blocks(x).unflatten(0, (batch, count)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4) for x in parts]
        return F.normalize(tiles[0], dim=-1), tiles[1] if len(tiles) == 2 else torch.cat(tiles[1:], -1)

    def _seen_alike(self, keys_values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """`_tiles`, made once for a batch whose samples share their references, as `batch_references` tells by the stride."""
        if keys_values.stride(0) == 0 and len(keys_values) > 1:
            return self._tiles(keys_values[:1], dtype)
        return self._tiles(keys_values, dtype)

    def forward(
        self, query_map: Tensor, keys_values: Tensor, mask: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the references have to add at this scale, (B, width, h, w), and at twice its resolution.

        query_map: (B, width, h, w) of the degraded picture.  keys_values: (B, R, 2 channels + detail, h, w).
        mask: (B, R) True where present.  state: (B, width, h, w), how far the decoder has come, where queries see it.
        """
        height, width = query_map.shape[-2:]
        query = self.to_query(query_map)
        if self.to_query_from_state is not None:
            assert state is not None
            query = query + self.to_query_from_state(state)
        query = F.pad(query, _padding(height, width))
        count = keys_values.shape[1]
        key, value = self._seen_alike(keys_values, query.dtype)
        rows, columns = query.shape[-2] // BLOCK, query.shape[-1] // BLOCK
        tiles = query.unflatten(1, (self.heads, -1)).unflatten(3, (rows, BLOCK)).unflatten(5, (columns, BLOCK))
        tiles = tiles.permute(0, 3, 5, 1, 4, 6, 2).flatten(4, 5).flatten(1, 2)  # (B, blocks, heads, BLOCK^2, d)
        weights = self._weights(F.normalize(tiles, dim=-1), key, count, mask)
        seen = weights.to(value.dtype) @ value
        seen = seen.unflatten(1, (rows, columns)).unflatten(4, (BLOCK, BLOCK)).permute(0, 3, 6, 1, 4, 2, 5)
        seen = seen.flatten(3, 4).flatten(4, 5)[..., :height, :width]  # (B, heads, d, h, w)
        own = self.channels // self.heads
        out: Tensor = self.to_out(seen[:, :, :own].flatten(1, 2))
        finer = None if self.to_finer is None else F.pixel_shuffle(self.to_finer(seen[:, :, own:].flatten(1, 2)), 2)
        if mask is not None:  # a face without references is untouched, as if it were alone: not even the bias is added
            shown = mask.any(1)[:, None, None, None]
            out, finer = out * shown, None if finer is None else finer * shown
        return out, finer

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
