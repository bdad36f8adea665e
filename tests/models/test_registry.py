from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from iconface_video.cli.models_command import app, human_size
from iconface_video.errors import CheckpointError
from iconface_video.lab.bench.stages import Speed, bench_model
from iconface_video.models.saving import save_model
from tests.models.tiny_models import tiny_pixel_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry") / "model"
    save_model(tiny_pixel_model(), folder)
    return folder


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_list_names_licence_size_and_place_of_every_model() -> None:
    models = json.loads(run("list", "--json"))["models"]
    assert {model["model"] for model in models} >= {"embedded", "black-forest-labs/FLUX.2-klein-base-4B"}
    assert all(model["license"] and "folder" in model and model["bytes"] >= 0 for model in models)
    assert all(model["license"] in re.sub(r"\s+", " ", run("list")) for model in models)


def test_info_tells_what_the_checkpoint_says(saved: Path) -> None:
    found = json.loads(run("info", str(saved), "--json"))
    assert found["license"] == "research use; see the model card"
    assert found["bytes"] == sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    assert found["folder"] == str(saved)
    assert found["traits"]["prediction"] == "image"
    assert "max_references: 3" in run("info", str(saved))


def test_verify_finds_a_flipped_bit(saved: Path) -> None:
    assert "8 files have the listed size and SHA-256" in run("verify", str(saved))
    path = saved / "autoencoder" / "autoencoder.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(CheckpointError, match=r"autoencoder\.safetensors: its SHA-256 differs"):
            run("verify", str(saved))
    finally:
        path.write_bytes(whole)


def test_unknown_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="write hub:nobody/nothing-at-all"):
        run("info", "nobody/nothing-at-all")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        run("pull", "/nowhere/at/all")


def test_sizes_for_people() -> None:
    assert [human_size(n) for n in (812, 41_300_000, 7_920_000_000)] == ["1 kB", "41 MB", "7.9 GB"]


def test_bench_measures_every_way_and_counts_faces_per_second() -> None:
    found = bench_model(tiny_pixel_model(), size=32, references=2, batch=2, steps=1, rounds=3)
    assert found.uncached is not None
    for speed in (found.cached, found.uncached, found.without_references):
        assert 0 < speed.slowest <= speed.median <= speed.fastest
    assert found.cache_gain == pytest.approx(found.cached.median / found.uncached.median)
    assert Speed.of(4, [1.0, 2.0, 4.0]) == Speed(median=2.0, slowest=1.0, fastest=4.0)
    assert bench_model(tiny_pixel_model(), size=32, references=0, batch=1, steps=1, rounds=1).uncached is None
