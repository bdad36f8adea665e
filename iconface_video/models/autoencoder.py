"""What the model asks of an autoencoder; there are three: `CascadeAutoencoder`, `PixelAutoencoder` and `LatentAutoencoder`.

*State* is what the sampler moves from noise to clean, (B, C, h, w): the picture itself, or latents.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from iconface_video.models.parametrisation import Prediction
from iconface_video.models.positions import Grid


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
