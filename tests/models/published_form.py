"""Files in exactly the form of the published weights: Black Forest Labs' names, on a tiny backbone or at the real shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from safetensors.torch import save_file
from torch import Tensor

from iconface_video.models.bfl_base import bfl_shapes
from tests.models.test_prompt import tiny_text_encoder, tiny_tokenizer
from tests.models.tiny_models import TINY, TINY_SCHEDULER, tiny_vae

KLEIN = ("img_attn.qkv", "img_attn.proj", "linear1", "linear2")
"""Modules of the preset flux2_klein."""
FULL = (*KLEIN, "txt_attn.qkv", "txt_attn.proj", "img_mlp.0", "img_mlp.2", "txt_mlp.0", "txt_mlp.2")


def full_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"out_channels": None, "timestep_guidance_channels": 256, "guidance_embeds": False, **config}


def lora_state(
    config: Mapping[str, Any],
    rank: int = 4,
    kinds: Iterable[str] = KLEIN,
    *,
    alpha: float | None = None,
    dtype: Any = torch.float32,
) -> dict[str, Tensor]:
    """A random LoRA with every key of the published form. alpha None: the file does not say it."""
    generator = torch.Generator().manual_seed(21)
    state: dict[str, Tensor] = {}
    for name, shape in bfl_shapes(full_config(config)).items():
        module = name.removesuffix(".weight")
        if "_blocks." in name and module.split(".", 2)[2] in tuple(kinds):
            state[f"{module}.lora_A.weight"] = (torch.randn(rank, shape[1], generator=generator) * 0.2).to(dtype)
            state[f"{module}.lora_B.weight"] = (torch.randn(shape[0], rank, generator=generator) * 0.2).to(dtype)
            if alpha is not None:
                state[f"{module}.alpha"] = torch.tensor(float(alpha))
    return state


def write_lora(path: Path, state: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def in_bfl_names(base: Any) -> dict[str, Tensor]:
    """A diffusers backbone's weights as Black Forest Labs name and order them, written out by hand from their model's code:
    q, k, v in one matrix, the last layer's modulation as shift then scale."""
    ours: dict[str, Tensor] = base.state_dict()
    out = {
        "img_in.weight": ours["x_embedder.weight"],
        "txt_in.weight": ours["context_embedder.weight"],
        "time_in.in_layer.weight": ours["time_guidance_embed.timestep_embedder.linear_1.weight"],
        "time_in.out_layer.weight": ours["time_guidance_embed.timestep_embedder.linear_2.weight"],
        "final_layer.linear.weight": ours["proj_out.weight"],
        "final_layer.adaLN_modulation.1.weight": torch.cat(ours["norm_out.linear.weight"].chunk(2)[::-1]),
    }
    for which in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation"):
        out[f"{which}.lin.weight"] = ours[f"{which}.linear.weight"]
    for number in range(base.config.num_layers):
        theirs, block = f"double_blocks.{number}", f"transformer_blocks.{number}"
        for stream, names, norms, proj, ff in (
            ("img", ("to_q", "to_k", "to_v"), ("norm_q", "norm_k"), "to_out.0", "ff"),
            ("txt", ("add_q_proj", "add_k_proj", "add_v_proj"), ("norm_added_q", "norm_added_k"), "to_add_out", "ff_context"),
        ):
            out[f"{theirs}.{stream}_attn.qkv.weight"] = torch.cat([ours[f"{block}.attn.{name}.weight"] for name in names])
            out[f"{theirs}.{stream}_attn.proj.weight"] = ours[f"{block}.attn.{proj}.weight"]
            out[f"{theirs}.{stream}_mlp.0.weight"] = ours[f"{block}.{ff}.linear_in.weight"]
            out[f"{theirs}.{stream}_mlp.2.weight"] = ours[f"{block}.{ff}.linear_out.weight"]
            for norm, name in zip(("query_norm", "key_norm"), norms):
                out[f"{theirs}.{stream}_attn.norm.{norm}.scale"] = ours[f"{block}.attn.{name}.weight"]
    for number in range(base.config.num_single_layers):
        theirs, block = f"single_blocks.{number}", f"single_transformer_blocks.{number}.attn"
        out[f"{theirs}.linear1.weight"] = ours[f"{block}.to_qkv_mlp_proj.weight"]
        out[f"{theirs}.linear2.weight"] = ours[f"{block}.to_out.weight"]
        for norm, name in (("query_norm", "norm_q"), ("key_norm", "norm_k")):
            out[f"{theirs}.norm.{norm}.scale"] = ours[f"{block}.{name}.weight"]
    return {name: tensor.contiguous() for name, tensor in out.items()}


def tiny_base(**changes: Any) -> Flux2Transformer2DModel:
    """Random, with norms that are not neutral."""
    torch.manual_seed(5)
    base: Any = Flux2Transformer2DModel(**{**TINY, **changes})
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if ".norm_" in name and parameter.ndim == 1:
                parameter.copy_(torch.linspace(0.6, 1.4, len(parameter)).roll(len(name)))
    return base.eval()


def write_klein(folder: Path) -> Path:
    """A whole tiny FLUX.2-klein checkpoint as its repository has it: diffusers' folders, and the backbone once more in one file."""
    base = tiny_base()
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**TINY_SCHEDULER),
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(),
        tokenizer=tiny_tokenizer(),
        transformer=base,
    )
    pipeline.save_pretrained(folder)
    save_file(in_bfl_names(base), folder / "flux-2-klein-base-tiny.safetensors")
    return folder
