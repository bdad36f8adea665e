"""One trainer under every training command: devices and mixed precision by accelerate, EMA, resume, curves, validation.

A `Task` says what is trained and how a batch becomes losses; the trainer does the rest. Checkpoints are safetensors and
JSON only (nothing is ever unpickled), written aside and renamed, so that an interrupted run goes on from the last one.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.profiler import record_function

from iconface_video.errors import CheckpointError
from iconface_video.files import PARTIAL, left_aside, whole_folder
from iconface_video.lab.train.run_state import Averaged, checkpoints, load_optimizer_state, optimizer_state
from iconface_video.learn.muon import Muon
from iconface_video.models.load_options import has_fast_bfloat16
from iconface_video.settings import Count, CountOrZero, NonNegative, Share, Validated

PHASE = "phase: "
"""Before the marks that `lab.bench.training_step` reads from a profile."""
Losses = Iterator[tuple[str, Tensor, dict[str, float]]]


@dataclass(frozen=True)
class TrainSettings(Validated):
    """How a run is trained; what is trained is the task's business."""

    max_steps: Count = 100_000
    max_minutes: NonNegative = 0.0
    """End after this much wall time, interruptions not counted, the learning rate falling in step; 0: no limit."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Of the first module; the others (heads, judges) have AdamW."""
    muon_every: Count = 1
    """Of how many steps one moves Muon's matrices, that many times as far: it costs that much less."""
    learning_rate: NonNegative = 2e-4
    weight_decay: NonNegative = 0.01
    betas: tuple[Share, Share] = (0.9, 0.99)
    warmup_steps: CountOrZero = 200
    final_rate: Share = 0.1
    """Cosine end, as a share of learning_rate, reached at max_steps or max_minutes."""
    gradient_clip: NonNegative = 1.0
    accumulation: Count = 1
    ema_decay: Share = 0.999
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """accelerate's mixed precision; auto: bf16 where the hardware multiplies it (elsewhere it is many times slower), else no."""
    seed: CountOrZero = 42
    log_every: Count = 20
    validate_every: Count = 500
    checkpoint_minutes: NonNegative = 4.0
    keep_checkpoints: Count = 2
    early_stop: CountOrZero = 0
    """Validations without a better score after which training ends; 0: never."""
    cpu: bool = False
    """Stay on the processor although there is a GPU."""

    def mixed_precision(self) -> str:
        """What accelerate is told on this machine: no, bf16 or fp16."""
        if self.precision != "auto":
            return self.precision
        on_gpu = torch.cuda.is_available() and not self.cpu
        return "bf16" if has_fast_bfloat16(torch.device("cuda" if on_gpu else "cpu")) else "no"


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


class Trainer:
    """Runs a task in `folder`: config.json, curve.csv, curve.png, validation.csv, sheets, checkpoints."""

    def __init__(self, task: Task, settings: TrainSettings, folder: Path, config: dict[str, Any] | None = None) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        # Shared by the whole process; another stage's number format in it would refuse this one's.
        AcceleratorState._reset_state()
        self.task, self.settings, self.folder = task, settings, Path(folder)
        self.accelerator = Accelerator(
            mixed_precision=settings.mixed_precision(), gradient_accumulation_steps=settings.accumulation, cpu=settings.cpu
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
        self.step, self.seconds, self.best, self.stale = 0, 0.0, -float("inf"), 0
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
            return Muon(groups, rate, settings.betas, settings.weight_decay, every=settings.muon_every)
        return torch.optim.AdamW(groups, lr=rate, betas=settings.betas, weight_decay=settings.weight_decay)

    @property
    def is_done(self) -> bool:
        """Whether max_steps, max_minutes or early stop is reached: nothing is left to train."""
        settings = self.settings
        in_time = settings.max_minutes <= 0 or self.seconds < 60 * settings.max_minutes
        return self.step >= settings.max_steps or not in_time or 0 < settings.early_stop <= self.stale

    def run(
        self, on_log: Callable[[int, dict[str, float]], None] | None = None, deadline: float | None = None
    ) -> dict[str, float]:
        """Train until it is done, or until `deadline` (of time.monotonic); returns the last validation's figures.

        What a deadline cuts short goes on in a later run as if nothing had happened.
        """
        begun, before = time.monotonic(), self.seconds
        saved = begun
        settings, figures = self.settings, {}
        window: dict[str, list[float]] = {}
        batches = self.task.batches(settings.seed, self.step)
        for module in self.task.modules.values():
            module.train()
        logged_at, logged_step = time.monotonic(), self.step
        while not self.is_done:
            for name, value in self.train_step(next(batches)).items():
                window.setdefault(name, []).append(value)
            self.step += 1
            now = time.monotonic()
            self.seconds = before + now - begun
            if self.step % settings.log_every == 0:
                row = {name: sum(v) / len(v) for name, v in window.items()}
                row["steps_per_s"] = (self.step - logged_step) / max(now - logged_at, 1e-9)
                window, logged_at, logged_step = {}, now, self.step
                self._append("curve.csv", row)
                if on_log:
                    on_log(self.step, row)
            out_of_time = deadline is not None and now > deadline
            if self.step % settings.validate_every == 0 or out_of_time or self.is_done:
                figures = self._validate()
                if on_log:
                    on_log(self.step, figures)
                logged_at, logged_step = time.monotonic(), self.step
            if now - saved > 60 * settings.checkpoint_minutes:
                self.save()
                saved = now
            if out_of_time:
                break
        self.save()
        return figures

    def train_step(self, batch: Any) -> dict[str, float]:
        """Learn from one batch; the figures to log. What takes how long is marked for `lab.bench.training_step`."""
        settings, logged = self.settings, {}
        with self.accelerator.autocast():
            losses = self.task.losses(batch, self.step)
        players = iter(self.optimizers)  # a task's losses come in this order
        boundary = (self.step + 1) % settings.accumulation == 0
        while True:
            with self.accelerator.autocast(), record_function(f"{PHASE}forward {next(players, '')}"):
                item = next(losses, None)
            if item is None:
                break
            name, loss, figures = item
            if not torch.isfinite(loss):
                raise FloatingPointError(f"step {self.step}: the {name} loss is {loss.item()}; lower the learning rate")
            with record_function(f"{PHASE}backward {name}"):
                (loss / settings.accumulation).backward()
            logged.update(figures)
            if boundary:
                with record_function(f"{PHASE}optimizer {name}"):
                    logged[f"{name}_norm"] = self._optimize(name)
        if boundary:
            with record_function(f"{PHASE}average"):
                self.average.update(self.step)
        return logged

    def _optimize(self, name: str) -> float:
        """One step of an optimizer; the gradients' norm before it was clipped."""
        optimizer, rate = self.optimizers[name], self._rate()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip)
        moves = self.step // self.settings.accumulation % self.settings.muon_every == 0  # not every nth of a resumed run
        for group in optimizer.param_groups:
            group["lr"] = self.base_rates[name] * rate * group["factor"]
            group["moves"] = moves
        optimizer.step()
        for every in self.optimizers.values():  # one player's loss also leaves gradients on the other's weights
            every.zero_grad(set_to_none=True)
        return float(norm)

    def _rate(self) -> float:
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(1, settings.warmup_steps))
        in_time = self.seconds / (60 * settings.max_minutes) if settings.max_minutes > 0 else 0.0
        done = min(1.0, max(self.step / settings.max_steps, in_time))
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
            from iconface_video.lab.train.run_state import plot_curve
        except ImportError:  # matplotlib is a training extra; the CSV holds everything
            return
        plot_curve(self.folder)

    # ---- checkpoints

    def save(self) -> Path:
        """Write checkpoint-<step>, aside and renamed; older ones beyond keep_checkpoints go."""
        final = self.folder / f"checkpoint-{self.step:07d}"
        with whole_folder(final) as unfinished:
            for name, module in self.task.modules.items():
                save_file({k: v.contiguous() for k, v in module.state_dict().items()}, unfinished / f"{name}.safetensors")
            save_file({k: v.contiguous() for k, v in self.average.weights.items()}, unfinished / "average.safetensors")
            weights = self._weights()
            for name, optimizer in self.optimizers.items():
                save_file(optimizer_state(optimizer, weights), unfinished / f"optimizer-{name}.safetensors")
            state = {"step": self.step, "seconds": round(self.seconds, 1), "best": self.best, "stale": self.stale}
            (unfinished / "state.json").write_text(json.dumps(state), encoding="utf-8")
            shutil.rmtree(final, ignore_errors=True)
        for left in left_aside(final, PARTIAL):
            shutil.rmtree(left, ignore_errors=True)
        for old in checkpoints(self.folder)[: -self.settings.keep_checkpoints]:
            shutil.rmtree(old)
        return final

    def _weights(self) -> dict[str, Tensor]:
        """Every trained weight by name."""
        modules = self.task.modules.items()
        return {f"{module}.{name}": weight for module, owner in modules for name, weight in owner.named_parameters()}

    def _resume(self) -> None:
        found = checkpoints(self.folder)
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
        self.seconds = state.get("seconds", 0.0)  # older checkpoints have none
