"""Which settings a run takes: those that are given, or a preset with what differs from it; where no preset is named, the one that
suits the recording, which is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iconface_video.configs import SettingsChoice
from iconface_video.errors import DecodeError
from iconface_video.session.chosen_preset import ChosenPreset, kept_choice
from iconface_video.session.work import work_folder_of
from iconface_video.settings import RunSettings
from iconface_video.types import VideoInfo
from iconface_video.video.kind import PRESETS, kind_of
from iconface_video.video.output_size import plan_enlarged
from iconface_video.video.reader import VideoReader


@dataclass(frozen=True)
class ChosenSettings:
    """Settings, and the preset that they started from (None: not known)."""

    settings: RunSettings
    preset: ChosenPreset | None = None


Choice = RunSettings | SettingsChoice | ChosenSettings | None
"""None: all that is not the preset stays at its default."""


def choose_settings(
    input: Path,
    choice: Choice = None,
    output: Path | None = None,
    work: Path | None = None,
    *,
    fresh: bool = False,
    known: ChosenPreset | None = None,
) -> ChosenSettings:
    """The settings for one video. It is looked at (seconds) only where no preset is named, and no unfinished run has done so.

    output, work, fresh: as they will be asked for; they say where an unfinished run would lie.  known: what was found of this
    very file before.  Raises what reading the file and planning the output raise.
    """
    choice = SettingsChoice() if choice is None else choice
    if isinstance(choice, RunSettings):
        return ChosenSettings(choice)
    if isinstance(choice, ChosenSettings):
        return choice
    if choice.preset is not None:
        return ChosenSettings(choice.settings(), ChosenPreset(_short(choice.preset)))
    chosen = known or _kept(input, choice, output, work, fresh) or _looked_at(input)
    return ChosenSettings(choice.settings(chosen.name), chosen)


def _short(preset: str) -> str:
    """A user's own file by its name: where it lies is nobody's business."""
    return Path(preset).name if preset.lower().endswith((".yaml", ".yml")) else preset


def _kept(input: Path, choice: SettingsChoice, output: Path | None, work: Path | None, fresh: bool) -> ChosenPreset | None:
    if fresh:
        return None
    base = choice.settings()
    with VideoReader(input, base.read) as reader:
        place = work or work_folder_of(_target(reader.info, output, base))
        return kept_choice(place, reader.file)


def _target(info: VideoInfo, output: Path | None, settings: RunSettings) -> Path:
    to_come = output is not None and not output.parent.exists()
    return plan_enlarged(info, output, settings.encode, settings.render, force=True, folder_to_come=to_come).path


def _looked_at(input: Path) -> ChosenPreset:
    with VideoReader(input) as reader:
        try:
            verdict = kind_of(reader.info)
        except DecodeError:  # the run may still read most of it
            return ChosenPreset(PRESETS["unknown"], "unknown", "not clear, as too little of it can be decoded")
    return ChosenPreset(verdict.preset, verdict.kind, verdict.sentence)
