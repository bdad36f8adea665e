"""The one record of what made an output: the mark in its metadata and batch's list of what is finished both come from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any

from iconface_video import __version__
from iconface_video.pipelines.finding import ReferenceChoice
from iconface_video.restore.model import FaceModel
from iconface_video.session.fingerprint import differences, fingerprint, hash_file, hash_folder, hash_weights, output_mark
from iconface_video.settings import RestoreSettings, RunSettings, recorded

_SHORT = 16
_SHOWN = ("seed", "steps", "guidance_scale", "crop_size", "start_sigma", "noise")
"""Restore settings that the mark states in plain."""


def made_of(
    settings: RunSettings, references: ReferenceChoice, start: Fraction | None, end: Fraction | None, model: FaceModel | None
) -> dict[str, Any]:
    """All that an output depends on, but for its input. Raises InputError for a photo, CheckpointError for a model.

    model: one that is given; None: the one that the settings name.
    """
    # Who does the work changes nothing in the result.
    values = {item.name: recorded(getattr(settings, item.name)) for item in fields(settings) if item.name != "engine"}
    return {
        "settings": values,
        "photos": photo_parts(references),
        "stretch": [None if moment is None else str(moment) for moment in (start, end)],
        "model": _weights(settings, references) if model is None else model.name,
        "version": __version__,
    }


def _weights(settings: RunSettings, references: ReferenceChoice) -> str | None:
    """Of the model's files; None where the model is not asked."""
    if settings.render.strength <= 0 and not references:
        return None
    return hash_weights(settings.restore)


def faces_mark(settings: RestoreSettings, made: Mapping[str, Any]) -> dict[str, Any]:
    """What the mark says of how faces were restored. made: of `made_of`; blending and encoding may change afterwards."""
    return {**shown_settings(settings), "made_from": _of_faces(made)}


def shown_settings(settings: RestoreSettings) -> dict[str, Any]:
    """What the mark states in plain of how faces were restored."""
    return {name: getattr(settings, name) for name in _SHOWN}


def mark_differences(mark: Mapping[str, Any], settings: RunSettings, made: Mapping[str, Any]) -> list[str]:
    """How an output's mark differs from what is wanted, for people; empty: not at all."""
    wanted = {"version": __version__, **faces_mark(settings.restore, made), **output_mark(settings.render, settings.encode)}
    found = differences({name: mark.get(name) for name in wanted}, wanted)
    plain = [text for text in found if not text.startswith("made_from ")]
    return plain or (["the model, photos or other settings"] if found else [])


def photo_parts(references: ReferenceChoice) -> Mapping[str, Any]:
    """Raises InputError for a photo that cannot be read."""
    shown = [[path.name, hash_file(path)] for path in references.photos]
    known = [[name, hash_folder(path) if path.is_dir() else hash_file(path)] for name, path in references.people]
    return {"shown": shown, "known": known, "file": None if references.file is None else hash_file(references.file)}


def _of_faces(made: Mapping[str, Any]) -> str:
    values = {name: value for name, value in made.items() if name not in ("settings", "version")}
    sections = {name: value for name, value in made["settings"].items() if name not in ("render", "encode")}
    return fingerprint(**values, settings=sections)[:_SHORT]
