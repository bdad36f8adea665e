"""What the result of each stage depends on, in plain values: the parts of its fingerprint.

Each stage's parts hold what came out of the stage before, not how it was made: a survey that is made again and comes out the
same leaves the restored faces valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iconface_video.restore.model import FaceModel, ModelFacts
from iconface_video.session.clip import Clip
from iconface_video.session.fingerprint import hash_anchors, hash_file, hash_folder, hash_survey, library_versions
from iconface_video.settings import AnchorSettings, ReadSettings, RestoreSettings, RunSettings, recorded
from iconface_video.types import IdentityAnchor, Survey

EMBEDDED = "embedded"
_HOW_NOT_WHAT = ("device", "dtype")
"""Restore settings that are wishes; what became of them is part of the model's identity."""


def input_parts(clip: Clip, read: ReadSettings) -> dict[str, Any]:
    """The stretch of video that a run works on. Raises InputError when the file cannot be read, or has changed."""
    stretch = [None if moment is None else moment.pts for moment in (clip.start, clip.end)]
    return {"input": clip.reader.file.identity(), "read": asdict(read), "stretch": stretch}


def survey_parts(source: Mapping[str, Any], settings: RunSettings, embedder: str = EMBEDDED) -> dict[str, Any]:
    """source: of `input_parts`.  embedder: name of what describes identities."""
    return {
        **source,
        "survey": asdict(settings.survey),
        "grouping": {"same_person_similarity": settings.anchors.same_person_similarity},
        "embedder": embedder,
        "libraries": library_versions(),
    }


def anchor_parts(
    source: Mapping[str, Any],
    survey: Survey,
    photos: Sequence[Path],
    people: Sequence[tuple[str, Path]],
    settings: AnchorSettings,
    embedder: str = EMBEDDED,
) -> dict[str, Any]:
    """photos, people: as the user gave them. Raises InputError for a photo that cannot be read."""
    shown = [[path.name, hash_file(path)] for path in photos]
    known = [[name, hash_folder(path) if path.is_dir() else hash_file(path)] for name, path in people]
    return {
        **source,
        "survey": hash_survey(survey),
        "photos": shown,
        "people": known,
        "anchors": asdict(settings),
        "embedder": embedder,
        "libraries": library_versions(),
    }


def restore_parts(
    source: Mapping[str, Any],
    survey: Survey,
    anchors: Mapping[int, IdentityAnchor],
    model: FaceModel | ModelFacts,
    weights: str | None,
    settings: RestoreSettings,
) -> dict[str, Any]:
    """weights: hash of the model's files, where they are known. The model's `identity` is part of it, where it has one."""
    wanted = {name: value for name, value in recorded(settings).items() if name not in _HOW_NOT_WHAT}
    return {
        **source,
        "survey": hash_survey(survey),
        "anchors": hash_anchors(anchors),
        "model": model.name,
        "weights": weights,
        "machine": dict(getattr(model, "identity", {})),
        "settings": wanted,
        "libraries": library_versions(),
    }
