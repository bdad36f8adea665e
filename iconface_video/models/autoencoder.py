"""What the model asks of an autoencoder; there are three: `CascadeAutoencoder`, `PixelAutoencoder` and `LatentAutoencoder`.

*State* is what the sampler moves from noise to clean, (B, C, h, w): the picture itself, or latents.

FLUX.2's own latent space: `AutoencoderKLFlux2`, 2x2 patchify, batch-norm statistics; the transformer predicts velocities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLFlux2
from torch import Tensor, nn

from iconface_video.models.conditioning import Grid
from iconface_video.models.traits import Prediction


class SourceView(Protocol):
    """What an autoencoder saw in the degraded picture."""

    @property
    def tokens(self) -> Tensor:
        """(B, N, C) degraded tokens."""

    @property
    def grid(self) -> Grid:
        """(rows, columns), rows * columns = N."""


class ReferenceView(Protocol):
    """What an autoencoder saw in R reference pictures."""

    @property
    def tokens(self) -> Tensor:
        """(R, M, C)."""

    @property
    def grid(self) -> int:
        """Cells each way, M = grid^2."""

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """(R, C, h, w) each, for `decode`; may be empty."""


class Autoencoder(Protocol):
    """Between pictures (B, 3, S, S) in [-1, 1] and the transformer's tokens."""

    prediction: Prediction
    """What `decode` returns."""

    def scene_cells(self, size: int) -> int:
        """Tokens each way of a picture of `size` px."""

    def scene(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The state (B, C, h, w) at noise level sigma (B,) -> tokens (B, N, in_channels), row by row, and the noise level that they
        have: the state's own, unless the transformer sees it smaller."""

    def encode_source(self, picture: Tensor) -> Any:
        """(B, 3, S, S) -> a `SourceView`, handed back to `decode`."""

    def encode_references(self, pictures: Tensor) -> ReferenceView:
        """(R, 3, S, S), each by itself."""

    def decode(
        self,
        features: Tensor | None,
        source: Any,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor:
        """The transformer's output (B, N, out_channels) -> prediction (B, C, h, w) in the state's space; None: without it, where
        the network around it can.

        reference_maps: (B, R, C, h, w) each; reference_mask: (B, R) bool, True where there is a reference, None: everywhere.
        state: (B, C, h, w) that the transformer looked at, where the decoder wants to see it as well; sigma: (B,) its noise level.
        """


@runtime_checkable
class StateCodec(Protocol):
    """An autoencoder whose state is not the picture itself."""

    def state_shape(self, size: int) -> tuple[int, int, int]:
        """(C, h, w) for pictures of `size` px."""

    def state_from_picture(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, C, h, w)."""

    def picture_from_state(self, state: Tensor) -> Tensor:
        """The way back."""


@dataclass(frozen=True, eq=False)
class LatentFeatures:
    """Latents of degraded pictures."""

    tokens: Tensor
    """(B, N, C)."""
    grid: Grid


@dataclass(frozen=True, eq=False)
class LatentReferences:
    """Latents of reference pictures."""

    tokens: Tensor
    """(R, M, C)."""
    grid: int
    maps: tuple[Tensor, ...] = ()


class LatentAutoencoder(nn.Module):
    """A frozen VAE around the transformer. State: (B, 4 * latent channels, S / 16, S / 16) at FLUX.2's size."""

    prediction: Prediction = "velocity"

    def __init__(self, vae: AutoencoderKLFlux2) -> None:
        super().__init__()
        self.vae = cast(Any, vae)  # diffusers' classes carry no types
        self.vae.requires_grad_(False).eval()

    @property
    def stride(self) -> int:
        """Pixels per token, each way."""
        return int(2 ** len(self.vae.config.block_out_channels))

    def train(self, mode: bool = True) -> LatentAutoencoder:
        """Stays in evaluation mode: its batch-norm statistics are part of the latent space."""
        return super().train(False)

    def state_shape(self, size: int) -> tuple[int, int, int]:
        """(C, h, w) for pictures of `size` px."""
        return 4 * int(self.vae.config.latent_channels), size // self.stride, size // self.stride

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.vae.bn.running_mean.view(1, -1, 1, 1)
        deviation = (self.vae.bn.running_var.view(1, -1, 1, 1) + self.vae.config.batch_norm_eps).sqrt()
        return mean.to(like), deviation.to(like)

    def state_from_picture(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> normalised latents; the mode, nothing is drawn. ValueError for sides that don't fit."""
        if picture.shape[-1] % self.stride or picture.shape[-2] % self.stride:
            raise ValueError(f"a picture's sides must be multiples of {self.stride}, got {tuple(picture.shape)}")
        latents = self.vae.encode(picture.to(self.vae.dtype)).latent_dist.mode()
        patches = F.pixel_unshuffle(latents, 2)
        mean, deviation = self._statistics(patches)
        return (patches - mean) / deviation

    def picture_from_state(self, state: Tensor) -> Tensor:
        """The way back; gradients flow."""
        mean, deviation = self._statistics(state)
        latents = F.pixel_shuffle(state * deviation + mean, 2)
        return cast(Tensor, self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0])

    def patchify(self, state: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, h * w, C)."""
        return state.flatten(2).transpose(1, 2)

    def scene_cells(self, size: int) -> int:
        """Tokens each way of a picture of `size` px."""
        return size // self.stride

    def scene(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The state's tokens and the noise level that they have."""
        return self.patchify(state), sigma

    @torch.no_grad()
    def encode_source(self, picture: Tensor) -> LatentFeatures:
        """Latents of the degraded picture (B, 3, S, S)."""
        state = self.state_from_picture(picture)
        return LatentFeatures(self.patchify(state), (state.shape[2], state.shape[3]))

    @torch.no_grad()
    def encode_references(self, pictures: Tensor) -> LatentReferences:
        """Latents of R reference pictures (R, 3, S, S)."""
        state = self.state_from_picture(pictures)
        return LatentReferences(self.patchify(state), state.shape[2])

    def decode(
        self,
        features: Tensor,
        source: LatentFeatures,
        reference_maps: tuple[Tensor, ...] | None = None,
        reference_mask: Tensor | None = None,
        state: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor:
        """(B, N, C) velocity tokens -> (B, C, h, w)."""
        return features.transpose(1, 2).unflatten(2, source.grid)
