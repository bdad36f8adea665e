"""Large files from the Hugging Face hub into its own cache: room checked first, a cut download goes on at its byte, SHA-256
compared with what the hub says. The hub's library does the talking; its cache stays as it makes it.
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
