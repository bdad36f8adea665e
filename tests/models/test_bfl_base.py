"""A FLUX.2 backbone in Black Forest Labs' names gives the same bits as the same weights in diffusers' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2Transformer2DModel
from safetensors.torch import save_file
from torch import Tensor

from iconface_video.errors import CheckpointError
from iconface_video.models.bfl_base import bfl_config, bfl_shapes, check_bfl_base, load_base, load_bfl_base
from iconface_video.models.conditioning import grid_positions, text_positions
from iconface_video.models.full_size import KLEIN_4B_BASE
from tests.models.published_form import full_config, in_bfl_names, tiny_base
from tests.models.tiny_models import TINY


def outputs(base: Any) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(2, 12, TINY["in_channels"], generator=generator)
    text = torch.randn(2, 5, TINY["joint_attention_dim"], generator=generator)
    with torch.no_grad():
        result: Tensor = base(
            hidden_states=hidden,
            encoder_hidden_states=text,
            timestep=torch.tensor([0.3, 0.9]),
            img_ids=grid_positions(0, (3, 4)),
            txt_ids=text_positions(5),
            return_dict=False,
        )[0]
    return result


def write(path: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, path)
    return path


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("changes", [{}, {"mlp_ratio": 2.71, "out_channels": 8}])
def test_both_names_give_the_same_bits(prefix: str, changes: dict[str, Any], tmp_path: Path) -> None:
    base = tiny_base(**changes)
    base.save_pretrained(tmp_path / "transformer")
    path = write(tmp_path / "bfl.safetensors", {prefix + name: tensor for name, tensor in in_bfl_names(base).items()})
    one_file, folder = (
        load_base(path, torch.float32).state_dict(),
        load_base(tmp_path / "transformer", torch.float32).state_dict(),
    )
    assert one_file.keys() == folder.keys()
    assert all(torch.equal(tensor, folder[name]) for name, tensor in one_file.items())
    if not changes:
        assert torch.equal(outputs(load_bfl_base(path, torch.float32)), outputs(base))


@pytest.mark.parametrize(
    "swapped", ["double_blocks.0.img_attn.qkv", "double_blocks.0.img_mlp.0", "final_layer.adaLN_modulation.1"]
)
def test_rows_in_another_order_would_be_seen(swapped: str, tmp_path: Path) -> None:
    base = tiny_base()
    state = in_bfl_names(base)
    first, second, *rest = state[f"{swapped}.weight"].chunk(3 if "qkv" in swapped else 2)
    state[f"{swapped}.weight"] = torch.cat([second, first, *rest])
    found = load_bfl_base(write(tmp_path / "bfl.safetensors", state), torch.float32)
    assert not torch.allclose(outputs(found), outputs(base), atol=1e-4)


def test_the_real_size_is_the_one_that_diffusers_builds() -> None:
    from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers

    meta = {name: torch.empty(shape, device="meta") for name, shape in bfl_shapes(full_config(KLEIN_4B_BASE)).items()}
    converted = convert_flux2_transformer_checkpoint_to_diffusers(dict(meta))
    with torch.device("meta"):
        expected = Flux2Transformer2DModel(**KLEIN_4B_BASE).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == {
        name: tuple(tensor.shape) for name, tensor in expected.items()
    }


def test_the_config_is_read_off_the_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "bfl.safetensors", in_bfl_names(tiny_base()))
    found = bfl_config(path)
    assert {name: found[name] for name in TINY} == TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_in.weight": None}, "'img_in.weight' is missing: no FLUX.2 backbone"),
        ({"double_blocks.0.img_attn.proj.weight": None}, "'double_blocks.0.img_attn.proj.weight' is missing"),
        ({"single_blocks.1.linear1.weight": torch.zeros(3, 32)}, r"'single_blocks.1.linear1.weight' is \(3, 32\), must be"),
        (
            {"double_blocks.0.img_attn.qkv.weight_scale": torch.zeros(1)},
            "unexpected key 'double_blocks.0.img_attn.qkv.weight_scale'",
        ),
        ({"img_in.weight": torch.full((32, 12), torch.nan)}, "'img_in.weight' holds values that are not finite"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(change: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    state = {**in_bfl_names(tiny_base()), **change}
    path = write(tmp_path / "bfl.safetensors", {name: tensor for name, tensor in state.items() if tensor is not None})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_bfl_base(path, torch.float32)
    assert str(path) in str(caught.value)


def test_checking_reads_headers_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "bfl.safetensors", in_bfl_names(tiny_base()))
    assert check_bfl_base(path)["num_single_layers"] == TINY["num_single_layers"]
