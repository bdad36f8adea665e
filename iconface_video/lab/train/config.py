"""Training configs of every stage: one YAML file, typed; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from iconface_video.errors import UsageError
from iconface_video.files import read_mapping
from iconface_video.lab.train.data import FaceSettings, MixSettings
from iconface_video.lab.train.encoder import EncoderTaskSettings
from iconface_video.lab.train.trainer import TrainSettings
from iconface_video.learn.loss_settings import LossSettings
from iconface_video.settings import MAX_STRENGTH, Count, CountOrZero, Validated, Within, from_mapping

T = TypeVar("T")


@dataclass(frozen=True)
class ValidationSettings(Validated):
    """Which faces every validation restores."""

    size: CountOrZero = 0
    """Of the faces (px); 0: the largest of the mix."""
    count: Count = 32
    strengths: tuple[Annotated[float, Within(0, MAX_STRENGTH)], ...] = (6.0, 12.0, 18.0)
    folders: tuple[str, ...] = ()
    """Sets with identities; empty: the first training folder."""


@dataclass(frozen=True)
class RestorerConfig(Validated):
    """`iconface-video train restorer`."""

    stage: Literal["autoencoder", "restorer", "coarse", "refiner"] = "autoencoder"
    """coarse, refiner: the passes of a cascade, which a model of the first generation becomes."""
    patch: Annotated[int, Within(16)] = 128
    """px: side of the patches that the refiner is trained on, a multiple of 16."""
    start_from: str | None = None
    """A run folder (its newest checkpoint), "embedded" or a model folder."""
    frozen: tuple[str, ...] = ()
    """Parts of the model that stay as they are, by the beginning of their weights' names: what is not learnt costs half or less."""
    identity_encoder: str | None = "embedded"
    """None: no anchor and no identity loss."""
    workers: CountOrZero = 1
    faces: FaceSettings = field(default_factory=FaceSettings)
    mix: MixSettings = field(default_factory=MixSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    trainer: TrainSettings = field(default_factory=TrainSettings)

    def with_data(self, folders: tuple[str, ...]) -> RestorerConfig:
        """The same config on other folders."""
        return replace(self, faces=replace(self.faces, folders=folders))


_CONFIG = "a training config (see configs/training)"
_RENAMED = {("mix", "soft_share"): "target_blur_probability"}
"""(section, name in configs of earlier releases) -> today's name."""


def _under_todays_names(mapping: dict[str, Any]) -> dict[str, Any]:
    """A config or one stage of it, in which names of earlier releases are replaced."""
    for (section, former), name in _RENAMED.items():
        values = mapping.get(section)
        if isinstance(values, dict) and former in values and name not in values:
            mapping = {**mapping, section: {name if key == former else key: value for key, value in values.items()}}
    return mapping


def _read(path: Path) -> dict[str, Any]:
    return _under_todays_names(read_mapping(path, _CONFIG))


def read_config(kind: type[T], path: Path) -> T:
    """Read a YAML config file."""
    return from_mapping(kind, _read(path), str(path))


def read_stages(path: Path) -> tuple[RestorerConfig, ...]:
    """Read a config of one stage, or of several: a list `stages`, each entry the settings of a stage or the name of another file.

    What stands beside `stages` holds for all of them, unless a stage says otherwise.
    """
    shared = _read(path)
    if "stages" not in shared:
        return (from_mapping(RestorerConfig, shared, str(path)),)
    stages = shared.pop("stages")
    if not isinstance(stages, list) or not stages:
        raise UsageError(f"{path}: 'stages' is a list of stages, got {stages!r}")
    found = []
    for number, stage in enumerate(stages, 1):
        where = f"{path}: stage {number}"
        if isinstance(stage, str):
            stage, where = _read(path.parent / stage), f"{where}, {stage}"
        if not isinstance(stage, dict):
            raise UsageError(f"{where}: holds settings by name, or is the name of a file, got {stage!r}")
        found.append(from_mapping(RestorerConfig, _laid_over(shared, _under_todays_names(stage)), where))
    return tuple(found)


def _laid_over(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _laid_over(shared[key], own[key])
        for key in own
        if isinstance(own[key], dict) and isinstance(shared.get(key), dict)
    }
    return {**shared, **own, **both}


@dataclass(frozen=True)
class EncoderConfig(Validated):
    """One training of the identity encoder."""

    folders: tuple[str, ...] = ()
    """Data sets: FFHQ-framed photos with an index.csv (file, split, identity)."""
    validation_folders: tuple[str, ...] = ()
    """Sets with identities whose `val` people are tested; empty: those of `folders` that have such people."""
    teacher: str | None = None
    """Folder for the teacher's vectors, made there when missing; None: no teacher, only names."""
    validation_photos: Count = 400
    task: EncoderTaskSettings = field(default_factory=EncoderTaskSettings)
    trainer: TrainSettings = field(default_factory=TrainSettings)

    def task_settings(self) -> EncoderTaskSettings:
        """The task's settings with the trainer's number of steps, by which its phases are measured."""
        return replace(self.task, total_steps=self.trainer.max_steps)
