"""How fast a model restores, and what caching its references saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from iconface_video.models.context import ReferenceContext
from iconface_video.models.model import IConFaceModel
from iconface_video.types import EMBEDDING_SIZE


@dataclass(frozen=True)
class Speed:
    """Faces a second over several rounds."""

    median: float
    slowest: float
    fastest: float

    @classmethod
    def of(cls, faces: int, seconds: Sequence[float]) -> Speed:
        return cls(faces / statistics.median(seconds), faces / max(seconds), faces / min(seconds))


@dataclass(frozen=True)
class ModelBench:
    """What `bench_model` measured."""

    model: str
    device: str
    number_format: str
    threads: int
    size: int
    """px."""
    batch: int
    steps: int
    references: int
    rounds: int
    cached: Speed
    """Keys and values of the references computed once, before the clock starts (where the model's references are causal)."""
    uncached: Speed | None
    """References' tokens sent through the transformer again for every face and step; None where the model caches nothing."""
    without_references: Speed

    @property
    def cache_gain(self) -> float | None:
        """How many times faster with cached references (medians)."""
        return None if self.uncached is None else self.cached.median / self.uncached.median


def bench_model(
    model: IConFaceModel,
    size: int | None = None,
    references: int = 3,
    batch: int = 4,
    steps: int | None = None,
    rounds: int = 5,
    warm_up: int = 1,
) -> ModelBench:
    """Restore random crops `rounds` times in each way, in turn, so that a busy machine disturbs all ways alike.

    size: px, the model's largest tested one when None; steps: the model's own when None.
    """
    size = size or model.traits.crop_sizes[-1]
    steps = steps or model.traits.default_steps
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    photos = [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(references)]
    anchors = rng.standard_normal((batch, EMBEDDING_SIZE), dtype=np.float32)
    noise = rng.standard_normal((batch, *model.noise_shape(size)), dtype=np.float32)
    kept = model.prepare_references(photos, size)

    def restore(context: ReferenceContext | None) -> None:
        model.restore_crops(crops, anchors, [context] * batch, noise, steps)

    ways: dict[str, Callable[[], None]] = {"cached": lambda: restore(kept), "without": lambda: restore(None)}
    if kept is not None and kept.cache is not None:
        tokens_only = replace(kept, cache=None)
        ways["uncached"] = lambda: restore(tokens_only)
    seconds = {way: _timed(ways, way, model.device) for way in ways}
    for _ in range(warm_up - 1 + rounds):
        for way in ways:
            seconds[way] += _timed(ways, way, model.device)
    speeds = {way: Speed.of(batch, taken[warm_up:]) for way, taken in seconds.items()}
    return ModelBench(
        model=model.traits.name,
        device=str(model.device),
        number_format=str(model.compute_dtype or model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        size=size,
        batch=batch,
        steps=steps,
        references=references,
        rounds=rounds,
        cached=speeds["cached"],
        uncached=speeds.get("uncached"),
        without_references=speeds["without"],
    )


def _timed(ways: dict[str, Callable[[], None]], way: str, device: torch.device) -> list[float]:
    begun = time.perf_counter()
    ways[way]()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return [time.perf_counter() - begun]
