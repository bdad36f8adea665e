"""Coarse before fine: one pass at about 128 px decides what is where, a second network refines each doubling of the size.

At 128 px a face has so few places that all of them can look at each other and at the references, and the transformer's tokens
are few. What the coarse pass made is enlarged and refined with the degraded picture in view; the refiner is one set of weights
for 128 -> 256 and 256 -> 512, the same task twice. Each pass has a gate: where little seems wrong, the picture stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.models.pixel_autoencoder import (
    STRIDE,
    Decoded,
    Guide,
    PixelAutoencoder,
    PixelAutoencoderSettings,
    ReferenceFeatures,
    SourceFeatures,
)

COARSE_SIDE = 128
"""px: a picture is halved as long as it stays at least this large."""


@dataclass(frozen=True)
class CascadeSettings:
    coarse: PixelAutoencoderSettings
    refiner: PixelAutoencoderSettings

    def __post_init__(self) -> None:
        """ValueError for networks that cannot stand in these places: settings are read from files."""
        if self.coarse.guided or not self.refiner.guided:
            raise ValueError("a cascade's refiner must be guided and its coarse pass not")
        if not self.coarse.token_channels:
            raise ValueError("a cascade's coarse pass must have token_channels for the transformer")

    def to_dict(self) -> dict[str, object]:
        return {"coarse": self.coarse.to_dict(), "refiner": self.refiner.to_dict()}


@dataclass(frozen=True)
class CascadeSource:
    """The degraded picture at every size of the cascade, and what the coarse pass saw in it."""

    pyramid: tuple[Tensor, ...]
    """(B, 3, s, s), coarsest first."""
    coarse: SourceFeatures

    @property
    def tokens(self) -> Tensor:
        """(B, N, token_channels) of the coarse pass."""
        return self.coarse.tokens

    @property
    def grid(self) -> tuple[int, int]:
        return self.coarse.grid


def halvings(size: int) -> int:
    """How often a picture of `size` px is halved before the coarse pass; every size on the way is whole cells."""
    count = 0
    while size >= 2 * COARSE_SIDE and size % (2 * STRIDE) == 0:
        size, count = size // 2, count + 1
    return count


def pyramid(picture: Tensor) -> tuple[Tensor, ...]:
    """(B, 3, S, S) -> the picture at every size of the cascade, coarsest first."""
    levels = [picture]
    for _ in range(halvings(picture.shape[-1])):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return tuple(reversed(levels))


def shrunk_state(state: Tensor, sigma: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """The sampler's state (B, 3, S, S) at noise level sigma (B,), at 1 / times of its size, and its noise level there.

    Averaging n x n pixels leaves the clean picture and 1 / n of the noise: (1 - s) z + (s / n) e, which is the state at noise
    level s' = (s / n) / (1 - s + s / n) times (1 - s + s / n), e being unit noise again.
    """
    if times == 1:
        return state, sigma
    total = 1 - sigma + sigma / times
    return F.avg_pool2d(state, times) / total.to(state)[:, None, None, None], sigma / times / total


class CascadeAutoencoder(nn.Module):
    """The embedded size's networks around its transformer, which belongs to the coarse pass."""

    prediction = "image"

    def __init__(self, settings: CascadeSettings) -> None:
        super().__init__()
        self.settings = settings
        self.coarse = PixelAutoencoder(settings.coarse)
        self.refiner = PixelAutoencoder(settings.refiner)

    def scene_cells(self, size: int) -> int:
        """Tokens each way of a picture of `size` px."""
        return size // 2 ** halvings(size) // STRIDE

    def scene(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, 768) of the coarse pass's state, and the noise level that they have."""
        seen, level = shrunk_state(state, sigma, 2 ** halvings(state.shape[-1]))
        return self.coarse.patchify(seen), level

    def encode_source(self, picture: Tensor) -> CascadeSource:
        """What the coarse pass sees in the degraded picture (B, 3, S, S); the refiner looks once its turn has come."""
        levels = pyramid(picture)
        return CascadeSource(levels, self.coarse.encode_source(levels[0]))

    def encode_references(self, pictures: Tensor) -> ReferenceFeatures:
        """R reference pictures (R, 3, S, S): tokens of the coarse pass, maps of every pass, coarsest first."""
        levels = pyramid(pictures)
        seen = self.coarse.encode_references(levels[0])
        finer = [self.refiner.encode_references(level).maps for level in levels[1:]]
        return ReferenceFeatures(seen.tokens, seen.grid, sum(finer, seen.maps))

    def decode(
        self,
        features: Tensor | None,
        source: CascadeSource,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor:
        """Clean picture (B, 3, S, S); see `decode_parts`."""
        return self.decode_parts(features, source, reference_maps, reference_mask, state, sigma)[-1].picture

    def decode_parts(
        self,
        features: Tensor | None,
        source: CascadeSource,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> list[Decoded]:
        """What every pass made, coarsest first. Arguments as in `Autoencoder.decode`; without sigma the state is pure noise."""
        maps = self._maps_of_passes(reference_maps, len(source.pyramid))
        states = self._states(state, sigma, len(source.pyramid))
        passes = [self.coarse.decode_parts(features, source.coarse, maps[0], reference_mask, states[0])]
        for level in range(1, len(source.pyramid)):
            picture, guide = self.enlarged(passes[-1], source.pyramid[level - 1], source.pyramid[level])
            passes.append(self.refine(picture, guide, maps[level], reference_mask, states[level]))
        return passes

    @staticmethod
    def enlarged(coarser: Decoded, before: Tensor, picture: Tensor) -> tuple[Tensor, Guide]:
        """A pass's result brought to twice its size, as what the refiner starts from, and what guides it.

        before: (B, 3, s, s) what that pass began with; picture: (B, 3, 2 s, 2 s) the degraded picture. What the small picture
        cannot hold comes from the degraded one, as far as the gate found little wrong: with a closed gate it is the degraded
        picture itself.
        """
        up = F.interpolate(coarser.picture, scale_factor=2, mode="bilinear", align_corners=False)
        fine = picture - F.interpolate(before, scale_factor=2, mode="bilinear", align_corners=False)
        if coarser.gate is not None:
            gate = F.avg_pool2d(coarser.gate, 9, stride=1, padding=4, count_include_pad=False)
            fine = fine * (1 - F.interpolate(gate, scale_factor=2, mode="bilinear", align_corners=False)).to(fine.dtype)
        start = up + fine
        return start, Guide(picture - start, coarser.half, coarser.quarter)

    def refine(
        self, picture: Tensor, guide: Guide, maps: tuple[Tensor, ...] | None, mask: Tensor | None, state: Tensor | None
    ) -> Decoded:
        """One pass of the refiner, on a whole face or on a patch whose place all arguments share."""
        seen = self.refiner.encode_source(picture, guide)
        return self.refiner.decode_parts(None, seen, maps, mask, state)

    def _maps_of_passes(self, maps: tuple[Tensor, ...] | None, passes: int) -> list[tuple[Tensor, ...] | None]:
        if maps is None:
            return [None] * passes
        first = 2 + sum(heads > 0 for heads in self.settings.coarse.global_heads)
        each = 2 + sum(heads > 0 for heads in self.settings.refiner.global_heads)
        return [maps[:first], *(maps[first + n * each : first + (n + 1) * each] for n in range(passes - 1))]

    @staticmethod
    def _states(state: Tensor | None, sigma: Tensor | None, passes: int) -> list[Tensor | None]:
        """The state at the size of every pass."""
        if state is None:
            return [None] * passes
        level = state.new_ones(len(state)) if sigma is None else sigma
        return [shrunk_state(state, level, 2**n)[0] for n in reversed(range(passes))]
