"""One trainer under every training command: devices and mixed precision by accelerate, EMA, resume, curves, validation.

A `Task` says what is trained and how a batch becomes losses; the trainer does the rest. Checkpoints are safetensors and
JSON only (nothing is ever unpickled), written aside and renamed, so that an interrupted run goes on from the last one.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from iconface_video.errors import CheckpointError
from iconface_video.settings import Count, CountOrZero, NonNegative, Share, Validated
from iconface_video.train.muon import Muon

Losses = Iterator[tuple[str, Tensor, dict[str, float]]]


@dataclass(frozen=True)
class TrainSettings(Validated):
    """How a run is trained; what is trained is the task's business."""

    max_steps: Count = 100_000
    max_minutes: NonNegative = 0.0
    """Stop after this much wall time in this process; 0: no limit."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Of the first module; the others (heads, judges) have AdamW."""
    learning_rate: NonNegative = 2e-4
    weight_decay: NonNegative = 0.01
    betas: tuple[Share, Share] = (0.9, 0.99)
    warmup_steps: CountOrZero = 200
    final_rate: Share = 0.1
    """Cosine end, as a share of learning_rate, reached at max_steps."""
    gradient_clip: NonNegative = 1.0
    accumulation: Count = 1
    ema_decay: Share = 0.999
    precision: Literal["no", "bf16", "fp16"] = "bf16"
    """accelerate's mixed precision."""
    seed: CountOrZero = 42
    log_every: Count = 20
    validate_every: Count = 500
    checkpoint_minutes: NonNegative = 4.0
    keep_checkpoints: Count = 2
    early_stop: CountOrZero = 0
    """Validations without a better score after which training ends; 0: never."""
    cpu: bool = False
    """Stay on the processor although there is a GPU."""


class Task(ABC):
    """What is trained. Modules are plain; the trainer moves them and owns their optimizers."""

    modules: dict[str, nn.Module]
    """Saved in every checkpoint. The first one is averaged (EMA) and validated."""
    device = torch.device("cpu")

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        """Optimizer name -> its parameters. By default one optimizer over the first module."""
        name = next(iter(self.modules))
        return {name: [p for p in self.modules[name].parameters() if p.requires_grad]}

    def rates(self) -> dict[str, float]:
        """Optimizer name -> factor on the learning rate."""
        return {}

    def faster(self) -> list[tuple[float, list[Tensor]]]:
        """(factor, weights) of those that learn at a multiple of their optimizer's rate; all others have 1."""
        return []

    @abstractmethod
    def batches(self, seed: int, start_step: int) -> Iterator[Any]:
        """Endless batches from `start_step` on, the same for the same seed and step."""

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, float]]:
        """One loss, for tasks with one optimizer."""
        raise NotImplementedError

    def losses(self, batch: Any, step: int) -> Losses:
        """(optimizer, loss, figures to log), one after another; each is stepped before the next is computed."""
        total, figures = self.loss(batch, step)
        yield next(iter(self.modules)), total, figures

    @abstractmethod
    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Figures with the averaged weights in place; "score" (higher is better) drives early stopping. May write sheets."""

    def to(self, device: torch.device) -> None:
        """Move what the task holds beside its modules."""
        self.device = device


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


class Trainer:
    """Runs a task in `folder`: config.json, curve.csv, curve.png, validation.csv, sheets, checkpoints."""

    def __init__(self, task: Task, settings: TrainSettings, folder: Path, config: dict[str, Any] | None = None) -> None:
        from accelerate import Accelerator

        self.task, self.settings, self.folder = task, settings, Path(folder)
        self.accelerator = Accelerator(
            mixed_precision=settings.precision, gradient_accumulation_steps=settings.accumulation, cpu=settings.cpu
        )
        self.device = self.accelerator.device
        torch.manual_seed(settings.seed)
        for module in task.modules.values():
            module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        task.to(self.device)
        self.main = next(iter(task.modules))
        self.average = Averaged(task.modules[self.main], settings.ema_decay)
        rates = task.rates()
        self.optimizers = {
            name: self._optimizer(name, parameters, settings.learning_rate * rates.get(name, 1.0))
            for name, parameters in task.parameters().items()
        }
        self.base_rates = {name: o.param_groups[0]["lr"] for name, o in self.optimizers.items()}
        self.step, self.best, self.stale = 0, -float("inf"), 0
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {"trainer": asdict(settings), **(config or {})}
        (self.folder / "config.json").write_text(json.dumps(whole, indent=2, default=str), encoding="utf-8")
        self._resume()

    def _optimizer(self, name: str, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        settings = self.settings
        factors = {id(weight): factor for factor, weights in self.task.faster() for weight in weights}
        by_factor: dict[float, list[nn.Parameter]] = {}
        for weight in parameters:
            by_factor.setdefault(factors.get(id(weight), 1.0), []).append(weight)
        # Decay is per rate: without the division a faster weight would be pulled to zero faster as well.
        decay = settings.weight_decay
        groups = [{"params": w, "factor": factor, "weight_decay": decay / factor} for factor, w in by_factor.items()]
        if settings.optimizer == "muon" and name == self.main:
            return Muon(groups, rate, settings.betas, settings.weight_decay)
        return torch.optim.AdamW(groups, lr=rate, betas=settings.betas, weight_decay=settings.weight_decay)

    def run(self, on_log: Callable[[int, dict[str, float]], None] | None = None) -> dict[str, float]:
        """Train until max_steps, max_minutes or early stop; returns the last validation's figures."""
        started = saved = time.monotonic()
        settings, figures = self.settings, {}
        window: dict[str, list[float]] = {}
        batches = self.task.batches(settings.seed, self.step)
        for module in self.task.modules.values():
            module.train()
        logged_at, logged_step = time.monotonic(), self.step
        while self.step < settings.max_steps:
            for name, value in self._train_step(next(batches)).items():
                window.setdefault(name, []).append(value)
            self.step += 1
            now = time.monotonic()
            if self.step % settings.log_every == 0:
                row = {name: sum(v) / len(v) for name, v in window.items()}
                row["steps_per_s"] = (self.step - logged_step) / max(now - logged_at, 1e-9)
                window, logged_at, logged_step = {}, now, self.step
                self._append("curve.csv", row)
                if on_log:
                    on_log(self.step, row)
            out_of_time = settings.max_minutes > 0 and now - started > 60 * settings.max_minutes
            if self.step % settings.validate_every == 0 or out_of_time or self.step == settings.max_steps:
                figures = self._validate()
                if on_log:
                    on_log(self.step, figures)
                logged_at, logged_step = time.monotonic(), self.step
            if now - saved > 60 * settings.checkpoint_minutes:
                self.save()
                saved = now
            if out_of_time or (settings.early_stop and self.stale >= settings.early_stop):
                break
        self.save()
        return figures

    def _train_step(self, batch: Any) -> dict[str, float]:
        settings, logged = self.settings, {}
        rate = self._rate()
        with self.accelerator.autocast():
            losses = self.task.losses(batch, self.step)
        boundary = (self.step + 1) % settings.accumulation == 0
        while True:
            with self.accelerator.autocast():
                item = next(losses, None)
            if item is None:
                break
            name, loss, figures = item
            if not torch.isfinite(loss):
                raise FloatingPointError(f"step {self.step}: the {name} loss is {loss.item()}; lower the learning rate")
            optimizer = self.optimizers[name]
            (loss / settings.accumulation).backward()
            logged.update(figures)
            if boundary:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                norm = nn.utils.clip_grad_norm_(parameters, settings.gradient_clip)
                logged[f"{name}_norm"] = float(norm)
                for group in optimizer.param_groups:
                    group["lr"] = self.base_rates[name] * rate * group["factor"]
                optimizer.step()
                for every in self.optimizers.values():  # one player's loss also leaves gradients on the other's weights
                    every.zero_grad(set_to_none=True)
        if boundary:
            self.average.update(self.step)
        return logged

    def _rate(self) -> float:
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(1, settings.warmup_steps))
        done = min(1.0, self.step / settings.max_steps)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(done * torch.pi)).item())
        return warm * (settings.final_rate + (1 - settings.final_rate) * cosine)

    def _validate(self) -> dict[str, float]:
        modules = self.task.modules.values()
        for module in modules:
            module.eval()
        with self.average.applied(), torch.no_grad(), self.accelerator.autocast():
            figures = self.task.validate(self.folder, self.step)
        for module in modules:
            module.train()
        score = figures.get("score")
        if score is not None:
            self.stale = 0 if score > self.best else self.stale + 1
            self.best = max(self.best, score)
        self._append("validation.csv", figures)
        self._plot()
        return figures

    def _append(self, name: str, row: dict[str, float]) -> None:
        """One more row; a figure that no row had before (a loss of pairs, say) makes a new column."""
        path = self.folder / name
        text = {"step": str(self.step), **{key: f"{value:.6g}" for key, value in sorted(row.items())}}
        rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as there:
                rows = list(csv.DictReader(there, restval=""))
        columns = list(dict.fromkeys(key for item in [*rows[:1], text] for key in item))
        if not rows or len(columns) > len(rows[0]):
            with path.open("w", newline="", encoding="utf-8") as out:
                writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore")
                writer.writeheader()
                writer.writerows([*rows, text])
            return
        with path.open("a", newline="", encoding="utf-8") as out:
            csv.DictWriter(out, columns, restval="").writerow(text)

    def _plot(self) -> None:
        try:
            from iconface_video.train.curves import plot_curve
        except ImportError:  # matplotlib is a training extra; the CSV holds everything
            return
        plot_curve(self.folder)

    # ---- checkpoints

    def save(self) -> Path:
        """Write checkpoint-<step>, aside and renamed; older ones beyond keep_checkpoints go."""
        final = self.folder / f"checkpoint-{self.step:07d}"
        aside = self.folder / f".{final.name}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for name, module in self.task.modules.items():
            save_file({k: v.contiguous() for k, v in module.state_dict().items()}, aside / f"{name}.safetensors")
        save_file({k: v.contiguous() for k, v in self.average.weights.items()}, aside / "average.safetensors")
        weights = self._weights()
        for name, optimizer in self.optimizers.items():
            save_file(optimizer_state(optimizer, weights), aside / f"optimizer-{name}.safetensors")
        state = {"step": self.step, "best": self.best, "stale": self.stale}
        (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(aside, final)
        for old in self.checkpoints()[: -self.settings.keep_checkpoints]:
            shutil.rmtree(old)
        return final

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(self.folder.glob("checkpoint-*"))

    def _weights(self) -> dict[str, Tensor]:
        """Every trained weight by name."""
        modules = self.task.modules.items()
        return {f"{module}.{name}": weight for module, owner in modules for name, weight in owner.named_parameters()}

    def _resume(self) -> None:
        found = self.checkpoints()
        if not found:
            return
        folder = found[-1]
        try:
            for name, module in self.task.modules.items():
                module.load_state_dict(load_file(folder / f"{name}.safetensors", device=str(self.device)))
            self.average.weights = load_file(folder / "average.safetensors", device=str(self.device))
            weights = self._weights()
            for name, optimizer in self.optimizers.items():
                load_optimizer_state(optimizer, load_file(folder / f"optimizer-{name}.safetensors"), weights)
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{folder}: cannot go on from this checkpoint ({error}). Was it written by another config? "
                "Name another run folder, or delete this one."
            ) from error
        self.step, self.best, self.stale = state["step"], state["best"], state["stale"]
