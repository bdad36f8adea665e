"""Layers that the embedded size's networks are made of. Maps are (B, C, h, w), channels last in memory."""

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


class StateDoor(nn.Module):
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
