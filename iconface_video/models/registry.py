"""What can be said about any checkpoint (licence, size, where it is stored), and averages of models that were trained from one another
("model soup", arXiv 2203.05482), which are often better than each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models import checkpoint_files as files
from iconface_video.models.bfl_base import check_base
from iconface_video.models.checkpoint_index import INDEX, embedded_folder, find_checkpoint, read_index
from iconface_video.models.checkpoints import load_model
from iconface_video.models.download import PUBLISHED, prepared_folder
from iconface_video.models.hub import KNOWN, cached, check_source
from iconface_video.models.saving import check_model_folder, save_model

LARGEST_TRIAL_LOAD = 2_000_000_000
"""bytes; `verify` also loads checkpoints up to this size."""


@dataclass(frozen=True)
class ModelInfo:
    """About one checkpoint."""

    source: str
    folder: Path | None
    """Where it is stored; None: not on this machine."""
    bytes: int
    """On disk, or about to be downloaded."""
    license: str
    kind: str
    details: dict[str, Any]
    """Traits and conditioning of a restorer."""


def size_of(folder: Path) -> int:
    """Bytes of all files; links (Hugging Face's cache) count as what they point to."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def locate(source: str) -> Path | None:
    """Where a known model, folder or hub:owner/name is stored; None: not on this machine. Nothing is downloaded."""
    if source == "embedded":
        folder = embedded_folder()
        return folder if (folder / INDEX).is_file() else None
    if source in PUBLISHED:
        folder = prepared_folder(source)
        return folder if (folder / INDEX).is_file() else None
    path = Path(source).expanduser()
    return path if path.is_dir() else cached(source)


def describe(source: str) -> ModelInfo:
    """About "embedded", a folder or hub:owner/name, without downloading. CheckpointError where nothing is known of it."""
    known = next((model for model in KNOWN if model.source == source.removeprefix("hub:")), None)
    folder = locate(source)
    if folder is None:
        if known is None:
            check_source(source)
            raise CheckpointError(f"{source}: not on this machine. Download it with `iconface-video models pull {source}`.")
        return ModelInfo(source, None, known.download_bytes, known.license, known.kind, _published(source))
    if known is not None and known.kind == "base":
        return ModelInfo(source, folder, size_of(folder), known.license, known.kind, {})
    index = read_index(folder)
    traits = dict(index.get("traits") or {})
    details = {"traits": traits, "conditioning": index.get("conditioning"), "base": index.get("base")}
    details.update(_published(source))
    return ModelInfo(source, folder, size_of(folder), str(traits.get("license", "not stated")), "restorer", details)


def _published(source: str) -> dict[str, Any]:
    """Where a published model comes from, and what it can."""
    model = PUBLISHED.get(source)
    if model is None:
        return {}
    parts = {"base": model.base, "lora": model.lora}
    origin = {f"{name}_{what}": getattr(part, what) for name, part in parts.items() for what in ("repository", "revision")}
    return {"published": {**origin, "lora_file": model.lora_file, "can": model.can, "cannot": model.cannot}}


def verify(source: str) -> list[str]:
    """Check a checkpoint -> what was checked, for people. CheckpointError for the first thing that is wrong."""
    folder = locate(source) or find_checkpoint(source)
    done = []
    if (folder / files.MANIFEST).is_file():
        done.append(f"{files.verify_manifest(folder)} files have the listed size and SHA-256")
    else:
        done.append("no checksums to compare with: this checkpoint has no manifest.json")
    if (folder / INDEX).is_file() and files.read_json(folder / INDEX).get("_class_name") != "IConFaceModel":
        check_base(folder / "transformer")
        return [*done, "the backbone has every key in the right size"]
    read_index(folder)
    size = size_of(folder)
    if size > LARGEST_TRIAL_LOAD:
        if (folder / "transformer").is_dir():
            check_base(folder / "transformer")
        return [*done, "the backbone has every key in the right size (too large for a trial load)"]
    load_model(folder, dtype="float32")
    return [*done, "every key is there in the right size; it loads"]


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
