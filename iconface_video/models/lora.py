"""LoRA on the backbone: through peft (added, saved, loaded, merged, counted), or added to the weights for good."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from iconface_video.errors import UsageError
from iconface_video.models.transformer import IConFaceTransformer

DEFAULT_RANK = 16
_DOUBLE = r"transformer_blocks\.\d+\.attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
_SINGLE = r"single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)"
TARGETS = f"({_DOUBLE}|{_SINGLE})"
"""Every attention projection (in single-stream blocks the feed-forward ones are fused with them)."""
_ADAPTER = "default"


def import_peft() -> Any:
    """The peft package. UsageError where it is not installed."""
    try:
        import peft
    except ImportError:
        raise UsageError("LoRA needs the peft package: pip install 'iconface-video[lora]'") from None
    return peft


def has_lora(transformer: IConFaceTransformer) -> bool:
    return any(".lora_A." in name for name, _ in transformer.base.named_parameters())


def add_lora(
    transformer: IConFaceTransformer, rank: int = DEFAULT_RANK, alpha: float | None = None, targets: str = TARGETS
) -> None:
    """Freeze the backbone and put LoRA of that rank on it; it starts as an identity. The adapters stay trainable.

    alpha: its scale is alpha / rank; the rank when None.  targets: regular expression of the modules that get one.
    """
    peft = import_peft()
    transformer.base.requires_grad_(False)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha or rank, target_modules=targets)
    transformer.base.add_adapter(config, adapter_name=_ADAPTER)


def lora_rank(transformer: IConFaceTransformer) -> int:
    return int(transformer.base.peft_config[_ADAPTER].r)


def lora_alpha(transformer: IConFaceTransformer) -> float:
    return float(transformer.base.peft_config[_ADAPTER].lora_alpha)


def scale_lora(transformer: IConFaceTransformer, scale: float) -> None:
    """How much of the LoRA acts: 1 all of it, 0 none."""
    for module in transformer.base.modules():
        if hasattr(module, "get_delta_weight"):
            module.set_scale(_ADAPTER, scale)


def module_kinds(names: Iterable[str]) -> list[str]:
    """Modules without their blocks' numbers, sorted: "transformer_blocks.*.attn.to_q". names: of modules or of LoRA weights."""
    modules = (name.partition(".lora_")[0] for name in names)
    return sorted({re.sub(r"\.\d+\.", ".*.", module, count=1) for module in modules})


def kinds_pattern(kinds: Iterable[str]) -> str:
    """The regular expression of `add_lora` for these kinds of modules."""
    return "(" + "|".join(re.escape(kind).replace(r"\*", r"\d+") for kind in sorted(kinds)) + ")"


@torch.no_grad()
def fuse_lora(transformer: IConFaceTransformer, state: Mapping[str, Tensor], scale: float) -> None:
    """Add a LoRA to the backbone's weights: W + B A scale, computed in float32. The weights keep their number format.

    state: as `lora_state` gives it; every module is there.  scale: alpha / rank, and how much of it is wanted.
    """
    modules = dict(transformer.base.named_modules())
    for name in (key.removesuffix(".lora_A.weight") for key in state if key.endswith(".lora_A.weight")):
        weight = modules[name].weight
        down, up = (state[f"{name}.lora_{side}.weight"].to(weight.device, torch.float32) for side in "AB")
        weight.data = (weight.float() + up @ down * scale).to(weight.dtype)


def lora_state(transformer: IConFaceTransformer) -> dict[str, Tensor]:
    """LoRA weights alone, under peft's names without the adapter's."""
    state: dict[str, Tensor] = import_peft().get_peft_model_state_dict(transformer.base, adapter_name=_ADAPTER)
    return state


def expected_state(transformer: IConFaceTransformer, rank: int, targets: str = TARGETS) -> dict[str, Tensor]:
    """Names and shapes (meta tensors) of a LoRA on the modules that the regular expression names."""
    expected = {}
    for name, module in transformer.base.named_modules():
        if re.fullmatch(targets, name) and hasattr(module, "in_features"):
            expected[f"{name}.lora_A.weight"] = torch.empty(rank, module.in_features, device="meta")
            expected[f"{name}.lora_B.weight"] = torch.empty(module.out_features, rank, device="meta")
    return expected


def load_lora_state(transformer: IConFaceTransformer, state: dict[str, Tensor]) -> None:
    import_peft().set_peft_model_state_dict(transformer.base, state, adapter_name=_ADAPTER)


@torch.no_grad()
def merged_base_state(transformer: IConFaceTransformer) -> dict[str, Tensor]:
    """The backbone's state dict under its own names, with any LoRA added to the weights. The model is left as it is."""
    if not has_lora(transformer):
        return dict(transformer.base.state_dict())
    deltas = {
        f"{name}.weight": module.get_delta_weight(_ADAPTER)
        for name, module in transformer.base.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    merged = {}
    for name, tensor in transformer.base.state_dict().items():
        if ".lora_" in name:
            continue
        plain = name.replace(".base_layer.", ".")
        merged[plain] = tensor + deltas[plain].to(tensor.dtype) if plain in deltas else tensor
    return merged
