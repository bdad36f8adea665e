"""Files of a model that are no such files: each is refused by name, before anything large is read."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models.bfl_base import bfl_config
from iconface_video.models.bfl_lora import read_lora
from iconface_video.models.checkpoint_files import (
    DIFFUSERS_WEIGHTS,
    MANIFEST,
    read_json,
    read_settings,
    read_sharded_shapes,
    verify_manifest,
)
from iconface_video.models.checkpoint_index import INDEX, checkpoint_traits
from iconface_video.models.download import OFFLINE, HubPart, list_part
from tests.models.published_form import lora_state, write_lora
from tests.models.tiny_models import TINY, tiny_pixel_model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", r"not valid JSON \(Expecting value", id="empty"),
        pytest.param('{"a": 1', r"not valid JSON", id="cut short"),
        pytest.param("[1, 2]", r"a JSON object was expected, this is a list", id="a list"),
        pytest.param("[" * 200_000, r"not valid JSON \(nested too deep\)", id="nested without end"),
        pytest.param('"text"', r"a JSON object was expected, this is a str", id="a text"),
    ],
)
def test_settings_that_are_no_json_object(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        read_json(path)


def test_settings_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes('{"name": "é"}'.encode("utf-16"))
    with pytest.raises(CheckpointError, match=r"config\.json: not valid JSON .*Download or save"):
        read_json(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"num_layers": 10**6}, r"'num_layers' is 1000000, must be at most 512", id="layers"),
        pytest.param({"sizes": [1] * 1000}, r"'sizes' has 1000 entries", id="entries"),
        pytest.param({"deep": {"width": float("inf")}}, r"'width' is inf, must be at most", id="infinite"),
    ],
)
def test_numbers_that_no_model_has(values: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=message):
        read_settings(path)


@pytest.mark.parametrize("weight_map", [None, {}, [], "one.safetensors"], ids=["missing", "empty", "a list", "a text"])
def test_an_index_of_shards_that_names_none(weight_map: object, tmp_path: Path) -> None:
    (tmp_path / f"{DIFFUSERS_WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=r"index\.json: names no files\. Download or save the checkpoint again"):
        read_sharded_shapes(tmp_path)


def test_a_shard_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / f"{DIFFUSERS_WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"a": "../../other.safetensors"}}))
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name}/other\.safetensors: this file of the checkpoint is missing"):
        read_sharded_shapes(tmp_path)  # never outside the folder


@pytest.mark.parametrize("listed", [None, {}, ["a"]], ids=["missing", "empty", "a list"])
def test_a_manifest_that_lists_no_files(listed: object, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"files": listed}))
    with pytest.raises(CheckpointError, match=r"manifest\.json: lists no files"):
        verify_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_a_manifest_that_leads_out_of_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"files": {name: {"bytes": 1, "sha256": ""}}}))
    with pytest.raises(CheckpointError, match="is no file of this folder"):
        verify_manifest(tmp_path)


def test_traits_that_lack_an_entry(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"format_version": 1, "traits": {"crop_sizes": [512]}}))
    with pytest.raises(CheckpointError, match=r"model_index\.json: "):
        checkpoint_traits(tmp_path)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (0, 4)], ids=str)
def test_a_backbone_whose_sizes_no_backbone_has(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "flux.safetensors"
    save_file({"img_in.weight": torch.zeros(shape)}, path)
    with pytest.raises(CheckpointError, match=r"'img_in\.weight' is \(.*\), which no FLUX\.2 backbone has"):
        bfl_config(path)


def test_a_backbone_in_other_names(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"unet.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(CheckpointError, match=r"'img_in\.weight' is missing: no FLUX\.2 backbone in Black Forest Labs' names"):
        bfl_config(path)


def test_halves_of_a_lora_that_do_not_go_together(tmp_path: Path) -> None:
    state = lora_state(TINY)
    name = next(key for key in state if "lora_A" in key)
    state[name] = torch.cat([state[name]] * 2)
    with pytest.raises(CheckpointError, match=r"has a lora_A \(.*\) and a lora_B \(.*\), which do not go together"):
        read_lora(write_lora(tmp_path / "lora.safetensors", state))


def test_half_a_lora(tmp_path: Path) -> None:
    state = lora_state(TINY)
    del state[next(key for key in state if "lora_B" in key)]
    with pytest.raises(CheckpointError, match=r"incomplete, '.*lora_B\.weight' is missing"):
        read_lora(write_lora(tmp_path / "lora.safetensors", state))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub whose every repository holds one file."""
    file = SimpleNamespace(rfilename="README.md", size=3, lfs=None, blob_id="0" * 40)
    answer = SimpleNamespace(siblings=[file], sha="c0ffee")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: answer)
    monkeypatch.delenv(OFFLINE, raising=False)


def test_a_repository_without_the_file_that_is_wanted(hub: None) -> None:
    with pytest.raises(CheckpointError, match=r"some/one: revision 'main' has no file 'lora\.safetensors'"):
        list_part(HubPart("some/one", ("lora.safetensors",)))


def test_a_repository_with_nothing_of_the_kind_that_is_wanted(hub: None) -> None:
    with pytest.raises(CheckpointError, match=r"some/one: revision 'main' has none of the files vae/\*, \*\.json"):
        list_part(HubPart("some/one", ("vae/*", "*.json")))


@pytest.mark.parametrize("shape", [(1, 512), (2, 256), (512,)], ids=str)
def test_anchors_of_another_count_or_length(shape: tuple[int, ...]) -> None:
    model = tiny_pixel_model()
    crops, noise = np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, *model.noise_shape(32)), np.float32)
    with pytest.raises(UsageError, match=r"anchors are \(2, 512\), got "):
        model.restore_crops(crops, np.zeros(shape, np.float32), [None, None], noise)
