"""What a run carries beside the weights: their average, the optimizers' moments as flat tensors, which checkpoints are there, and its
curves as a picture.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from iconface_video.errors import InputError


class Averaged:
    """Exponential moving average of a module's weights."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.weights = {k: v.detach().clone().float() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        # A young average follows quickly: the first weights are worth nothing.
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.weights[key].lerp_(value.float(), 1 - decay)
            else:
                self.weights[key] = value.detach().clone()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module carries the averaged weights inside."""
        trained = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        self.module.load_state_dict({k: v.to(trained[k].dtype) for k, v in self.weights.items()})
        try:
            yield
        finally:
            self.module.load_state_dict(trained)


def optimizer_state(optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An optimizer's moments as flat tensors, for safetensors: "name of the weight/moment". weights: by name."""
    return {
        f"{name}/{moment}": torch.as_tensor(value).contiguous()
        for name, weight in weights.items()
        for moment, value in optimizer.state.get(weight, {}).items()
    }


def load_optimizer_state(optimizer: torch.optim.Optimizer, flat: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_state`. ValueError for a moment that fits no weight."""
    for key, value in flat.items():
        name, _, moment = key.partition("/")
        weight = weights.get(name)
        if weight is None or (value.ndim and value.shape != weight.shape):
            raise ValueError(f"the optimizer's '{key}' fits no weight")
        optimizer.state[weight][moment] = value.to(weight.device) if value.ndim else value


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints of a run folder, oldest first; a copy under another name is the user's."""
    return sorted(folder.glob("checkpoint-" + 7 * "[0-9]"))


def newest_checkpoint(run_folder: Path) -> Path:
    """Of a run, or of its newest stage. Raises InputError where there is none."""
    found = checkpoints(newest_stage(run_folder))
    if not found:
        raise InputError(f"{run_folder}: no checkpoint in this folder. Name the folder of a finished or interrupted run.")
    return found[-1]


def newest_weights(run_folder: Path) -> Path:
    """The averaged weights of a run's newest checkpoint. Raises InputError."""
    return newest_checkpoint(run_folder) / "average.safetensors"


def newest_stage(run_folder: Path) -> Path:
    """Where the newest checkpoint is: in the run folder itself, or, of a run of several stages, in one of theirs."""
    return next((stage for stage in reversed(sorted(run_folder.glob("stage-*"))) if checkpoints(stage)), run_folder)


def _columns(path: Path) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    if not path.exists():
        return columns
    with path.open(newline="", encoding="utf-8") as rows:
        reader = csv.reader(rows)
        names = next(reader, [])
        for row in reader:
            # A row of an older run may not fit its header: it is not drawn. A figure that a row has not is left out.
            if len(row) == len(names):
                for name, value in zip(names, row):
                    columns.setdefault(name, []).append(float(value or "nan"))
    return columns


def plot_curve(folder: Path) -> None:
    """Draw curve.csv and validation.csv of a run folder into curve.png, one small plot per figure."""
    panels = []
    for name in ("curve.csv", "validation.csv"):
        columns = _columns(folder / name)
        panels += [(f"{name[:-4]}: {k}", columns["step"], v) for k, v in columns.items() if k != "step"]
    if not panels:
        return
    across = 4
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4 * across, 2.4 * down), layout="constrained")
    for position, (title, steps, values) in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, position)
        axes.plot(steps, values, linewidth=1)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.savefig(folder / "curve.png", dpi=80)
