"""How fast a person is learnt, and how fast a model changes from one person to the next."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from iconface_video.faces.identity_encoder import load_identity_encoder
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.difference import Wearer, learnt_factors
from iconface_video.personalize.learning import PersonLearner
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.types import EMBEDDING_SIZE

_CHANGES = 5


@dataclass(frozen=True)
class PersonBench:
    """What was measured; medians."""

    model: str
    device: str
    threads: int
    size: int
    faces: int
    """A step."""
    steps: int
    """Of learning a person."""
    step_seconds: float
    face_cpu_ms: float
    """Processor time of one face in one step."""
    change_seconds: float
    """Putting a person's weights on and taking them off again."""
    kilobytes: float
    """That a person's weights take."""

    @property
    def person_seconds(self) -> float:
        """All steps, without the check on a held-out photo."""
        return self.steps * self.step_seconds


def bench_person(model: IConFaceModel, settings: PersonalizeSettings, rounds: int = 5, warm_up: int = 1) -> PersonBench:
    """So many steps on pictures that are made up."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (settings.size, settings.size, 3), dtype=np.uint8) for _ in range(3)]
    raw = rng.standard_normal((3, EMBEDDING_SIZE), dtype=np.float32) + 1
    learner = PersonLearner(model, load_identity_encoder("embedded", model.device), photos, raw, settings)
    wall, cpu = [], []
    for number in range(warm_up + rounds):
        begun, spent = time.perf_counter(), time.process_time()
        learner.step(number)
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - spent)
    factors = learnt_factors(learner.differences)
    wearer, changes = Wearer(model), []
    for _ in range(_CHANGES):
        begun = time.perf_counter()
        wearer.put_on(factors)
        wearer.take_off()
        changes.append(time.perf_counter() - begun)
    return PersonBench(
        model=model.traits.name,
        device=str(model.device),
        threads=torch.get_num_threads(),
        size=settings.size,
        faces=settings.faces,
        steps=settings.steps,
        step_seconds=statistics.median(wall[warm_up:]),
        face_cpu_ms=1000 * statistics.median(cpu[warm_up:]) / settings.faces,
        change_seconds=statistics.median(changes),
        kilobytes=sum(2 * (item.up.numel() + item.down.numel()) for item in factors.values()) / 1e3,
    )
