"""The embedded size's "autoencoder": convolutions around the transformer, in pixel space.

A convolutional encoder of the degraded picture feeds both the transformer's degraded tokens and the skips of a decoder,
which predicts a residual on the degraded picture. The transformer works at 16x less resolution on what convolutions
cannot do (global structure, identity, references); its output is added at the bottleneck. References enter the decoder a
second time through local attention to the same place of the aligned reference, because a general transformer does not
find them in the training time there is.

All pictures are (B, 3, S, S), float, RGB in [-1, 1], S a multiple of 16.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.models.local_attention import ReferenceAttention

STRIDE = 16
"""Pixels per token, each way."""


@dataclass(frozen=True)
class PixelAutoencoderSettings:
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    """Channels at 1/2, 1/4, 1/8 and 1/16 of the picture."""
    encoder_blocks: tuple[int, int, int, int] = (1, 2, 2, 2)
    decoder_blocks: tuple[int, int, int, int] = (1, 2, 2, 2)
    head_width: int = 24
    """Channels at full resolution."""
    token_channels: int = 768
    """Channels of the degraded and reference tokens, as many as a 16x16 RGB patch has."""
    feature_channels: int = 256
    """Channels per token that the transformer hands to the decoder."""
    reference_grid: int = 8
    """A reference has at most this many tokens each way."""
    attention_heads: int = 4
    attention_channels: tuple[int, int] = (64, 128)
    """Query channels of the local attention at 1/8 and 1/16."""
    reference_detail: int = 0
    """Channels that the attention at 1/8 takes over from a reference's map at 1/4, with the same weights; 0: none."""
    queries_from_state: bool = False
    """The attention's queries see how far the decoder has come, too."""
    state_doors: bool = False
    """The decoder sees the sampler's state, too, at 1/2, 1/4 and 1/8: noise that fine texture is made from."""
    window: int = 5
    """Side of the neighbourhood that a place sees in an aligned reference, in cells of its scale."""

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class SourceFeatures:
    """What the encoder saw in the degraded picture."""

    picture: Tensor
    """(B, 3, S, S)."""
    tokens: Tensor
    """(B, N, token_channels), N = (S / 16)^2, row by row."""
    maps: tuple[Tensor, ...]
    """Four maps, at 1/2, 1/4, 1/8 and 1/16."""

    @property
    def grid(self) -> tuple[int, int]:
        return self.picture.shape[-2] // STRIDE, self.picture.shape[-1] // STRIDE


@dataclass(frozen=True)
class ReferenceFeatures:
    """What the encoder saw in R reference pictures: constant over a track."""

    tokens: Tensor
    """(R, g * g, token_channels), g = min(S / 16, reference_grid)."""
    grid: int
    """g."""
    maps: tuple[Tensor, ...]
    """(R, 2 C + detail, h, w) keys and values of the local attention at 1/8, and (R, 2 C, h, w) at 1/16."""


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


def _stack(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*[ResidualBlock(channels) for _ in range(blocks)])


class PictureEncoder(nn.Module):
    """Picture -> maps at 1/2, 1/4, 1/8, 1/16. The same weights look at degraded pictures and at references."""

    def __init__(self, settings: PixelAutoencoderSettings) -> None:
        super().__init__()
        widths = settings.widths
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.downs = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)])
        self.stages = nn.ModuleList([_stack(w, n) for w, n in zip(widths, settings.encoder_blocks)])

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        x = self.stages[0](self.stem(F.pixel_unshuffle(picture, 2)))
        maps = [x]
        for down, stage in zip(self.downs, list(self.stages)[1:]):
            x = stage(F.leaky_relu(down(x), 0.2))
            maps.append(x)
        return tuple(maps)


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


class PictureDecoder(nn.Module):
    """Bottleneck and skips -> residual picture. Enlarges by nearest + convolution (no pixel-shuffle pattern)."""

    def __init__(self, settings: PixelAutoencoderSettings) -> None:
        super().__init__()
        widths = settings.widths
        self.fuse_features = nn.Conv2d(settings.feature_channels, widths[3], 1, bias=False)
        self.stages = nn.ModuleList([_stack(w, n) for w, n in zip(widths, settings.decoder_blocks)])
        self.ups = nn.ModuleList([nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths)])
        self.skips = nn.ModuleList([nn.Conv2d(w, w, 1) for w in widths[:3]])
        self.doors = nn.ModuleList(
            [StateDoor(w, 2 ** (i + 1)) for i, w in enumerate(widths[:3])] if settings.state_doors else []
        )
        self.head_in = nn.Conv2d(widths[0] + 3, settings.head_width, 3, padding=1)
        self.head_out = nn.Conv2d(settings.head_width, 3, 3, padding=1)
        nn.init.zeros_(self.head_out.weight)
        nn.init.zeros_(self.head_out.bias)  # type: ignore[arg-type]

    def enlarge(self, level: int, x: Tensor, skip: Tensor, state: Tensor | None = None) -> Tensor:
        """Bring level + 1 up to `level`, add its skip, and the sampler's state where there is a door."""
        up = self.ups[level](F.interpolate(x, scale_factor=2, mode="nearest"))
        x = F.leaky_relu(up, 0.2) + self.skips[level](skip)
        return x if state is None or not len(self.doors) else self.doors[level](x, state)

    def residual(self, x: Tensor, picture: Tensor) -> Tensor:
        """Full-resolution residual from the map at 1/2."""
        full = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        out: Tensor = self.head_out(F.leaky_relu(self.head_in(torch.cat([full, picture.to(full.dtype)], 1)), 0.2))
        return out


class PixelAutoencoder(nn.Module):
    """Encoder, reference attention and decoder of the embedded model."""

    prediction = "image"

    def __init__(self, settings: PixelAutoencoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or PixelAutoencoderSettings()
        widths = self.settings.widths
        self.encoder = PictureEncoder(self.settings)
        self.decoder = PictureDecoder(self.settings)
        self.to_tokens = nn.Conv2d(widths[3], self.settings.token_channels, 1)
        heads, window, from_state = self.settings.attention_heads, self.settings.window, self.settings.queries_from_state
        eighth, bottom = self.settings.attention_channels
        detail = self.settings.reference_detail
        self.attention = nn.ModuleList(
            [
                ReferenceAttention(widths[2], eighth, heads, window, from_state, detail, widths[1]),
                ReferenceAttention(widths[3], bottom, heads, window, from_state),
            ]
        )

    def patchify(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, N, 768) patches of 16x16 pixels, row by row."""
        return F.pixel_unshuffle(picture, STRIDE).flatten(2).transpose(1, 2)

    def unpatchify(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Inverse of `patchify`."""
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), STRIDE)

    def encode_source(self, picture: Tensor) -> SourceFeatures:
        """Encode the degraded picture (B, 3, S, S)."""
        if picture.shape[-1] % STRIDE or picture.shape[-2] % STRIDE:
            raise ValueError(f"a picture's sides must be multiples of {STRIDE}, got {tuple(picture.shape)}")
        maps = self.encoder(picture)
        return SourceFeatures(picture, self.to_tokens(maps[3]).flatten(2).transpose(1, 2), maps)

    def encode_references(self, pictures: Tensor) -> ReferenceFeatures:
        """Encode R aligned reference pictures (R, 3, S, S).

        Gradients reach the encoder from here, too: without them it never learned to show what is worth taking over.
        """
        maps = self.encoder(pictures)
        grid = min(maps[3].shape[-1], self.settings.reference_grid)
        small = maps[3] if grid == maps[3].shape[-1] else F.adaptive_avg_pool2d(maps[3], grid)
        tokens = self.to_tokens(small).flatten(2).transpose(1, 2)
        keys_values = (self.attention[0].keys_values(maps[2], maps[1]), self.attention[1].keys_values(maps[3]))  # type: ignore[operator]
        return ReferenceFeatures(tokens, grid, keys_values)

    def decode(
        self,
        features: Tensor | None,
        source: SourceFeatures,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
    ) -> Tensor:
        """Clean picture (B, 3, S, S).

        features: (B, N, feature_channels) from the transformer; None: the encoder and decoder alone.
        reference_maps: two of (B, R, 2 C + detail, h, w); reference_mask: (B, R) bool, True where there is a reference.
        state: (B, 3, S, S) of the sampler, for the doors that let it in.
        """
        half, quarter, eighth, bottom = source.maps
        decoder = self.decoder
        x = bottom
        if features is not None:
            grid = features.transpose(1, 2).unflatten(2, source.grid)
            x = x + decoder.fuse_features(grid)
        if reference_maps is not None:
            x = x + self.attention[1](bottom, reference_maps[1], reference_mask, x)[0]
        x = decoder.stages[3](x)
        x = decoder.enlarge(2, x, eighth, state)
        finer = None
        if reference_maps is not None:
            added, finer = self.attention[0](eighth, reference_maps[0], reference_mask, x)
            x = x + added
        x = decoder.enlarge(1, decoder.stages[2](x), quarter, state)
        x = decoder.stages[1](x if finer is None else x + finer)
        x = decoder.stages[0](decoder.enlarge(0, x, half, state))
        return source.picture + decoder.residual(x, source.picture).to(source.picture.dtype)
