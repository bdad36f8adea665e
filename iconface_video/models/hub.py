"""The models that this release knows by name, and checkpoints from the Hugging Face hub, into its own cache; safetensors and JSON only."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from iconface_video.errors import CheckpointError
from iconface_video.models.download import PUBLISHED
from iconface_video.settings import nearest


@dataclass(frozen=True)
class KnownModel:
    """One that `models list` shows."""

    source: str
    """What `--model` or `models pull` takes."""
    kind: str
    license: str
    download_bytes: int
    """About; 0: part of the package."""
    description: str


KNOWN = (
    KnownModel(
        "embedded",
        "restorer",
        "research use; see the model card",
        0,
        "Small model that ships with this package; a CPU is enough.",
    ),
    KnownModel(
        "black-forest-labs/FLUX.2-klein-base-4B",
        "base",
        "Apache-2.0",
        7_920_000_000,
        "Backbone and autoencoder of the full size; restores nothing by itself, adapters are trained on it.",
    ),
    *(
        KnownModel(
            model.name,
            "restorer",
            model.traits.license,
            model.download_bytes,
            f"{model.lora.repository} on {model.base.repository}: {model.can}; {model.cannot}.",
        )
        for model in PUBLISHED.values()
    ),
)


_MARK = "hub:"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
PATTERNS = (
    "model_index.json",
    "manifest.json",
    "prompt_embedding.safetensors",
    *(
        f"{part}/*.{ending}"
        for part in ("transformer", "vae", "autoencoder", "adapters", "lora", "scheduler")
        for ending in ("json", "safetensors")
    ),
)
"""What is taken of a repository: no text encoder, no pickles, no code."""
TEXT_PATTERNS = (
    "transformer/config.json",
    "tokenizer/*.json",
    "tokenizer/*.txt",
    "tokenizer/*.jinja",
    "text_encoder/*.json",
    "text_encoder/*.safetensors",
)
"""What computing a prompt embedding takes."""


def repository_of(source: str) -> str | None:
    """The owner/name that the network may be asked for: of hub:owner/name, or a name that this release knows; else None.

    Anything else of that shape is more likely a mistyped folder, and nobody should learn of its name.
    """
    name = source.removeprefix(_MARK)
    is_meant = name != source or any(name == model.source for model in KNOWN)
    return name if is_meant and _REPOSITORY.fullmatch(name) else None


def check_source(source: str) -> None:
    """Raises CheckpointError, with the nearest name, for what can be no model: so that a slip is told before any long work."""
    if source == "embedded" or source in PUBLISHED or repository_of(source) or Path(source).expanduser().is_dir():
        return
    if source.startswith(_MARK):
        raise CheckpointError(f"{source}: no model of the hub is named so; write {_MARK}owner/name.")
    meant = nearest(source, ["embedded", *(model.source for model in KNOWN), *_folders_near(Path(source).expanduser())])
    if _REPOSITORY.fullmatch(source):
        hint = f"For a model of the Hugging Face hub write {_MARK}{source}."
    else:
        hint = f"Give 'embedded', a folder or {_MARK}owner/name."
    raise CheckpointError(f"{source}: there is no such folder.{meant} {hint}")


def _folders_near(path: Path) -> list[str]:
    """Folders beside a path; where its own folder is not there either, those of that folder's neighbours that bear its name."""
    if path.parent.is_dir():
        return [str(path.parent / item.name) for item in path.parent.iterdir() if item.is_dir()]
    above = path.parent.parent
    beside = above.iterdir() if above.is_dir() else ()
    return [str(above / item.name / path.name) for item in beside if (item / path.name).is_dir()]


def fetch(source: str, patterns: Sequence[str] = PATTERNS) -> Path:
    """Download a repository (or find it in the cache) -> local folder. CheckpointError with what to do.

    source: hub:owner/name, or a name that this release knows; no other name is ever sent.
    patterns: which of its files are taken.
    """
    check_source(source)
    repository = repository_of(source)
    assert repository is not None, "only a repository can be fetched"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{source}: cannot be downloaded ({reason}). Check the id and the connection, accept the model's terms on its "
            "page if it asks for that, or give a local folder."
        ) from None


def cached(source: str) -> Path | None:
    """The local folder of a repository that was downloaded before; None otherwise. Nothing is downloaded."""
    repository = repository_of(source)
    if repository is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(PATTERNS), local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        return None


def model_index(source: str) -> dict[str, Any] | None:
    """What a checkpoint on this machine says of itself, as it is written; None where it is not here, or says nothing.

    For a first look; `checkpoint_index.read_index` checks it.
    """
    path = Path(source).expanduser()
    if source == "embedded":
        folder: Path | None = Path(str(resources.files("iconface_video"))) / "weights" / source
    else:
        folder = path if path.is_dir() else cached(source)
    try:
        content = json.loads((folder / "model_index.json").read_text(encoding="utf-8")) if folder is not None else None
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
