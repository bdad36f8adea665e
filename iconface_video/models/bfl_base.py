"""The FLUX.2 checkpoint that a model stands on: as diffusers writes it, from a folder or the hub, or one file under Black Forest Labs'
names (`flux-2-klein-base-4b.safetensors`).

Such a file's sizes are read off its tensors, its names and row orders are translated by diffusers' own converter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel
from torch import Tensor

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models import checkpoint_files as files
from iconface_video.models.download import find_downloaded
from iconface_video.models.hub import fetch
from iconface_video.models.load_options import quantization_config
from iconface_video.settings import LoadSettings

_PREFIX = "model.diffusion_model."
_ROPE_AXES = 4
_ROPE_THETA = 2000


def is_bfl_file(path: Path) -> bool:
    return path.is_file() and path.suffix == ".safetensors"


def bfl_config(path: Path) -> dict[str, Any]:
    """Arguments of `Flux2Transformer2DModel`, from the header alone. CheckpointError where the file is no FLUX.2."""
    return _config(_plain_shapes(path), path)


def check_bfl_base(path: Path) -> dict[str, Any]:
    """The config of a file that has every key in the right size; nothing but its header is read."""
    shapes = _plain_shapes(path)
    config = _config(shapes, path)
    expected = {name: torch.empty(shape, device="meta") for name, shape in bfl_shapes(config).items()}
    files.check_shapes(shapes, expected, path)
    return config


def load_bfl_base(path: Path, dtype: torch.dtype) -> Flux2Transformer2DModel:
    """The backbone, every key checked beforehand."""
    config = check_bfl_base(path)
    with torch.device("meta"), files.describing_a_model(path):
        base: Any = Flux2Transformer2DModel(**config)
    tensors = {_plain(name): tensor.to(dtype) for name, tensor in files.read_tensors(path).items()}
    base.load_state_dict(in_diffusers_names(tensors), strict=True, assign=True)
    return base


def in_diffusers_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BFL's state dict -> diffusers', by diffusers' converter (fused q, k, v apart; shift and scale of the last layer swapped)."""
    from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers

    converted: dict[str, Tensor] = convert_flux2_transformer_checkpoint_to_diffusers(dict(tensors))
    return {name: tensor.contiguous() for name, tensor in converted.items()}


def bfl_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every key of such a file with its shape."""
    head = config["attention_head_dim"]
    hidden = config["num_attention_heads"] * head
    mlp = int(hidden * config["mlp_ratio"])
    shapes: dict[str, tuple[int, ...]] = {
        "img_in.weight": (hidden, config["in_channels"]),
        "txt_in.weight": (hidden, config["joint_attention_dim"]),
        "final_layer.linear.weight": (config["out_channels"] or config["in_channels"], hidden),
        "final_layer.adaLN_modulation.1.weight": (2 * hidden, hidden),
        "single_stream_modulation.lin.weight": (3 * hidden, hidden),
    }
    for which in ("img", "txt"):
        shapes[f"double_stream_modulation_{which}.lin.weight"] = (6 * hidden, hidden)
    for which in ("time_in", "guidance_in") if config["guidance_embeds"] else ("time_in",):
        shapes[f"{which}.in_layer.weight"] = (hidden, config["timestep_guidance_channels"])
        shapes[f"{which}.out_layer.weight"] = (hidden, hidden)
    for number in range(config["num_layers"]):
        for which in ("img", "txt"):
            block = f"double_blocks.{number}.{which}"
            shapes[f"{block}_attn.qkv.weight"] = (3 * hidden, hidden)
            shapes[f"{block}_attn.proj.weight"] = (hidden, hidden)
            shapes[f"{block}_attn.norm.query_norm.scale"] = (head,)
            shapes[f"{block}_attn.norm.key_norm.scale"] = (head,)
            shapes[f"{block}_mlp.0.weight"] = (2 * mlp, hidden)
            shapes[f"{block}_mlp.2.weight"] = (hidden, mlp)
    for number in range(config["num_single_layers"]):
        block = f"single_blocks.{number}"
        shapes[f"{block}.linear1.weight"] = (3 * hidden + 2 * mlp, hidden)
        shapes[f"{block}.linear2.weight"] = (hidden, hidden + mlp)
        shapes[f"{block}.norm.query_norm.scale"] = (head,)
        shapes[f"{block}.norm.key_norm.scale"] = (head,)
    return shapes


def _plain(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _plain_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {_plain(name): shape for name, shape in files.read_shapes(path).items()}


def _config(shapes: Mapping[str, tuple[int, ...]], path: Path) -> dict[str, Any]:
    def of(key: str, sides: int) -> tuple[int, ...]:
        shape = shapes.get(key)
        if shape is None:
            raise CheckpointError(f"{path}: '{key}' is missing: no FLUX.2 backbone in Black Forest Labs' names.")
        if len(shape) != sides or not all(0 < side <= 2**20 for side in shape):
            raise CheckpointError(f"{path}: '{key}' is {shape}, which no FLUX.2 backbone has.")
        return shape

    def blocks(stack: str) -> int:
        numbers = {int(found[1]) for name in shapes if (found := re.match(rf"{stack}\.(\d+)\.", name))}
        return max(numbers, default=-1) + 1

    hidden, in_channels = of("img_in.weight", 2)
    (head,) = of("single_blocks.0.norm.query_norm.scale", 1)
    wide = of("single_blocks.0.linear2.weight", 2)[1]
    if (
        hidden % head
        or head % (2 * _ROPE_AXES)
        or wide <= hidden
        or max(blocks("double_blocks"), blocks("single_blocks")) > 512
    ):
        raise CheckpointError(f"{path}: 'single_blocks.0.linear2.weight' and the heads have sizes that no FLUX.2 backbone has.")
    ratio = (wide - hidden) / hidden
    out_channels = of("final_layer.linear.weight", 2)[0]
    return {
        "in_channels": in_channels,
        "out_channels": None if out_channels == in_channels else out_channels,
        "num_layers": blocks("double_blocks"),
        "num_single_layers": blocks("single_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": of("txt_in.weight", 2)[1],
        "timestep_guidance_channels": of("time_in.in_layer.weight", 2)[1],
        "mlp_ratio": ratio if int(hidden * ratio) == wide - hidden else (wide - hidden + 0.5) / hidden,
        "axes_dims_rope": (head // _ROPE_AXES,) * _ROPE_AXES,
        "rope_theta": _ROPE_THETA,
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
    }


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


def load_base(folder: Path, dtype: torch.dtype, options: LoadSettings | None = None) -> Flux2Transformer2DModel:
    """A FLUX.2 backbone from diffusers' folder or BFL's file, every key checked beforehand."""
    if is_bfl_file(folder):
        return _load_bfl(folder, dtype, options or LoadSettings())
    check_base(folder)
    quantization = quantization_config(options or LoadSettings(), dtype)
    base: Any = Flux2Transformer2DModel.from_pretrained(
        str(folder), torch_dtype=dtype, use_safetensors=True, quantization_config=quantization
    )
    files.check_finite(dict(base.named_parameters()), folder / files.DIFFUSERS_WEIGHTS)
    return base


def _load_bfl(path: Path, dtype: torch.dtype, options: LoadSettings) -> Flux2Transformer2DModel:
    if options.quantize != "none":
        raise UsageError(
            f"quantize={options.quantize} needs the base as diffusers writes it, {path} is one file: convert the LoRA with --fused"
        )
    return load_bfl_base(path, dtype)


def checked_config(kind: Any, config: Mapping[str, Any], folder: Path) -> Any:
    with files.describing_a_model(folder / "config.json"):
        return kind.from_config(dict(config))
