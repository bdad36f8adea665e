"""Settings of `iconface-video train encoder`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from iconface_video.settings import Count, Validated
from iconface_video.train.encoder import EncoderTaskSettings
from iconface_video.train.trainer import TrainSettings


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
