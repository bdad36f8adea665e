"""Where a training step's processor time goes: part by part, forward and backward.

Parts are marked in the code by `torch.profiler.record_function` ("part: perceptual"), and the model's own modules by hooks. The
operations of the backward pass carry the number of the forward operation that they belong to, so that each part gets its own share of it.
The profiler tells shares; how much processor time a face takes altogether is measured on steps without it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.autograd.profiler import profile, record_function

from iconface_video.lab.train.trainer import PHASE, Trainer

PART = "part: "
REST = "the rest"
_BACKWARD_NODE = "autograd::engine::evaluate_function"
_DEPTH = 3
"""Words of a module's name by which modules are told apart."""


@dataclass(frozen=True)
class PartTime:
    """Processor time of one part, ms a face."""

    name: str
    forward: float
    backward: float

    @property
    def whole(self) -> float:
        return self.forward + self.backward


@dataclass(frozen=True)
class StepTimes:
    """Processor time of training steps, ms a face."""

    faces: int
    """That were trained on to measure it."""
    data: float
    """Making the batches, in this process."""
    step: float
    """All the rest: the parts below add up to it."""
    parts: tuple[PartTime, ...]
    """Of the passes forward and backward, longest first: the model's modules, each loss, the judge."""
    optimizers: dict[str, float]
    """By module; with clipping of gradients."""
    average: float
    other: float
    """Between those: sums, figures for the log."""

    @property
    def whole(self) -> float:
        return self.data + self.step


def measure_steps(trainer: Trainer, steps: int, warm_up: int, profiled: int) -> StepTimes:
    """Train `warm_up` steps, then `steps` with the clock, then `profiled` of the same batches again with the profiler."""
    batches = trainer.task.batches(trainer.settings.seed, 0)
    for module in trainer.task.modules.values():
        module.train()
    for _ in range(warm_up):
        _step(trainer, next(batches))
    kept: list[Any] = []
    data = passed = 0.0
    faces = 0
    for _ in range(steps):
        before = time.process_time()
        batch = next(batches)
        made = time.process_time()
        _step(trainer, batch)
        data, passed = data + made - before, passed + time.process_time() - made
        faces += len(batch.truth)
        kept = [*kept, batch][-profiled:]
    shares = _shares(trainer, kept)
    ms = 1000 / faces
    return _told(shares, faces, data * ms, passed * ms)


def _step(trainer: Trainer, batch: Any) -> None:
    trainer.train_step(batch)
    trainer.step += 1


def _shares(trainer: Trainer, batches: Sequence[Any]) -> dict[tuple[str, str], float]:
    """(phase, part) -> share of a step's time."""
    main = trainer.task.modules[trainer.main]
    with _marked(main), profile() as profiler:
        for batch in batches:
            _step(trainer, batch)
    spent = _attributed(profiler.function_events)
    whole = sum(spent.values())
    return {key: value / whole for key, value in spent.items()}


@contextmanager
def _marked(module: nn.Module) -> Iterator[None]:
    """Each call of a submodule from outside all of them is a part inside, under the first words of its name."""
    entered: list[Any] = []
    hooks = []

    def begin(name: str) -> Any:
        def hook(*_: Any) -> None:
            entered.append(None if entered else record_function(PART + name))
            if entered[-1] is not None:
                entered[-1].__enter__()

        return hook

    def end(*_: Any) -> None:
        mark = entered.pop()
        if mark is not None:
            mark.__exit__(None, None, None)

    for name, part in module.named_modules():
        if name:
            short = ".".join(name.split(".")[:_DEPTH])
            hooks += [part.register_forward_pre_hook(begin(short)), part.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _attributed(events: Iterable[Any]) -> dict[tuple[str, str], float]:
    """(phase, part) -> own time of all operations in it."""
    ordered = sorted(events, key=lambda event: event.time_range.start)
    places = {id(event): _place(event) for event in ordered}
    made_by: dict[int, str] = {}
    for event in ordered:  # a number belongs to the last operation that carries it: those before it made no node
        phase, part = places[id(event)]
        if event.sequence_nr >= 0 and phase.startswith("forward"):
            made_by[event.sequence_nr] = part
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for event in ordered:
        phase, part = places[id(event)]
        if phase.startswith("backward"):
            part = next(
                (made_by.get(item.sequence_nr, REST) for item in _upwards(event) if item.name.startswith(_BACKWARD_NODE)), REST
            )
        spent[phase, part] += event.self_cpu_time_total
    return spent


def _place(event: Any) -> tuple[str, str]:
    """(phase, outermost part); "" for what is in no phase."""
    phase, part = "", REST
    for item in _upwards(event):
        if item.name.startswith(PART):
            part = item.name.removeprefix(PART)
        elif item.name.startswith(PHASE):
            phase = item.name.removeprefix(PHASE)
            break
    return phase, part


def _upwards(event: Any) -> Iterator[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent


def _told(shares: dict[tuple[str, str], float], faces: int, data: float, step: float) -> StepTimes:
    found: dict[str, dict[str, float]] = {direction: defaultdict(float) for direction in ("forward", "backward")}
    optimizers: dict[str, float] = defaultdict(float)
    average = other = 0.0
    for (phase, part), share in shares.items():
        kind, _, who = phase.partition(" ")
        if kind in found and who:
            found[kind][f"{who}, {part}" if part == REST else part] += share * step
        elif kind == "optimizer":
            optimizers[who] += share * step
        elif kind == "average":
            average += share * step
        else:
            other += share * step
    names = {name for times in found.values() for name in times}
    parts = [PartTime(name, found["forward"][name], found["backward"][name]) for name in names]
    return StepTimes(faces, data, step, tuple(sorted(parts, key=lambda part: -part.whole)), dict(optimizers), average, other)
