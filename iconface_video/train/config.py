"""Training configs: one YAML file, typed; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from iconface_video.settings import Count, CountOrZero, Validated, Within, from_mapping
from iconface_video.train.data import FaceSettings, MixSettings
from iconface_video.train.degradations.picture import MAX_STRENGTH
from iconface_video.train.loss_settings import LossSettings
from iconface_video.train.trainer import TrainSettings
from iconface_video.yaml_file import read_mapping

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

    stage: Literal["autoencoder", "restorer"] = "autoencoder"
    start_from: str | None = None
    """A run folder (its newest checkpoint), "embedded" or a model folder."""
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


def read_config(kind: type[T], path: Path) -> T:
    """Read a YAML config file."""
    return from_mapping(kind, read_mapping(path, "a training config (see configs/training)"), str(path))
