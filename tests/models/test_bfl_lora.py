"""LoRA in Black Forest Labs' names: every key, every row in its place, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2Transformer2DModel
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_flux2_lora_to_diffusers as diffusers_converter
from torch import Tensor

from iconface_video.errors import CheckpointError
from iconface_video.models.bfl_lora import check_fit, read_lora
from iconface_video.models.full_size import KLEIN_4B_BASE
from tests.models.published_form import FULL, KLEIN, in_bfl_names, lora_state, tiny_base, write_lora
from tests.models.tiny_models import TINY


def on_meta(config: dict[str, Any]) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Flux2Transformer2DModel(**config).state_dict()


@pytest.mark.parametrize(("kinds", "modules"), [(KLEIN, 5 * 4 + 20 * 2), (FULL, 5 * (3 + 1 + 3 + 1 + 4) + 20 * 2)])
def test_every_published_key_at_the_real_shapes_has_its_place(kinds: tuple[str, ...], modules: int, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "lora.safetensors", lora_state(KLEIN_4B_BASE, 16, kinds, alpha=16, dtype=torch.float16))
    found = read_lora(path)
    check_fit(found, on_meta(KLEIN_4B_BASE), "klein")
    assert (len(found.pairs), found.rank, found.alpha) == (modules, 16, 16.0)


@pytest.mark.parametrize("kinds", [KLEIN, FULL])
def test_rows_are_where_diffusers_own_converter_puts_them(kinds: tuple[str, ...], tmp_path: Path) -> None:
    state = lora_state(TINY, kinds=kinds)
    ours = read_lora(write_lora(tmp_path / "lora.safetensors", state)).state()
    theirs = diffusers_converter({f"diffusion_model.{name}": tensor for name, tensor in state.items()})
    assert {f"transformer.{name}" for name in ours} == theirs.keys()
    assert all(torch.equal(tensor, theirs[f"transformer.{name}"]) for name, tensor in ours.items())
    q, k, v = (ours[f"transformer_blocks.0.attn.to_{which}.lora_B.weight"] for which in "qkv")
    assert not torch.equal(q, k)
    assert not torch.equal(k, v)  # so a swap would have been seen


def test_rows_are_those_that_the_published_model_multiplies_with(tmp_path: Path) -> None:
    """Their layers, written out: q, k, v are thirds of one product in this order; silu(first half) * second half."""
    base = tiny_base()
    state, fused = lora_state(TINY, kinds=FULL), in_bfl_names(base)
    whole = {
        name.removesuffix(".weight"): weight
        + state[name.replace("weight", "lora_B.weight")] @ state[name.replace("weight", "lora_A.weight")]
        for name, weight in fused.items()
        if name.replace("weight", "lora_B.weight") in state
    }
    found = read_lora(write_lora(tmp_path / "lora.safetensors", state))
    with torch.no_grad():
        for name, pair in found.pairs.items():
            base.get_submodule(name).weight += pair.up @ pair.down
    hidden = TINY["num_attention_heads"] * TINY["attention_head_dim"]
    x = torch.randn(1, 7, hidden, generator=torch.Generator().manual_seed(1))
    block: Any = base.transformer_blocks[1]
    for weight, module in zip((x @ whole["double_blocks.1.img_attn.qkv"].T).chunk(3, -1), ("to_q", "to_k", "to_v")):
        torch.testing.assert_close(getattr(block.attn, module)(x), weight)
    gate, value = (x @ whole["double_blocks.1.img_mlp.0"].T).chunk(2, -1)
    expected = (torch.nn.functional.silu(gate) * value) @ whole["double_blocks.1.img_mlp.2"].T
    torch.testing.assert_close(block.ff(x), expected)
    swapped = (torch.nn.functional.silu(value) * gate) @ whole["double_blocks.1.img_mlp.2"].T
    assert not torch.allclose(block.ff(x), swapped, atol=1e-3)
    single: Any = base.single_transformer_blocks[2].attn
    joint, feed_forward = (x @ whole["single_blocks.2.linear1"].T).split([3 * hidden, 2 * single.mlp_hidden_dim], -1)
    q, k, v = (part.unflatten(-1, (-1, single.head_dim)).transpose(1, 2) for part in joint.chunk(3, -1))
    seen = torch.nn.functional.scaled_dot_product_attention(single.norm_q(q), single.norm_k(k), v).transpose(1, 2).flatten(2)
    gate, value = feed_forward.chunk(2, -1)
    expected = torch.cat([seen, torch.nn.functional.silu(gate) * value], -1) @ whole["single_blocks.2.linear2"].T
    torch.testing.assert_close(single(x), expected, rtol=1e-4, atol=1e-5)


def test_names_that_training_frameworks_leave_are_understood(tmp_path: Path) -> None:
    state = lora_state(TINY, alpha=8)
    plain = read_lora(write_lora(tmp_path / "plain.safetensors", state)).state()
    wrapped = {f"diffusion_model.{name.replace('.img_attn', '._fsdp_wrapped_module.img_attn')}": t for name, t in state.items()}
    wrapped["double_blocks.0.img_attn.qkv.base_layer.weight"] = torch.zeros(96, 32)
    wrapped["img_in.weight"] = torch.zeros(32, 12)
    found = read_lora(write_lora(tmp_path / "wrapped.safetensors", wrapped))
    assert found.alpha == 8
    assert found.state().keys() == plain.keys()
    again = read_lora(write_lora(tmp_path / "diffusers.safetensors", plain))
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in plain.items())
    assert (again.rank, again.alpha) == (4, 4.0)


def test_the_adapter_config_beside_it_says_alpha_and_preset(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "lora.safetensors", lora_state(TINY))
    config = {"lora_target_preset": "flux2_klein", "lora_rank": 4, "lora_alpha": 2.0}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert read_lora(path).alpha == 2.0
    for change, message in (
        ({"lora_rank": 16}, r"lora\.safetensors: 'double_blocks.*has rank 4, adapter_config\.json beside it says 16"),
        (
            {"lora_target_preset": "attn"},
            r"lora\.safetensors: 'linear1' is unexpected: adapter_config\.json beside it says 'attn'",
        ),
        ({"lora_alpha": -1}, r"the alpha of .* is -1, must be a number above 0"),
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(CheckpointError, match=message):
            read_lora(path)


def without(state: dict[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in keys}


def broken_files() -> dict[str, tuple[dict[str, Tensor], str]]:
    state, key = lora_state(TINY), "double_blocks.1.img_attn.qkv"
    narrow = {name: tensor[:2] if "lora_A" in name else tensor[:, :2] for name, tensor in state.items()}
    block = without(state, f"{key}.lora_A.weight", f"{key}.lora_B.weight")
    larger = lora_state({**TINY, "num_attention_heads": 4})
    deeper = lora_state({**TINY, "num_single_layers": 4})
    return {
        "half a pair": (without(state, f"{key}.lora_B.weight"), rf"'{key}\.lora_B\.weight' is missing"),
        "a block": (block, rf"'{key}\.lora_A\.weight' is missing, which the base needs"),
        "a stranger": ({**state, "double_blocks.0.img_attn.rotary.lora_A.weight": torch.zeros(4, 4)}, r"rotary"),
        "no LoRA": ({"img_in.weight": torch.zeros(4, 4)}, r"unexpected key 'img_in\.weight'"),
        "another rank": (
            {**state, **{name: narrow[name] for name in narrow if name.startswith(key)}},
            rf"'{key}' has rank 2 and alpha 2, '.*' 4 and 4",
        ),
        "rows that do not part": ({**state, f"{key}.lora_B.weight": torch.zeros(95, 4)}, r"has 95 rows, which q, k and v"),
        "another base": (larger, r"is for a matrix \(64, 64\), that of the base is \(32, 32\)"),
        "more blocks": (deeper, r"'single_blocks\.3\.linear1' has no counterpart in the base"),
    }


@pytest.mark.parametrize("what", list(broken_files()))
def test_what_is_wrong_is_told_with_file_and_key(what: str, tmp_path: Path) -> None:
    state, message = broken_files()[what]
    path = write_lora(tmp_path / "wrong.safetensors", state)
    with pytest.raises(CheckpointError, match=message) as caught:
        check_fit(read_lora(path), on_meta(TINY), "the base")
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
