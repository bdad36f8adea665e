"""What a training run leaves can be exported, whatever its weights began from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from iconface_video.errors import CheckpointError, InputError
from iconface_video.models.checkpoints import load_model
from iconface_video.models.embedded import build_embedded
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import PixelAutoencoder, PixelAutoencoderSettings
from iconface_video.pipelines.train import export_restorer


def run_folder(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    checkpoint = folder / "checkpoint-0000007"
    checkpoint.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, checkpoint / "average.safetensors")
    return folder


def shipped() -> IConFaceModel:
    return load_model("embedded", dtype="float32")


def new() -> IConFaceModel:
    return build_embedded()


def without_detail() -> IConFaceModel:
    return build_embedded(PixelAutoencoderSettings())


@pytest.mark.parametrize("make", [shipped, new, without_detail])
def test_a_run_of_any_age_is_exported_as_it_was(tmp_path: Path, make) -> None:
    model = make()
    export_restorer(run_folder(tmp_path / "run", model.state_dict()), tmp_path / "model")
    exported = load_model(str(tmp_path / "model"), dtype="float32")
    wanted = model.state_dict()
    found = exported.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value.half().float(), rtol=1e-3, atol=1e-6)
    assert "_name_or_path" not in (tmp_path / "model" / "transformer" / "config.json").read_text()


def test_the_first_stage_alone_becomes_a_model(tmp_path: Path) -> None:
    autoencoder = PixelAutoencoder(build_embedded().autoencoder.settings)
    export_restorer(run_folder(tmp_path / "run", autoencoder.state_dict()), tmp_path / "model")
    found = load_model(str(tmp_path / "model"), dtype="float32").autoencoder.state_dict()
    torch.testing.assert_close(found["encoder.stem.weight"], autoencoder.encoder.stem.weight.half().float())


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        export_restorer(tmp_path, tmp_path / "model")
    with pytest.raises(CheckpointError, match="not weights of the embedded model"):
        export_restorer(run_folder(tmp_path / "run", {"stranger": torch.zeros(3)}), tmp_path / "model")
    assert not (tmp_path / "model").exists()
