"""The fingerprint: a hash of everything that may alter a restored crop. Work of different fingerprints is never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from iconface_video import __version__
from iconface_video.errors import InputError
from iconface_video.types import IdentityAnchor, Survey

_LIBRARIES = ("torch", "diffusers", "numpy", "opencv-python", "av", "onnxruntime", "scipy")
_SAMPLE_BYTES = 1 << 20


def hash_file(path: Path) -> str:
    """Hash of a file's size, first, middle and last megabyte: seconds, not minutes, for an hour of video.

    Raises InputError when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with open(path, "rb") as file:
            for start in (0, max(0, size // 2), max(0, size - _SAMPLE_BYTES)):
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def hash_survey(survey: Survey) -> str:
    """Hash of what restoring takes from a survey."""
    digest = hashlib.sha256(repr([(s.first_pts, s.last_pts) for s in survey.shots]).encode())
    for track in survey.tracks:
        digest.update(repr((track.track_id, track.shot, track.birth_pts, track.birth_order)).encode())
        for values in (track.pts, track.parameters, track.landmarks, track.scores, track.sharpness, track.fade):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def hash_anchors(anchors: Mapping[int, IdentityAnchor]) -> str:
    """Hash of the anchors by track id."""
    digest = hashlib.sha256()
    for track_id in sorted(anchors):
        anchor = anchors[track_id]
        digest.update(f"{track_id}/{anchor.origin}/{anchor.reliability}".encode())
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
    text = json.dumps({name: _plain(value) for name, value in parts.items()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
