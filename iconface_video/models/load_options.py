"""Memory and speed: `LoadSettings` applied with what torch and diffusers offer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from iconface_video.errors import UsageError
from iconface_video.models.autoencoder import LatentAutoencoder
from iconface_video.models.model import IConFaceModel
from iconface_video.models.traits import RestorerTraits
from iconface_video.settings import LoadSettings, nearest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:N or mps -> a device that is there; UsageError otherwise."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device is '{name}', must be auto, cpu, cuda, cuda:N or mps") from None
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise UsageError(f"device '{name}' is not there: this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 in hardware (CPU: AVX-512 BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def pick_dtype(name: str, device: torch.device, traits: RestorerTraits) -> torch.dtype:
    """auto: bfloat16 where it is fast and tested, float16 on other GPUs where tested, else float32.

    UsageError for a format that the model was not tested with.
    """
    if name == "auto":
        if has_fast_bfloat16(device) and "bfloat16" in traits.dtypes:
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" and "float16" in traits.dtypes else torch.float32
    if name not in traits.dtypes:
        raise UsageError(f"model '{traits.name}' was tested with {', '.join(traits.dtypes)}, not with {name}")
    return DTYPES[name]


def quantization_config(options: LoadSettings, dtype: torch.dtype) -> Any:
    """For diffusers' `from_pretrained`; None without quantisation. UsageError where the package is missing."""
    if options.quantize == "none":
        return None
    try:
        if options.quantize == "int8":
            from diffusers import TorchAoConfig
            from torchao.quantization import Int8WeightOnlyConfig

            return TorchAoConfig(Int8WeightOnlyConfig())
        from diffusers import BitsAndBytesConfig

        if find_spec("bitsandbytes") is None:
            raise ImportError("No module named 'bitsandbytes'")

        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    except ImportError as error:
        package = {"int8": "torchao", "nf4": "bitsandbytes"}[options.quantize]
        raise UsageError(f"quantize={options.quantize} needs the {package} package ({error}): pip install {package}") from None


def place(model: IConFaceModel, device: torch.device, dtype: torch.dtype, options: LoadSettings) -> IConFaceModel:
    """Bring a loaded model to its device and number format and apply the other options."""
    model.compute_dtype = dtype
    is_latent = isinstance(model.autoencoder, LatentAutoencoder)
    if is_latent and options.quantize == "none":
        model.to(dtype=dtype)  # billions of weights: autocast over float32 ones is for the small model
    if options.offload:
        _offload(model, device)
    elif options.quantize == "none":
        model.to(device)
    else:
        _move_but_base(model, device, dtype)
    if not is_latent:
        model.autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.vae_tiling:
        if not isinstance(model.autoencoder, LatentAutoencoder):
            raise UsageError(f"model '{model.traits.name}' has no latent autoencoder: leave `vae_tiling` out")
        model.autoencoder.vae.enable_tiling()
    if options.attention_backend:
        _set_attention_backend(model, options.attention_backend)
    if options.compile:
        _check_backend(options.compile_backend)
        model.transformer.base.compile_repeated_blocks(backend=options.compile_backend, dynamic=True)
    return model.eval()


def _check_backend(name: str) -> None:
    """Now, and not when the first face is restored."""
    known = torch.compiler.list_backends(exclude_tags=())
    if name not in known:
        raise UsageError(f"`compile_backend` is '{name}', which torch does not have here.{nearest(name, known)}")


def _set_attention_backend(model: IConFaceModel, name: str) -> None:
    from diffusers.models.attention_dispatch import attention_backend

    try:
        with attention_backend(name):  # diffusers would make it every later model's as well; this puts the old one back
            model.transformer.base.set_attention_backend(name)
    except (ValueError, RuntimeError, ImportError) as error:
        raise UsageError(f"attention_backend '{name}' cannot be used here: {error}") from None


def _move_but_base(model: IConFaceModel, device: torch.device, dtype: torch.dtype) -> None:
    """Quantised weights are already on the device and must not be cast."""
    model.transformer.adapters.to(device, dtype)
    model.autoencoder.to(device, dtype)
    for prompt in (model.prompt, model.negative_prompt):
        if prompt is not None:
            prompt.data = prompt.data.to(device, dtype)
    model.transformer.base.to(device)


def _offload(model: IConFaceModel, device: torch.device) -> None:
    from diffusers.hooks import apply_group_offloading

    model.transformer.adapters.to(device)
    for prompt in (model.prompt, model.negative_prompt):
        if prompt is not None:
            prompt.data = prompt.data.to(device)
    for module in (model.transformer.base, model.autoencoder):
        apply_group_offloading(module, onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level")
