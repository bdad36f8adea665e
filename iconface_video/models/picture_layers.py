"""Layers that the embedded size's networks are made of. Maps are (B, C, h, w), channels last in memory.

Attention over the whole face: a feature is put where the rest of the face asks for it, and found wherever a reference has it.

Affordable only where cells are few: at 1/8 and 1/16 of a coarse picture. Local attention (`local_attention`) carries the fine
scales.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel: no statistics of a tile or a batch, so none can alter a face."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)  # a view where memory is channels-last
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(last, last.shape[-1:], weight, bias, 1e-5).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Norm and two 3x3 convolutions beside a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.conv_in, self.conv_out):
            nn.init.kaiming_normal_(conv.weight, a=0.2)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv_out.weight.data.mul_(0.2)  # a deep stack starts near the identity

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_out(F.leaky_relu(self.conv_in(self.norm(x)), 0.2))
        return x + y


def residual_stack(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*[ResidualBlock(channels) for _ in range(blocks)])


class GatedNoiseInjection(nn.Module):
    """Lets the sampler's state into the decoder, as much of it as the decoder's own map asks for at each place."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.look = nn.Conv2d(3 * stride**2, channels, 1, bias=False)
        self.norm = ChannelNorm(channels)
        self.gain = nn.Conv2d(channels, channels, 1)
        nn.init.orthogonal_(self.look.weight)
        nn.init.zeros_(self.gain.weight)
        nn.init.constant_(self.gain.bias, 0.1)  # type: ignore[arg-type]  # a little: from none, more is not found

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        seen = self.look(F.pixel_unshuffle(state, self.stride))
        return x + seen * self.gain(self.norm(x))


class Confidence(nn.Module):
    """How much is wrong at each place, and how much of the change is let through there.

    The damage is trained to be what the degraded picture is off by (`damage_loss`); the gate is a rising function of it, so that
    clean places stay as they are, plus what the network adds on its own where it does not understand what it sees.
    """

    START_DAMAGE, START_THRESHOLD, START_SLOPE = -3.0, -5.0, 1.5
    """ln of the mean absolute error, in [-1, 1]: e^-3 is 6.3 grey levels, e^-5 .9; the gate starts at .95."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 2, 3, padding=1)
        self.slope = nn.Parameter(torch.tensor(self.START_SLOPE))
        self.threshold = nn.Parameter(torch.tensor(self.START_THRESHOLD))
        nn.init.zeros_(self.look.weight)
        nn.init.zeros_(self.look.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, h, w) at half the picture's resolution -> ln damage (B, 1, h, w), gate (B, 1, 2 h, 2 w) within 0..1."""
        seen = self.look(x).float()
        damage = seen[:, :1] + self.START_DAMAGE
        # Without the detour the losses would bend the damage until the gate suits them, and it would tell nothing.
        gate = torch.sigmoid(self.slope * (damage.detach() - self.threshold) + seen[:, 1:])
        return damage, F.interpolate(gate, scale_factor=2, mode="nearest")


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
