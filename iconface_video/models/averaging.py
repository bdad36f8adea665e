"""Averages of models that were trained from one another ("model soup", arXiv 2203.05482): often better than each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from iconface_video.errors import UsageError
from iconface_video.models.checkpoints import check_model_folder, load_model, save_model


def average_models(sources: Sequence[str], out: Path, shares: Sequence[float] = (), overwrite: bool = False) -> Path:
    """Write the weighted mean of the models' weights as a checkpoint in half precision.

    sources: "embedded" or checkpoint folders of one architecture, trained from one another: the mean of strangers is noise.
    shares: one for each, brought to a sum of 1; equal when not given. Traits and settings are the first one's.
    Raises UsageError, CheckpointError.
    """
    weights = list(shares) or [1.0] * len(sources)
    check_model_folder(out, overwrite)
    if len(sources) < 2:
        raise UsageError("an average takes at least two models")
    if len(weights) != len(sources) or min(weights) < 0 or sum(weights) <= 0:
        raise UsageError(f"shares are {weights}, must be one for each of the {len(sources)} models, none below 0")
    weights = [weight / sum(weights) for weight in weights]
    model = load_model(sources[0], dtype="float32")
    mean = {name: weights[0] * value.float() for name, value in model.state_dict().items()}
    for source, weight in zip(sources[1:], weights[1:]):
        other = load_model(source, dtype="float32").state_dict()
        unlike = [name for name in sorted({*mean, *other}) if _shape(mean, name) != _shape(other, name)]
        if unlike:
            raise UsageError(f"{source}: another architecture than {sources[0]} (first difference: {unlike[0]})")
        for name, value in other.items():
            mean[name] += weight * value.float()
    model.load_state_dict(mean)
    save_model(model, out, storage_dtype=torch.float16, overwrite=overwrite)
    return out


def _shape(weights: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return weights[name].shape if name in weights else None
