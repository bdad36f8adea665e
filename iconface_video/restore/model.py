"""What the pipeline asks of a model that restores faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from iconface_video.restore.noise import Shape
from iconface_video.types import Float32, IdentityAnchor, UInt8


class FaceModel(Protocol):
    """A restorer of aligned face crops, with its sampler settings fixed.

    The same (crop, context, noise) gives the same result whatever else is in the batch, as long as the batch's shape is the
    same.
    """

    name: str
    """For people and the fingerprint: "embedded", or the checkpoint's path."""
    crop_sizes: tuple[int, ...]
    """px that it takes, rising."""

    def noise_shape(self, size: int) -> Shape:
        """(channels, height, width) of the noise for one crop of `size` px."""
        ...

    def prepare(self, anchor: IdentityAnchor, size: int) -> Any:
        """What is constant over a track (anchor, keys and values of the references), computed once; opaque to the caller."""
        ...

    def restore(self, crops: UInt8, contexts: Sequence[Any], noise: Float32) -> UInt8:
        """crops: (B, S, S, 3) RGB.  contexts: B of `prepare`.  noise: (B, C, H, W) unit Gaussian.  Returns (B, S, S, 3)."""
        ...
