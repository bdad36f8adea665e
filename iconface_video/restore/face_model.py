"""What the pipeline asks of a model that restores faces.

One batch through the model: always the planned shape, split only when memory runs out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from iconface_video.restore.noise import Shape
from iconface_video.types import Float32, IdentityAnchor, UInt8


class FaceModel(Protocol):
    """A restorer of aligned face crops, with its sampler settings fixed. It may be a `LooksAround`, too.

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


@runtime_checkable
class LooksAround(Protocol):
    """A model that sees a face's neighbouring frames beside it."""

    neighbours: int
    """On each side; 0: none are wanted."""

    def fuse(self, window: Sequence[UInt8]) -> UInt8:
        """(S, S, 3) the face with what its neighbours know of it, which is then restored in its place.

        window: 2 * neighbours + 1 crops (S, S, 3) RGB in order; the middle one's own object stands for those that are missing.
        """
        ...


def neighbours_of(model: object) -> int:
    """How many frames on each side of a face the model, or one that is loaded elsewhere, wants to see."""
    return model.neighbours if isinstance(model, (LooksAround, ModelFacts)) else 0


@dataclass(frozen=True)
class ModelFacts:
    """About a model that is loaded elsewhere."""

    name: str
    crop_sizes: tuple[int, ...]
    shapes: Mapping[int, Shape]
    """Crop size -> noise shape."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """As of the model itself: device, processor, threads, number format."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries and weights there."""
    notes: tuple[str, ...] = ()
    """For the report, as the model gives them."""
    neighbours: int = 0
    """Frames on each side of a face that it looks at."""

    @classmethod
    def of(cls, model: FaceModel, crop_size: int | None, versions: Mapping[str, str]) -> ModelFacts:
        """crop_size: one that is wanted beside the model's own. Raises UsageError where the model does not take it."""
        sizes = {*model.crop_sizes, *([crop_size] if crop_size else [])}
        shapes = {size: model.noise_shape(size) for size in sorted(sizes)}
        identity, notes = dict(getattr(model, "identity", {})), tuple(getattr(model, "notes", ()))
        return cls(model.name, tuple(model.crop_sizes), shapes, identity, versions, notes, neighbours_of(model))

    def noise_shape(self, size: int) -> Shape:
        """As `FaceModel.noise_shape`, which the worker asked at its start."""
        return self.shapes[size]


def run_batch(model: FaceModel, crops: UInt8, contexts: Sequence[Any], noise: Float32, batch: int) -> tuple[UInt8, str | None]:
    """Restore up to `batch` crops. A short batch is padded with its last crop: one shape, one set of kernels, one result.

    crops: (n, S, S, 3), 1 <= n <= batch.  Returns (n, S, S, 3) and, where memory ran out, a note for the report.
    """
    count = len(crops)
    if count < batch:
        fill = [count - 1] * (batch - count)
        crops = np.concatenate([crops, crops[fill]])
        noise = np.concatenate([noise, noise[fill]])
        contexts = [*contexts, *(contexts[-1] for _ in fill)]
    try:
        return model.restore(crops, contexts, noise)[:count], None
    except (MemoryError, RuntimeError) as error:
        if batch == 1 or not _is_out_of_memory(error):
            raise
    half = batch // 2
    parts = [slice(start, start + half) for start in range(0, count, half)]
    results = [run_batch(model, crops[:count][part], contexts[:count][part], noise[:count][part], half) for part in parts]
    note = results[0][1] or f"memory ran out at {batch} faces per model call; went on with {half} (`batch` sets the number)"
    return np.concatenate([result for result, _ in results]), note


def _is_out_of_memory(error: BaseException) -> bool:
    """torch.OutOfMemoryError is a RuntimeError; torch itself need not be imported to know it."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower() or type(error).__name__ == "OutOfMemoryError"
