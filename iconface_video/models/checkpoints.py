"""Loading checkpoints: `load_model("embedded" | folder | "hub:owner/name")`. What lies where in one: `checkpoint_index`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKLFlux2
from torch import Tensor

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models import checkpoint_files as files
from iconface_video.models import lora
from iconface_video.models.autoencoder import LatentAutoencoder
from iconface_video.models.bfl_base import checked_config, described_base, find_base, is_bfl_file, load_base
from iconface_video.models.cascade import CascadeAutoencoder, CascadeSettings
from iconface_video.models.checkpoint_index import ADAPTERS, INDEX, find_checkpoint, from_json, read_index
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.load_options import pick_device, pick_dtype, place
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, PixelAutoencoderSettings
from iconface_video.models.sampler import make_sigmas
from iconface_video.models.traits import RestorerTraits
from iconface_video.models.transformer import IConFaceTransformer
from iconface_video.settings import LoadSettings
from iconface_video.types import EMBEDDING_SIZE

LoraForm = Literal["fused", "apart"]
"""A LoRA beside the backbone is added to its weights, or kept apart (training, peft)."""


def load_model(
    source: str | Path = "embedded",
    device: str | torch.device = "cpu",
    dtype: str | None = None,
    options: LoadSettings | None = None,
    lora_form: LoraForm = "apart",
) -> IConFaceModel:
    """Load a model, in evaluation mode.

    Args:
        source: "embedded", a checkpoint folder, or hub:owner/name (downloaded into Hugging Face's cache).
        dtype: overrides `options.dtype`.

    Checksums are verified wherever the checkpoint comes with them (`save_model` writes them).
    Raises CheckpointError naming the file and the first wrong key.
    """
    options = options or LoadSettings()
    if dtype is not None:
        options = dataclasses.replace(options, dtype=dtype)  # type: ignore[arg-type]
    target = pick_device(str(device))
    folder = find_checkpoint(source)
    is_verified = str(source) == "embedded" or (folder / files.MANIFEST).is_file()
    if is_verified:
        files.verify_manifest(folder)
    index = read_index(folder)
    traits = from_json(RestorerTraits, index.get("traits"), folder / INDEX)
    number_format = pick_dtype(options.dtype, target, traits)
    model = _assemble(folder, index, traits, options, number_format, lora_form)
    if not is_verified and not isinstance(model.autoencoder, LatentAutoencoder):
        _try_out(model, folder)
    return place(model, target, number_format, options)


@torch.no_grad()
def _try_out(model: IConFaceModel, folder: Path) -> None:
    """One grey picture through a model that came without checksums: settings may fit the weights and still not each other."""
    size = min(model.traits.crop_sizes)
    grey = np.full((size, size, 3), 128, np.uint8)
    with files.describing_a_model(folder / INDEX):
        model.eval()
        references = model.prepare_references((grey,), size) if model.traits.max_references else None
        anchor = torch.nn.functional.normalize(torch.ones(1, EMBEDDING_SIZE))
        restored = model.restore(torch.zeros(1, 3, size, size), anchor, [references], torch.zeros(1, *model.noise_shape(size)))
        if restored.shape != (1, 3, size, size) or not bool(restored.isfinite().all()):
            raise ValueError("what it makes is no picture")


# ---- loading


def _assemble(
    folder: Path,
    index: Mapping[str, Any],
    traits: RestorerTraits,
    options: LoadSettings,
    dtype: torch.dtype,
    lora_form: LoraForm,
) -> IConFaceModel:
    base_folder = folder if index.get("base") is None else find_base(str(index["base"]), index.get("base_revision"))
    base_weights = base_folder if is_bfl_file(base_folder) else base_folder / "transformer"
    is_latent = index.get("autoencoder") == "latent"
    held = dtype if is_latent else torch.float32
    conditioning = from_json(ConditioningSettings, index.get("conditioning"), folder / INDEX)
    _check_adapters(folder, base_weights, conditioning)
    base = load_base(base_weights, held, options)
    transformer = IConFaceTransformer(base, conditioning)
    files.load_into(transformer.adapters, folder / ADAPTERS)
    if index.get("lora_rank"):
        _load_lora(transformer, index, folder / "lora" / "lora.safetensors", options, lora_form)
    elif options.lora_scale != 1:
        raise UsageError(f"lora_scale is {options.lora_scale}, but model '{traits.name}' has no LoRA of its own: leave it out")
    own = folder / "autoencoder"
    autoencoder = load_vae(_vae_folder(folder, base_folder), held) if is_latent else _load_pixels(own, index.get("autoencoder"))
    scheduler = _scheduler(folder / "scheduler" / "scheduler_config.json")
    prompts = _prompts(folder / "prompt_embedding.safetensors", base.config.joint_attention_dim)
    with files.describing_a_model(folder / INDEX):
        model = IConFaceModel(transformer, autoencoder, prompts["prompt"], scheduler, traits, prompts.get("negative_prompt"))
    model.prompt.requires_grad_(not is_latent)  # the small model's prompt is learned, the full one's is its text encoder's
    return model


def _check_adapters(folder: Path, base_folder: Path, conditioning: ConditioningSettings) -> None:
    """Compare the adapters' file with what index and backbone ask for, before anything of that size is allocated."""
    base = described_base(base_folder)
    with torch.device("meta"), files.describing_a_model(folder / INDEX):
        expected = IConFaceTransformer(base, conditioning).adapters.state_dict()
    files.check_shapes(files.read_shapes(folder / ADAPTERS), expected, folder / ADAPTERS)


def _scheduler(path: Path) -> dict[str, Any]:
    """The schedule's settings, tried out."""
    config = files.read_settings(path)
    with files.describing_a_model(path):
        sigmas = [float(sigma) for sigma in make_sigmas(4, 64, config, 1.0)]
        if not all(0 <= after < before <= 1 for before, after in pairwise(sigmas)):
            raise ValueError("the noise levels do not fall from 1 to 0")
    return config


def _prompts(path: Path, width: int) -> dict[str, Tensor]:
    """ "prompt" and maybe "negative_prompt", each (1, tokens, width) or (tokens, width)."""
    shapes = files.read_shapes(path)
    if "prompt" not in shapes:
        raise CheckpointError(f"{path}: incomplete, 'prompt' is missing.")
    for name, shape in shapes.items():
        if name in ("prompt", "negative_prompt") and (len(shape) != 3 or shape[0] != 1 or shape[2] != width):
            raise CheckpointError(f"{path}: '{name}' is {shape}, must be (1, tokens, {width}). It belongs to another model.")
    return {name: tensor.float() for name, tensor in files.read_tensors(path).items()}


def _vae_folder(folder: Path, base_folder: Path) -> Path:
    own = folder / "autoencoder"
    return own if own.is_dir() else base_folder / "vae"


def load_vae(folder: Path, dtype: torch.dtype) -> LatentAutoencoder:
    config = files.read_settings(folder / "config.json")
    with torch.device("meta"):
        expected = checked_config(AutoencoderKLFlux2, config, folder)
    path = folder / files.DIFFUSERS_WEIGHTS
    files.check_shapes(files.read_shapes(path), expected.state_dict(), path)
    vae: Any = AutoencoderKLFlux2.from_pretrained(str(folder), torch_dtype=dtype, use_safetensors=True)
    files.check_finite(vae.state_dict(), path)
    return LatentAutoencoder(vae)


def _load_pixels(folder: Path, kind: Any) -> PixelAutoencoder | CascadeAutoencoder:
    config, weights = folder / "config.json", folder / "autoencoder.safetensors"
    described = files.read_settings(config)
    make: Callable[[], PixelAutoencoder | CascadeAutoencoder]
    if kind == "cascade":
        parts = {name: from_json(PixelAutoencoderSettings, described.get(name), config) for name in ("coarse", "refiner")}
        with files.describing_a_model(config):
            make = partial(CascadeAutoencoder, CascadeSettings(**parts))
    else:
        make = partial(PixelAutoencoder, from_json(PixelAutoencoderSettings, described, config))
    with torch.device("meta"), files.describing_a_model(config):
        expected = make().state_dict()
    files.check_shapes(files.read_shapes(weights), expected, weights)
    autoencoder = make()
    files.load_into(autoencoder, weights)
    return autoencoder


def _load_lora(
    transformer: IConFaceTransformer, index: Mapping[str, Any], path: Path, options: LoadSettings, form: LoraForm
) -> None:
    """Beside the backbone through peft, or added to its weights: the same function, faster, and peft is not needed."""
    rank, kinds = index["lora_rank"], index.get("lora_modules")
    alpha = index.get("lora_alpha") or rank
    ranks = {shape[0] for name, shape in files.read_shapes(path).items() if "lora_A" in name and shape}
    if ranks != {rank}:
        raise CheckpointError(
            f"{path}: holds LoRA of rank {sorted(ranks)}, {INDEX} says {rank!r}. They do not belong together."
        )
    targets = lora.TARGETS if kinds is None else lora.kinds_pattern(map(str, kinds))
    is_fused = form == "fused" and options.quantize == "none"
    expected = lora.expected_state(transformer, rank, targets)
    files.check_shapes(files.read_shapes(path), expected, path)
    state = files.read_tensors(path, expected)
    if is_fused:
        lora.fuse_lora(transformer, state, alpha / rank * options.lora_scale)
        return
    lora.add_lora(transformer, rank, alpha, targets)
    lora.load_lora_state(transformer, state)
    if options.lora_scale != 1:
        lora.scale_lora(transformer, options.lora_scale)
