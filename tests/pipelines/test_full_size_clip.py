"""A clip through a tiny checkpoint of exactly the published form: restored end to end, killed and gone on with, and told about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from iconface_video.cli.main import main
from iconface_video.models.convert import BaseChoice, LoraChoice, convert_lora
from iconface_video.models.download import FACEIR_TRAITS
from iconface_video.pipelines.restore import restore_video
from iconface_video.restore.iconface import load_face_model
from iconface_video.session.fingerprint import hash_weights
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.types import IdentityAnchor
from tests.models.published_form import lora_state, write_klein, write_lora
from tests.models.tiny_models import TINY
from tests.pipelines.conftest import grey_embed

NO_PATHWAY = "it has no identity pathway, so the person is told by the reference pictures alone"


@pytest.fixture(scope="module")
def faceir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faceir")
    klein = write_klein(root / "klein")
    lora = write_lora(root / "lora.safetensors", lora_state(TINY, alpha=4))
    traits = replace(FACEIR_TRAITS, crop_sizes=(64,), default_steps=2)
    convert_lora(LoraChoice(lora, traits=traits), root / "tiny-faceir", BaseChoice(str(klein)), dtype=torch.float32)
    return root / "tiny-faceir"


def arguments(clip: Path, output: Path, model: Path) -> list[str]:
    given = ["run", str(clip), "-o", str(output), "--model", str(model), "--json", "--dtype", "float32", "--threads", "1"]
    return [
        *given,
        "--detection-size",
        "256",
        "--segment-seconds",
        "0.4",
        "--encoder-preset",
        "superfast",
        "--batch",
        "2",
        "--end",
        "1.3",
    ]


def kill_while_restoring(command: list[str]) -> None:
    """The command line in a process of its own, killed (no farewell) once some faces are restored."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = [sys.executable, "-m", "iconface_video", *command]
    with subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("stage") == "restore" and event.get("done", 0) >= 6:
                process.kill()
                break
        process.wait()
    assert process.returncode not in (0, 2)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_it_goes_on_and_says_what_it_is(
    faceir: Path, face_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    kill_while_restoring(arguments(face_clip, output, faceir))
    assert not output.exists()
    assert main(arguments(face_clip, output, faceir)) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("going on from an earlier run" in note for note in report["notes"])
    assert f"model flux-faceir ({faceir}): {NO_PATHWAY}" in report["notes"]
    assert report["faces_restored"] > 6
    assert main(arguments(face_clip, whole, faceir)) == 0
    assert output.read_bytes() == whole.read_bytes()


def test_from_the_embedded_models_result(faceir: Path, face_clip: Path, tmp_path: Path) -> None:
    settings = RunSettings(
        survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
        restore=RestoreSettings(str(faceir), steps=1, start_sigma=0.3, dtype="float32", batch=8),
        encode=EncodeSettings(codec="ffv1"),
    )
    made = {}
    for start in ("input", "embedded"):
        chosen = replace(settings, restore=replace(settings.restore, start_from=start))
        made[start] = restore_video(
            face_clip, tmp_path / f"{start}.mkv", settings=chosen, embed=grey_embed, end=Fraction(1, 2)
        ).output.read_bytes()
    assert made["input"] != made["embedded"]


def test_a_face_by_itself_is_the_face_in_a_batch(faceir: Path) -> None:
    """Also from another model's result, whose noise is the same for every face."""
    settings = RestoreSettings(str(faceir), steps=2, start_sigma=0.5, start_from="embedded", dtype="float32")
    model = load_face_model(settings)
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    noise = rng.standard_normal((2, *model.noise_shape(64)), np.float32)
    photo = rng.integers(0, 256, (64, 64, 3), np.uint8)
    anchor = IdentityAnchor(np.eye(512, dtype=np.float32)[0], 1.0, np.ones(1, np.float32), (photo,), "user")
    contexts = [model.prepare(anchor, 64)] * 2
    both = model.restore(crops, contexts, noise)
    again = model.restore(crops, contexts, noise)
    swapped = model.restore(crops[::-1], contexts, noise[::-1])
    assert np.array_equal(both, again)
    assert np.array_equal(both, swapped[::-1])


def test_weights_of_base_and_start_count(faceir: Path) -> None:
    plain = RestoreSettings(str(faceir))
    assert hash_weights(plain) == hash_weights(replace(plain, start_from="embedded"))  # not used at full noise
    assert hash_weights(plain) != hash_weights(replace(plain, start_from="embedded", start_sigma=0.5))
    base = json.loads((faceir / "model_index.json").read_text())["base"]
    weights = Path(base) / "transformer" / "diffusion_pytorch_model.safetensors"
    before, data = hash_weights(plain), weights.read_bytes()
    try:
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert hash_weights(plain) != before
    finally:
        weights.write_bytes(data)
