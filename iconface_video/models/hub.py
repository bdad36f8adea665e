"""Checkpoints from the Hugging Face hub, into its own cache; safetensors and JSON only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from iconface_video.errors import CheckpointError
from iconface_video.models.published import PUBLISHED
from iconface_video.settings import nearest

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
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


def is_hub_id(source: str) -> bool:
    return _HUB_ID.fullmatch(source) is not None


def check_source(source: str) -> None:
    """Raises CheckpointError, with the nearest name, for what can be no model: so that a slip is told before any long work."""
    path = Path(source).expanduser()
    if source == "embedded" or source in PUBLISHED or path.is_dir() or is_hub_id(source):
        return
    beside = [str(path.parent / item.name) for item in path.parent.iterdir() if item.is_dir()] if path.parent.is_dir() else []
    raise CheckpointError(
        f"{source}: no such folder, and not a hub id (owner/name). Give 'embedded', a folder or a hub id."
        f"{nearest(source, ['embedded', *PUBLISHED, *beside])}"
    )


def fetch(source: str, patterns: Sequence[str] = PATTERNS) -> Path:
    """Download a repository (or find it in the cache) -> local folder. CheckpointError with what to do.

    patterns: which of its files are taken.
    """
    check_source(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(patterns)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{source}: cannot be downloaded ({reason}). Check the id and the connection, accept the model's terms on its "
            "page if it asks for that, or give a local folder."
        ) from None


def cached(source: str) -> Path | None:
    """The local folder of a repository that was downloaded before; None otherwise. Nothing is downloaded."""
    if not is_hub_id(source):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(PATTERNS), local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        return None
