"""The mean of models lies between them; strangers are refused."""

from __future__ import annotations

import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.models.checkpoints import load_model
from iconface_video.models.embedded import build_embedded
from iconface_video.models.registry import average_models
from iconface_video.models.saving import save_model


@pytest.fixture
def moved(tmp_path):
    """The shipped model with one weight moved."""
    model = load_model("embedded", dtype="float32")
    with torch.no_grad():
        model.autoencoder.coarse.decoder.head_out.bias.add_(1.0)
    return save_model(model, tmp_path / "moved", storage_dtype=torch.float16)


def test_shares_say_how_much_of_each(moved, tmp_path):
    average_models(["embedded", str(tmp_path / "moved")], tmp_path / "mean", [1, 3])
    one, mean = (load_model(source, dtype="float32").state_dict() for source in ("embedded", tmp_path / "mean"))
    name = "autoencoder.coarse.decoder.head_out.bias"
    torch.testing.assert_close(mean[name], one[name] + 0.75, atol=2e-3, rtol=0)
    torch.testing.assert_close(mean["autoencoder.coarse.encoder.stem.weight"], one["autoencoder.coarse.encoder.stem.weight"])


def test_strangers_and_wrong_shares_are_refused(tmp_path):
    save_model(build_embedded(base={"num_single_layers": 1}), tmp_path / "small")
    with pytest.raises(UsageError, match="another architecture than embedded"):
        average_models(["embedded", str(tmp_path / "small")], tmp_path / "mean")
    with pytest.raises(UsageError, match="one for each of the 2 models"):
        average_models(["embedded", "embedded"], tmp_path / "mean", [1.0])
    with pytest.raises(UsageError, match="at least two"):
        average_models(["embedded"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
