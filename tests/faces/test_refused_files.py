"""Files of the small networks that are no such files: refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from iconface_video.errors import CheckpointError
from iconface_video.faces.identity_encoder import convert_adaface, load_identity_encoder
from iconface_video.faces.landmark_network import load_landmark_network


def test_an_encoder_whose_weights_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"file": "encoder.safetensors", "sha256": "0"}))
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors: missing, although manifest\.json names it"):
        load_identity_encoder(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[1]", "null", '{"file": "a"}', "[" * 100_000], ids=["empty", "a list", "nothing", "no checksum", "nested"]
)
def test_an_encoder_without_a_usable_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json: no usable manifest of an identity encoder"):
        load_identity_encoder(tmp_path)


@pytest.mark.parametrize(
    ("held", "kind"),
    [([1, 2], "list"), (torch.zeros(3), "Tensor"), ({"state_dict": [1]}, "dict")],
    ids=["list", "tensor", "other"],
)
def test_a_foreign_checkpoint_without_a_state_dict(held: object, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "adaface.ckpt"
    torch.save(held, path)
    with pytest.raises(CheckpointError, match=rf"adaface\.ckpt: holds no state dict but {kind}"):
        convert_adaface(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "metadata",
    [None, {"kind": "identity_encoder", "format_version": "1"}, {"kind": "landmark_network", "format_version": "99"}],
    ids=["no word", "another kind", "a later format"],
)
def test_landmarks_of_another_kind_or_format(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "points.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"points\.safetensors: not a landmark network of format 1"):
        load_landmark_network(path)
