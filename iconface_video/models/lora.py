"""LoRA on the backbone through peft: added, saved, loaded, merged, counted."""

from __future__ import annotations

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


def add_lora(transformer: IConFaceTransformer, rank: int = DEFAULT_RANK) -> None:
    """Freeze the backbone and put LoRA of that rank on it; it starts as an identity. The adapters stay trainable."""
    peft = import_peft()
    transformer.base.requires_grad_(False)
    transformer.base.add_adapter(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), adapter_name=_ADAPTER)


def lora_rank(transformer: IConFaceTransformer) -> int:
    return int(transformer.base.peft_config[_ADAPTER].r)


def lora_state(transformer: IConFaceTransformer) -> dict[str, Tensor]:
    """LoRA weights alone, under peft's names without the adapter's."""
    state: dict[str, Tensor] = import_peft().get_peft_model_state_dict(transformer.base, adapter_name=_ADAPTER)
    return state


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
