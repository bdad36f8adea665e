"""What a run's restored faces depend on of its models' files: a hash of them, for the fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from iconface_video.run.fingerprint import fingerprint, hash_file, hash_folder
from iconface_video.settings import RestoreSettings, default_of

INPUT = default_of(RestoreSettings, "start_from")


def hash_weights(settings: RestoreSettings) -> str:
    """Of the model, the base that it refers to, and the model that a restoration starts from. Raises CheckpointError."""
    from iconface_video.models.checkpoints import find_checkpoint

    found = [_hash_model(find_checkpoint(settings.model))]
    if settings.start_sigma < 1 and settings.start_from != INPUT:
        found.append(_hash_model(find_checkpoint(settings.start_from)))
    return found[0] if len(found) == 1 else hashlib.sha256("/".join(found).encode()).hexdigest()


def _hash_model(folder: Path) -> str:
    from iconface_video.models.base import base_files, find_base
    from iconface_video.models.checkpoints import read_index

    own = hash_folder(folder)
    index = read_index(folder)
    if index.get("base") is None:
        return own
    base = base_files(find_base(str(index["base"]), index.get("base_revision")))
    return fingerprint(own=own, **{f"{path.parent.name}/{path.name}": hash_file(path) for path in base})
