"""A run packed into one file goes on elsewhere as if nothing had happened, at a quarter of the size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from iconface_video.cli.main import main
from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.lab.train.run_export import export_run, import_run
from iconface_video.lab.train.run_state import checkpoints
from iconface_video.lab.train.trainer import Losses, Task, Trainer, TrainSettings

SETTINGS = TrainSettings(
    max_steps=12, optimizer="muon", learning_rate=3e-3, warmup_steps=1, validate_every=99, log_every=1, precision="no", cpu=True
)


class TwoPlayers(Task):
    """A network with large and small weights, and a judge with an optimizer of its own."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(24, 256), nn.Tanh(), nn.BatchNorm1d(256), nn.Linear(256, 24))
        self.modules = {"model": network, "judge": nn.Linear(24, 256)}

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        return {name: [p for p in module.parameters() if p.requires_grad] for name, module in self.modules.items()}

    def batches(self, seed: int, start_step: int) -> Iterator[Tensor]:
        step = start_step
        while True:
            yield torch.rand(32, 24, generator=torch.Generator().manual_seed(seed * 1000 + step))
            step += 1

    def losses(self, batch: Tensor, step: int) -> Losses:
        made = self.modules["model"](batch)
        error = (made - batch.flip(1)).square().mean() + 0.01 * self.modules["judge"](made).square().mean()
        yield "model", error, {"loss": error.item()}
        judged = (self.modules["judge"](made.detach()) - 1).square().mean()
        yield "judge", judged, {"judge": judged.item()}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        self.modules["model"].eval()
        return {"score": -float(self.modules["model"](torch.ones(1, 24)).square().mean())}


def run(folder: Path, steps: int) -> list[dict[str, float]]:
    """The figures of every step."""
    rows: list[dict[str, float]] = []
    Trainer(TwoPlayers(), replace(SETTINGS, max_steps=steps), folder).run(lambda step, row: rows.append(row))
    return rows


@pytest.mark.parametrize("moments", [True, False])
def test_an_imported_run_goes_on_to_the_same_losses(tmp_path: Path, moments: bool) -> None:
    run(tmp_path / "run", 6)
    packed = tmp_path / "carried" / "run.safetensors"
    size = export_run(tmp_path / "run", packed, moments)
    assert size == packed.stat().st_size
    original = sum(file.stat().st_size for file in checkpoints(tmp_path / "run")[-1].iterdir())
    assert size < 0.5 * original
    import_run(packed, tmp_path / "elsewhere")
    assert not list(tmp_path.glob("*.partial"))
    here, there = run(tmp_path / "run", 9), run(tmp_path / "elsewhere", 9)
    for name in ("loss", "judge"):
        assert there[0][name] == pytest.approx(here[0][name], rel=1e-3)
    if moments:
        assert there[2]["loss"] == pytest.approx(here[2]["loss"], rel=5e-3)
    assert there[-1]["score"] == pytest.approx(here[-1]["score"], rel=0.02)
    curves = [(tmp_path / name / "curve.csv").read_text().splitlines() for name in ("run", "elsewhere")]
    assert [row.split(",")[0] for row in curves[1]] == [row.split(",")[0] for row in curves[0]]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_averages_and_moments_come_back_as_they_were(tmp_path: Path, is_frozen: bool) -> None:
    task = TwoPlayers()
    task.modules["model"][0].weight.requires_grad_(not is_frozen)  # type: ignore[index]
    Trainer(task, replace(SETTINGS, max_steps=6), tmp_path / "run").run()
    before = checkpoints(tmp_path / "run")[-1]
    export_run(tmp_path / "run", tmp_path / "run.safetensors")
    after = import_run(tmp_path / "run.safetensors", tmp_path / "elsewhere")
    assert after.name == before.name
    assert {file.name for file in after.iterdir()} == {file.name for file in before.iterdir()}
    assert json.loads((after / "state.json").read_text()) == json.loads((before / "state.json").read_text())
    for file in before.glob("*.safetensors"):
        wanted, found = load_file(file), load_file(after / file.name)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert found[name].dtype == value.dtype
            off = (found[name].double() - value.double()).norm() / value.double().norm().clamp(min=1e-12)
            assert off < (0.02 if file.name.startswith("optimizer") else 1e-3), (file.name, name)


def test_what_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        export_run(tmp_path, tmp_path / "x.safetensors")
    run(tmp_path / "run", 2)
    packed = tmp_path / "x.safetensors"
    export_run(tmp_path / "run", packed)
    with pytest.raises(UsageError, match="there already"):
        export_run(tmp_path / "run", packed)
    with pytest.raises(UsageError, match="not an empty folder"):
        import_run(packed, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"not a run of `train export-run`"):
        import_run(checkpoints(tmp_path / "run")[-1] / "model.safetensors", tmp_path / "new")
    with pytest.raises(InputError, match="cannot be read"):
        import_run(tmp_path / "absent", tmp_path / "new")
    packed.write_bytes(packed.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="damaged"):
        import_run(packed, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "checkpoint-0000002/../../curve.csv"])
def test_a_file_writes_nowhere_but_in_its_folder(tmp_path: Path, name: str) -> None:
    texts = {"checkpoint-0000002/state.json": "{}", name: "evil"}
    about = {"format": "iconface-video run 1", "texts": json.dumps(texts), "parts": "[]"}
    save_file({"average:x": torch.zeros(2)}, tmp_path / "x.safetensors", about)
    with pytest.raises(CheckpointError, match="damaged"):
        import_run(tmp_path / "x.safetensors", tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("evil.txt"))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run", 2)
    assert main(["train", "export-run", str(tmp_path / "run"), "-o", str(tmp_path / "x.safetensors")]) == 0
    assert "MB" in capsys.readouterr().out
    assert main(["train", "import-run", str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "new")]) == 0
    assert "checkpoint-0000002" in capsys.readouterr().out
    assert main(["train", "import-run", str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "new")]) == 2
