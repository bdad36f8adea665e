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
from iconface_video.models.picture_layers import Confidence, GatedNoiseInjection, GlobalAttention, residual_stack

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
    global_heads: tuple[int, int] = (0, 0)
    """Heads of the global attention at 1/8 and 1/16; 0: none there."""
    confidence: bool = False
    """A gate on the change, from how much seems wrong at each place."""
    guided: bool = False
    """It refines: beside its picture it sees what that differs by from the degraded one, and the coarser pass's maps."""

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
    """(R, 2 C + detail, h, w) keys and values of the local attention at 1/8, (R, 2 C, h, w) at 1/16, and those of the global one
    at 1/8 and 1/16, where it has one there."""


@dataclass(frozen=True)
class Guide:
    """What a coarser pass hands to the next finer one."""

    difference: Tensor
    """(B, 3, S, S): the degraded picture less the one that is refined."""
    half: Tensor
    """(B, C, S / 4, S / 4), the coarser decoder's map at half of its own resolution."""
    quarter: Tensor
    """(B, C, S / 8, S / 8)."""


@dataclass(frozen=True)
class Decoded:
    """What a decoder made of a picture."""

    picture: Tensor
    """(B, 3, S, S), restored."""
    damage: Tensor | None
    """(B, 1, S / 2, S / 2): ln of the mean absolute error that the picture before is thought to have."""
    gate: Tensor | None
    """(B, 1, S, S) within 0..1: share of the change that was let through."""
    half: Tensor
    """(B, C, S / 2, S / 2)."""
    quarter: Tensor
    """(B, C, S / 4, S / 4)."""


class PictureEncoder(nn.Module):
    """Picture -> maps at 1/2, 1/4, 1/8, 1/16. The same weights look at degraded pictures and at references."""

    def __init__(self, settings: PixelAutoencoderSettings) -> None:
        super().__init__()
        widths = settings.widths
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.downs = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)])
        self.stages = nn.ModuleList([residual_stack(w, n) for w, n in zip(widths, settings.encoder_blocks)])
        self.guides = nn.ModuleList()
        if settings.guided:
            taken = [nn.Conv2d(12, widths[0], 3, padding=1), *(nn.Conv2d(a, b, 1) for a, b in pairwise(widths[:3]))]
            for layer in taken:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            self.guides.extend(taken)

    def forward(self, picture: Tensor, guide: Guide | None = None) -> tuple[Tensor, ...]:
        x = self.stem(F.pixel_unshuffle(picture, 2))
        if guide is not None:
            x = x + self.guides[0](F.pixel_unshuffle(guide.difference, 2))
        x = self.stages[0](x)
        maps = [x]
        taken = (None, None, None) if guide is None else (guide.half, guide.quarter, None)
        for level, (down, coarser) in enumerate(zip(self.downs, taken), 1):
            x = F.leaky_relu(down(x), 0.2)
            if coarser is not None:
                x = x + self.guides[level](coarser)
            x = self.stages[level](x)
            maps.append(x)
        return tuple(maps)


def enlarged(x: Tensor, conv: nn.Module) -> Tensor:
    """`conv`, of 3 x 3, on x enlarged twice to the nearest value: (B, C, h, w) -> (B, C', 2 h, 2 w).

    As one transposed convolution of 4 x 4: each value of x then enters as often as it is seen, at 4/9 of the products.
    """
    assert isinstance(conv, nn.Conv2d)
    kernel = F.pad(conv.weight, (1, 1, 1, 1))
    kernel = (kernel[..., :-1] + kernel[..., 1:]).flip(-1)
    kernel = (kernel[..., :-1, :] + kernel[..., 1:, :]).flip(-2).transpose(0, 1)
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


class PictureDecoder(nn.Module):
    """Bottleneck and skips -> residual picture. Enlarges by nearest + convolution (no pixel-shuffle pattern)."""

    def __init__(self, settings: PixelAutoencoderSettings) -> None:
        super().__init__()
        widths = settings.widths
        self.fuse_features = nn.Conv2d(settings.feature_channels, widths[3], 1, bias=False) if settings.token_channels else None
        self.stages = nn.ModuleList([residual_stack(w, n) for w, n in zip(widths, settings.decoder_blocks)])
        self.ups = nn.ModuleList([nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths)])
        self.skips = nn.ModuleList([nn.Conv2d(w, w, 1) for w in widths[:3]])
        self.doors = nn.ModuleList(
            [GatedNoiseInjection(w, 2 ** (i + 1)) for i, w in enumerate(widths[:3])] if settings.state_doors else []
        )
        self.head_in = nn.Conv2d(widths[0] + 3, settings.head_width, 3, padding=1)
        self.head_out = nn.Conv2d(settings.head_width, 3, 3, padding=1)
        self.confidence = Confidence(widths[0]) if settings.confidence else None
        nn.init.zeros_(self.head_out.weight)
        nn.init.zeros_(self.head_out.bias)  # type: ignore[arg-type]

    def enlarge(self, level: int, x: Tensor, skip: Tensor, state: Tensor | None = None) -> Tensor:
        """Bring level + 1 up to `level`, add its skip, and the sampler's state where there is a door."""
        up = enlarged(x, self.ups[level])
        x = F.leaky_relu(up, 0.2) + self.skips[level](skip)
        return x if state is None or not len(self.doors) else self.doors[level](x, state)

    def residual(self, x: Tensor, picture: Tensor) -> Tensor:
        """Full-resolution residual from the map at 1/2."""
        full = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        out: Tensor = self.head_out(F.leaky_relu(self.head_in(torch.cat([full, picture.to(full.dtype)], 1)), 0.2))
        return out


class PixelAutoencoder(nn.Module):
    """Encoder, attention and decoder: the embedded model's one pass, or one pass of a cascade."""

    prediction = "image"

    def __init__(self, settings: PixelAutoencoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or PixelAutoencoderSettings()
        widths = settings.widths
        self.encoder = PictureEncoder(settings)
        self.decoder = PictureDecoder(settings)
        self.to_tokens = nn.Conv2d(widths[3], settings.token_channels, 1) if settings.token_channels else None
        heads, window, from_state = settings.attention_heads, settings.window, settings.queries_from_state
        eighth, bottom = settings.attention_channels
        detail = settings.reference_detail
        self.attention = nn.ModuleList(
            [
                ReferenceAttention(widths[2], eighth, heads, window, from_state, detail, widths[1]),
                ReferenceAttention(widths[3], bottom, heads, window, from_state),
            ]
        )
        at_eighth, at_bottom = settings.global_heads
        self.global_eighth = GlobalAttention(widths[2], at_eighth) if at_eighth else None
        self.global_bottom = GlobalAttention(widths[3], at_bottom) if at_bottom else None

    def patchify(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, N, 768) patches of 16x16 pixels, row by row."""
        return F.pixel_unshuffle(picture, STRIDE).flatten(2).transpose(1, 2)

    def scene_cells(self, size: int) -> int:
        """Tokens each way of a picture of `size` px."""
        return size // STRIDE

    def scene(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The state's tokens and the noise level that they have."""
        return self.patchify(state), sigma

    def encode_source(self, picture: Tensor, guide: Guide | None = None) -> SourceFeatures:
        """Encode the degraded picture (B, 3, S, S), or the one that is to be refined, under its guide."""
        if picture.shape[-1] % STRIDE or picture.shape[-2] % STRIDE:
            raise ValueError(f"a picture's sides must be multiples of {STRIDE}, got {tuple(picture.shape)}")
        maps = self.encoder(picture, guide)
        return SourceFeatures(picture, self._tokens(maps[3]), maps)

    def _tokens(self, bottom: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, h * w, token_channels), of no channels where no transformer looks at them."""
        seen = bottom[:, :0] if self.to_tokens is None else self.to_tokens(bottom)
        return seen.flatten(2).transpose(1, 2)

    def encode_references(self, pictures: Tensor) -> ReferenceFeatures:
        """Encode R aligned reference pictures (R, 3, S, S).

        Gradients reach the encoder from here, too: without them it never learned to show what is worth taking over.
        """
        _, quarter, eighth, bottom = self.encoder(pictures)
        grid = min(bottom.shape[-1], self.settings.reference_grid)
        small = bottom if grid == bottom.shape[-1] else F.adaptive_avg_pool2d(bottom, grid)
        maps = [self.attention[0].keys_values(eighth, quarter), self.attention[1].keys_values(bottom)]  # type: ignore[operator]
        if self.global_eighth is not None:
            maps.append(self.global_eighth.keys_values(eighth))
        if self.global_bottom is not None:
            maps.append(self.global_bottom.keys_values(bottom))
        return ReferenceFeatures(self._tokens(small), grid, tuple(maps))

    def decode(
        self,
        features: Tensor | None,
        source: SourceFeatures,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor:
        """Clean picture (B, 3, S, S); see `decode_parts`."""
        return self.decode_parts(features, source, reference_maps, reference_mask, state).picture

    def decode_parts(
        self,
        features: Tensor | None,
        source: SourceFeatures,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
    ) -> Decoded:
        """The clean picture and what led to it.

        features: (B, N, feature_channels) from the transformer; None: the encoder and decoder alone.
        reference_maps: as `encode_references` made them, (B, R, C, h, w) each; reference_mask: (B, R) bool, True where there
        is a reference.  state: (B, 3, S, S) of the sampler, for the doors that let it in.
        """
        half, quarter, eighth, bottom = source.maps
        decoder = self.decoder
        local, whole = self._split_maps(reference_maps)
        x = bottom
        if features is not None and decoder.fuse_features is not None:
            x = x + decoder.fuse_features(features.transpose(1, 2).unflatten(2, source.grid))
        if local is not None:
            x = x + self.attention[1](bottom, local[1], reference_mask, x)[0]
        if self.global_bottom is not None:
            x = self.global_bottom(x, whole[-1], reference_mask)
        x = decoder.stages[3](x)
        x = decoder.enlarge(2, x, eighth, state)
        finer = None
        if local is not None:
            added, finer = self.attention[0](eighth, local[0], reference_mask, x)
            x = x + added
        if self.global_eighth is not None:
            x = self.global_eighth(x, whole[0], reference_mask)
        x = decoder.enlarge(1, decoder.stages[2](x), quarter, state)
        at_quarter = decoder.stages[1](x if finer is None else x + finer)
        at_half = decoder.stages[0](decoder.enlarge(0, at_quarter, half, state))
        change = decoder.residual(at_half, source.picture).to(source.picture.dtype)
        damage = gate = None
        if decoder.confidence is not None:
            damage, gate = decoder.confidence(at_half)
            change = change * gate.to(change.dtype)
        return Decoded(source.picture + change, damage, gate, at_half, at_quarter)

    @staticmethod
    def _split_maps(maps: tuple[Tensor, ...] | None) -> tuple[tuple[Tensor, ...] | None, tuple[Tensor | None, ...]]:
        """Of the local attention, and of the global one."""
        return (None, (None,)) if maps is None else (maps[:2], maps[2:] or (None,))
