"""Large files from the Hugging Face hub into its own cache: room checked first, a cut download goes on at its byte, SHA-256
compared with what the hub says. The hub's library does the talking; its cache stays as it makes it.

Published weights that are brought into our form on this machine: where they lie, what they are for, how they are to be run.

The values are the authors' own: repository cosmicrealm/ComfyUI-Flux-FaceIR (Apache-2.0), the forerunner of IConFace.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iconface_video.errors import CheckpointError
from iconface_video.models.traits import RestorerTraits

OFFLINE = "HF_HUB_OFFLINE"
"""The hub library's own switch; `--offline` sets it for this process and its workers."""
_YES = frozenset({"1", "ON", "YES", "TRUE"})
_SPARE_BYTES = 200_000_000
"""Left free on the disk."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class HubPart:
    """What is taken of one repository."""

    repository: str
    """owner/name."""
    patterns: tuple[str, ...]
    """Of its files' names, as in the shell."""
    revision: str = "main"
    """Branch, tag or commit."""


@dataclass(frozen=True)
class RemoteFile:
    name: str
    bytes: int
    sha256: str | None
    """None for small files, which the hub keeps in git."""


@dataclass(frozen=True)
class Listing:
    """One commit of a repository, as far as it is wanted."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def is_offline() -> bool:
    return os.environ.get(OFFLINE, "").upper() in _YES


def list_part(part: HubPart) -> Listing:
    """Ask the hub which files there are. CheckpointError where it cannot be asked, or has none of them."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    if is_offline():
        raise CheckpointError(f"{part.repository}: not on this machine, and --offline forbids to ask the hub.")
    with _telling(part.repository):
        info = HfApi().model_info(part.repository, revision=part.revision, files_metadata=True)
    siblings = {item.rfilename: item for item in info.siblings or []}
    wanted = sorted(filter_repo_objects(siblings, allow_patterns=list(part.patterns)))
    for pattern in part.patterns:
        if "*" not in pattern and pattern not in siblings:
            raise CheckpointError(f"{part.repository}: revision '{part.revision}' has no file '{pattern}'.")
    if not wanted or info.sha is None:
        raise CheckpointError(
            f"{part.repository}: revision '{part.revision}' has none of the files {', '.join(part.patterns)}."
        )
    files = [RemoteFile(name, int(siblings[name].size or 0), _sha256(siblings[name])) for name in wanted]
    return Listing(part.repository, info.sha, tuple(files))


def _sha256(sibling: Any) -> str | None:
    return None if sibling.lfs is None else str(sibling.lfs.sha256)


def missing_files(listings: Sequence[Listing]) -> list[tuple[Listing, RemoteFile]]:
    """Those that are not in the cache yet."""
    from huggingface_hub import try_to_load_from_cache

    def is_missing(listing: Listing, file: RemoteFile) -> bool:
        return not isinstance(try_to_load_from_cache(listing.repository, file.name, revision=listing.commit), str)

    return [(listing, file) for listing in listings for file in listing.files if is_missing(listing, file)]


def check_room(missing: Sequence[tuple[Listing, RemoteFile]]) -> int:
    """Bytes still to be downloaded. CheckpointError where the disk of the cache has not that much left."""
    cache = _cache()
    left = sum(file.bytes - _partial_bytes(listing, file) for listing, file in missing)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if left and free < left + _SPARE_BYTES:
        raise CheckpointError(
            f"{cache}: {left / 1e9:.1f} GB are to be downloaded, and only {free / 1e9:.1f} GB are free there. "
            "Make room, or name another place in the variable HF_HOME."
        )
    return left


def download(listings: Sequence[Listing], say: Say = lambda line: None) -> list[Path]:
    """Bring all files into the cache -> the folder of each listing's commit.

    A file that was cut short by an earlier, killed download goes on where it was; each one that comes with a SHA-256 is
    compared with it. Raises CheckpointError.
    """
    missing = missing_files(listings)
    left = check_room(missing)
    if missing:
        say(f"{len(missing)} files, {left / 1e9:.2f} GB to download")
    for listing, file in missing:
        with _telling(f"{listing.repository}/{file.name}"):
            _fetch(listing, file)
    return [snapshot_folder(listing.repository, listing.commit) for listing in listings]


def _fetch(listing: Listing, file: RemoteFile) -> None:
    from huggingface_hub import hf_hub_download

    if file.sha256 is not None:
        blob = _storage(listing.repository) / "blobs" / file.sha256
        if not blob.exists():
            _fetch_blob(listing, file, blob)
    hf_hub_download(listing.repository, file.name, revision=listing.commit)


def _fetch_blob(listing: Listing, file: RemoteFile, blob: Path) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    partial = _partial(listing, file)
    partial.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(listing.repository, file.name, revision=listing.commit)
    with partial.open("ab") as opened:
        there = opened.tell()
        if there > file.bytes:
            opened.truncate(0)
            there = 0
        if there < file.bytes:
            headers = build_hf_headers()
            http_get(
                url,
                opened,
                resume_size=there,
                headers=headers,
                expected_size=file.bytes,
                displayed_filename=Path(file.name).name,
            )
    from iconface_video.models.checkpoint_files import sha256_of  # loads torch, for which names alone need not wait

    if sha256_of(partial) != file.sha256:
        partial.unlink()
        raise CheckpointError(
            f"{listing.repository}/{file.name}: what came has another SHA-256 than the hub says: damaged on the way. "
            "It was thrown away; pull again."
        )
    os.replace(partial, blob)


def find_downloaded(repository: str, commit: str) -> Path:
    """The folder of a commit that was downloaded before; nothing is asked of the network. CheckpointError if it is not there."""
    folder = snapshot_folder(repository, commit)
    if not folder.is_dir():
        raise CheckpointError(
            f"{repository} (commit {commit[:12]}): the base of this checkpoint is not on this machine any more. "
            "Bring it back with `iconface-video models pull`."
        )
    return folder


def snapshot_folder(repository: str, commit: str) -> Path:
    return _storage(repository) / "snapshots" / commit


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _storage(repository: str) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return _cache() / repo_folder_name(repo_id=repository, repo_type="model")


def _partial(listing: Listing, file: RemoteFile) -> Path:
    return _storage(listing.repository) / "blobs" / f"{file.sha256}.part"


def _partial_bytes(listing: Listing, file: RemoteFile) -> int:
    partial = _partial(listing, file)
    return min(file.bytes, partial.stat().st_size) if file.sha256 is not None and partial.is_file() else 0


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Whatever the hub's library raises becomes one sentence that names what was asked for."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # the library's own classes, its HTTP client's, the disk's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise CheckpointError(
            f"{what}: cannot be downloaded ({reason}). Check the name and the connection, and accept the model's terms "
            "on its page if it asks for that. What has come is kept: the same command goes on."
        ) from error


FACEIR_PROMPT = "restore a high quality portrait photo of a person, natural skin, detailed face"
NO_PROMPT = ""
"""Of the unconditional pass."""
FLUX2_SCHEDULE = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
}
"""Euler steps on a falling line from 1 to 0, bent by FLUX.2's empirical mu of tokens and steps (`models.sampler`)."""
FACEIR_TRAITS = RestorerTraits(
    name="flux-faceir",
    prediction="velocity",
    max_references=3,
    crop_sizes=(512,),
    size_multiple=16,
    default_steps=12,
    default_guidance=4.0,
    crop_scale=1.35,
    border=(132, 133, 135),
    license="Apache-2.0 (base and code); the LoRA's as its card states",
)
"""12 steps are IConFace's; the forerunner's own program takes 50 (`--steps 50`)."""
_BASE_FILES = (
    *(
        f"{part}/*.{ending}"
        for part in ("transformer", "vae", "text_encoder", "tokenizer")
        for ending in ("json", "safetensors")
    ),
    "scheduler/*.json",
    "tokenizer/*.txt",
    "tokenizer/*.jinja",
)


@dataclass(frozen=True)
class PublishedModel:
    """One that `--model` knows by name once `models pull` has brought it."""

    name: str
    base: HubPart
    """As diffusers writes it, with its text encoder, which is run once."""
    lora: HubPart
    lora_file: str
    prompt: str
    negative_prompt: str
    traits: RestorerTraits
    download_bytes: int
    """About."""
    can: str
    cannot: str


FLUX_FACEIR = PublishedModel(
    name="flux-faceir",
    base=HubPart("black-forest-labs/FLUX.2-klein-base-4B", _BASE_FILES),
    lora=HubPart(
        "zhangjinyang/flux-restoration",
        ("pretrained_models/lora_weights.safetensors", "pretrained_models/adapter_config*.json"),
    ),
    lora_file="pretrained_models/lora_weights.safetensors",
    prompt=FACEIR_PROMPT,
    negative_prompt=NO_PROMPT,
    traits=FACEIR_TRAITS,
    download_bytes=16_100_000_000,
    can="restores faces at 512 px, alone or with up to three pictures of the person; wants a GPU",
    cannot="has no identity pathway, no degraded residual and no degraded memory (IConFace eq. 3-7); nobody has measured it on video",
)
PUBLISHED = {FLUX_FACEIR.name: FLUX_FACEIR}


def models_home() -> Path:
    """Where models lie that were brought into our form: ICONFACE_HOME, else iconface-video in the user's cache folder."""
    home = os.environ.get("ICONFACE_HOME")
    if home:
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "iconface-video" / "models"


def prepared_folder(name: str) -> Path:
    """Where `models pull` puts a published model."""
    return models_home() / name
