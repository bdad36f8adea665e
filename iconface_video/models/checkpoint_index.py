"""What a checkpoint says of itself, read without torch. It is a diffusers-style folder:

model_index.json               our format version, traits, conditioning sizes, what stands in for missing parts
transformer/                   the backbone, as diffusers writes it (absent where "base" names another checkpoint)
adapters/adapters.safetensors  what IConFace adds
lora/lora.safetensors          only beside a backbone that is kept apart
autoencoder/                   pixel, cascade: config.json, autoencoder.safetensors; latent: as diffusers writes it
scheduler/scheduler_config.json
prompt_embedding.safetensors   prompt, and negative_prompt where the model needs guidance
manifest.json                  SHA-256 of all of them
"""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from iconface_video.errors import CheckpointError
from iconface_video.models.checkpoint_files import read_settings
from iconface_video.models.download import PUBLISHED, prepared_folder
from iconface_video.models.hub import fetch
from iconface_video.models.traits import RestorerTraits

FORMAT_VERSION = 1
INDEX = "model_index.json"
MODEL_CLASS = "IConFaceModel"
ADAPTERS = Path("adapters") / "adapters.safetensors"
T = TypeVar("T")


def embedded_folder() -> Path:
    """Where the installed package keeps the embedded weights."""
    return Path(str(resources.files("iconface_video.weights"))) / "embedded"


def frame_fusion_file() -> Path:
    """Weights of the network that brings neighbouring frames together, the same for every restorer."""
    return embedded_folder().with_name("frame_fusion.safetensors")


def find_checkpoint(source: str | Path) -> Path:
    """The local folder of a checkpoint, downloaded if it is hub:owner/name."""
    if str(source) == "embedded":
        folder = embedded_folder()
        if not (folder / INDEX).is_file():
            raise CheckpointError(
                f"{folder}: this installation holds no embedded weights. Install a release of iconface-video, "
                "or name a checkpoint folder or hub:owner/name."
            )
        return folder
    if str(source) in PUBLISHED:
        return _pulled(str(source))
    path = Path(source).expanduser()
    return path if path.is_dir() else fetch(str(source))


def _pulled(name: str) -> Path:
    folder = prepared_folder(name)
    if not (folder / INDEX).is_file():
        gigabytes = PUBLISHED[name].download_bytes / 1e9
        raise CheckpointError(
            f"{name}: not on this machine yet. `iconface-video models pull {name}` brings it (about {gigabytes:.0f} GB)."
        )
    return folder


def read_index(folder: Path) -> dict[str, Any]:
    """model_index.json, of our version."""
    index = read_settings(folder / INDEX)
    if index.get("_class_name") != MODEL_CLASS:
        kind = index.get("_class_name", "something else")
        raise CheckpointError(
            f"{folder / INDEX}: this is a checkpoint of {kind}, not of {MODEL_CLASS}. A FLUX.2 base has to be given adapters first."
        )
    version = index.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder / INDEX}: format version {version}, this release reads {FORMAT_VERSION}. "
            "Use the release that it was saved with, or a newer checkpoint."
        )
    return index


def checkpoint_traits(source: str | Path) -> RestorerTraits:
    """What a checkpoint says of itself; its weights are not read. Raises CheckpointError."""
    path = find_checkpoint(source) / INDEX
    return from_json(RestorerTraits, read_index(path.parent).get("traits"), path)


def from_json(kind: type[T], values: Any, path: Path) -> T:
    """A settings dataclass from JSON; lists become tuples. CheckpointError for an unknown or missing entry."""
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: the settings of {kind.__name__} are missing.")
    known = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise CheckpointError(f"{path}: unknown entry '{key}' of {kind.__name__}. It was saved by another version.")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {kind.__name__}: {error}") from None
