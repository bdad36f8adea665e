"""The FLUX.2 checkpoint that a model stands on: as diffusers writes it, from a folder or the hub, or one file of Black Forest Labs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models import checkpoint_files as files
from iconface_video.models.bfl_base import bfl_config, check_bfl_base, is_bfl_file, load_bfl_base
from iconface_video.models.download import find_downloaded
from iconface_video.models.hub import fetch
from iconface_video.models.load_options import LoadOptions, quantization_config


def find_base(source: str, revision: str | None = None) -> Path:
    """A FLUX.2 checkpoint: as diffusers writes it (transformer/, vae/, scheduler/), a folder or from the hub, or one file of
    Black Forest Labs.

    revision: of the hub's repository that was downloaded by `models pull`.
    """
    path = Path(source).expanduser()
    if path.is_dir() or is_bfl_file(path):
        return path
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path}: the base model of this checkpoint is not there any more. Convert the LoRA again.")
    return fetch(source) if revision is None else find_downloaded(source, revision)


def base_files(base: Path) -> list[Path]:
    """The weight files of backbone and autoencoder."""
    if is_bfl_file(base):
        return [base]
    return sorted(path for part in ("transformer", "vae") for path in (base / part).glob("*.safetensors"))


def check_base(folder: Path) -> None:
    """Compare the keys and shapes of a FLUX.2 backbone (diffusers' folder, BFL's file) with its config; reads headers alone."""
    if is_bfl_file(folder):
        check_bfl_base(folder)
        return
    expected = described_base(folder)
    found = files.read_sharded_shapes(folder)
    shapes = {name: shape for name, (shape, _) in found.items()}
    where = {name: path for name, (_, path) in found.items()}
    files.check_shapes(shapes, expected.state_dict(), folder / files.DIFFUSERS_WEIGHTS, where)


def described_base(folder: Path) -> Any:
    """The backbone that a folder's config (or a BFL file's header) describes, without weights."""
    if is_bfl_file(folder):
        with torch.device("meta"), files.describing_a_model(folder):
            return Flux2Transformer2DModel(**bfl_config(folder))
    config = files.read_settings(folder / "config.json")
    with torch.device("meta"):
        return checked_config(Flux2Transformer2DModel, config, folder)


def load_base(folder: Path, dtype: torch.dtype, options: LoadOptions | None = None) -> Flux2Transformer2DModel:
    """A FLUX.2 backbone from diffusers' folder or BFL's file, every key checked beforehand."""
    if is_bfl_file(folder):
        return _load_bfl(folder, dtype, options or LoadOptions())
    check_base(folder)
    quantization = quantization_config(options or LoadOptions(), dtype)
    base: Any = Flux2Transformer2DModel.from_pretrained(
        str(folder), torch_dtype=dtype, use_safetensors=True, quantization_config=quantization
    )
    files.check_finite(dict(base.named_parameters()), folder / files.DIFFUSERS_WEIGHTS)
    return base


def _load_bfl(path: Path, dtype: torch.dtype, options: LoadOptions) -> Flux2Transformer2DModel:
    if options.quantize != "none":
        raise UsageError(
            f"quantize={options.quantize} needs the base as diffusers writes it, {path} is one file: convert the LoRA with --fused"
        )
    return load_bfl_base(path, dtype)


def checked_config(kind: Any, config: Mapping[str, Any], folder: Path) -> Any:
    with files.describing_a_model(folder / "config.json"):
        return kind.from_config(dict(config))
