"""What a training step takes, counted without a GPU."""

from __future__ import annotations

import json

import pytest
import torch.nn.functional as F
from typer.testing import CliRunner

from iconface_video.cli.models_command import app
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.memory_plan import RESERVE, Architecture
from iconface_video.models.training_plan import training_needs
from tests.models.test_memory_plan import TINY_VAE
from tests.models.tiny_models import TINY

SMALL = Architecture(TINY, TINY_VAE, ConditioningSettings(memory_tokens=8, rank=4, identity_width=16))


def test_checkpointing_saves_memory_and_the_identity_loss_costs_some() -> None:
    attention = F.scaled_dot_product_attention
    whole = training_needs(SMALL, rank=4, size=64, references=1)
    kept = training_needs(SMALL, rank=4, size=64, references=1, checkpointing=False)
    flow = training_needs(SMALL, rank=4, size=64, references=1, with_identity_loss=False)
    assert F.scaled_dot_product_attention is attention
    assert whole.working_bytes < kept.working_bytes
    assert whole.flops > kept.flops  # what is not kept is computed again
    assert flow.flops < whole.flops
    assert whole.trained == kept.trained > 0
    assert whole.bytes == whole.frozen_bytes + 20 * whole.trained + whole.working_bytes + RESERVE


@pytest.mark.parametrize("extra", [[], ["--train"]])
def test_the_command_needs_neither_gpu_nor_weights(extra: list[str], tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICONFACE_HOME", str(tmp_path))
    arguments = ["memory", "flux-faceir", "--batch", "1", "--references", "0", "--size", "64", "--json", *extra]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert 7.7e9 < found["frozen_bytes" if extra else "weight_bytes"] < 8.1e9
    assert found["total_bytes"] > 8.9e9
