"""What was learnt of one person, as a value and as a file: small, checksummed, and bound to the weights that it was learnt beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from iconface_video.errors import CheckpointError
from iconface_video.files import write_whole
from iconface_video.models.checkpoint_files import check_finite
from iconface_video.personalize.difference import Factors
from iconface_video.personalize.recipe import PersonalizeSettings

FORMAT_VERSION = 1
LARGEST_FILE = 4 << 20
"""Bytes."""
_METADATA = "person"
_AGAIN = "It is learnt again from the photos."


@dataclass(frozen=True)
class HeldOutCheck:
    """How the base and the learnt weights did on damaged views of a photo that no step saw."""

    views: int
    base_likeness: float
    """Mean cosine to the undamaged photo."""
    learnt_likeness: float
    base_psnr: float
    """Mean, dB."""
    learnt_psnr: float

    def __str__(self) -> str:
        return (
            f"likeness {self.base_likeness:.2f} -> {self.learnt_likeness:.2f}, "
            f"PSNR {self.learnt_psnr - self.base_psnr:+.2f} dB over {self.views} damaged views of a photo that was held out"
        )


@dataclass(frozen=True)
class PersonFacts:
    """What is said of learnt weights beside the numbers."""

    base: str
    """`weights_hash` of the model that they were learnt beside."""
    photos: int
    """How many were learnt from."""
    strength: float
    """0..1, at which they are used; 0: the base does better, and nothing was kept."""
    settings: PersonalizeSettings
    check: HeldOutCheck | None
    """None: there was one photo, and nothing could be held out."""

    @property
    def sentence(self) -> str:
        """For people."""
        photos = f"{self.photos} photo{'s' if self.photos > 1 else ''}"
        if self.check is None:
            return f"learnt from {photos}; with more than one it could have been checked"
        if not self.strength:
            return f"learning from {photos} did not help, so everybody's weights are used ({self.check})"
        return f"learnt from {photos}: {self.check}"


@dataclass(frozen=True, eq=False)
class PersonWeights:
    """A person's difference to a model, ready for a `Wearer`."""

    factors: Mapping[str, Factors]
    """By the weight's name; empty where the base is used."""
    facts: PersonFacts

    @property
    def hash(self) -> str:
        """SHA-256 of all that acts on a restored face: for fingerprints."""
        return hashlib.sha256(f"{_hash_tensors(_named(self.factors))}/{self.facts.strength!r}".encode()).hexdigest()

    def check_base(self, base: str) -> None:
        """CheckpointError where it was learnt beside other weights. base: `weights_hash` of the model."""
        if self.facts.base != base:
            raise CheckpointError(
                f"these learnt weights belong to another model ({self.facts.base[:12]}..., not {base[:12]}...). {_AGAIN}"
            )


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of a model's weights, by name, shape and value; wherever they lie in memory."""
    return _hash_tensors(dict(model.state_dict()))


def save_person(person: PersonWeights, path: Path) -> None:
    """Write the file; nothing stands under its name until it is whole. Raises OSError.

    The same weights give the same bytes: all facts are one entry, as safetensors writes several in any order.
    """
    tensors = _named(person.factors)
    facts = {"format_version": FORMAT_VERSION, **asdict(person.facts)}
    told = {"facts": facts, "sha256": _checksum(tensors, facts)}
    data = save(tensors, metadata={_METADATA: json.dumps(told, sort_keys=True)})
    if len(data) > LARGEST_FILE:
        raise ValueError(f"a person takes at most {LARGEST_FILE} bytes, this one {len(data)}: lower the rank")
    write_whole(path, lambda file: file.write(data))


def load_person(path: Path) -> PersonWeights:
    """Raises CheckpointError for a file that is missing, damaged, or of another version."""
    if not path.is_file():
        raise CheckpointError(f"{path}: missing. {_AGAIN}")
    if path.stat().st_size > LARGEST_FILE:
        raise CheckpointError(f"{path}: far too large for what was learnt of a person. {_AGAIN}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _damaged(path, error) from None
    return read_person(data, path)


def read_person(data: bytes, path: Path | str) -> PersonWeights:
    """A file's content. path: what to call it.  Raises as `load_person` does."""
    facts, wanted = _told(data, path)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, error) from None
    check_finite(tensors, Path(path))
    if _checksum(tensors, facts) != wanted:
        raise CheckpointError(f"{path}: it differs from its checksum: damaged. {_AGAIN}")
    names = sorted({name.rpartition(".")[0] for name in tensors})
    try:
        factors = {name: Factors(tensors[f"{name}.up"], tensors[f"{name}.down"]) for name in names}
        return PersonWeights(factors, _facts_of(facts))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _told(data: bytes, path: Path | str) -> tuple[dict[str, Any], str]:
    """(facts, checksum) of the header: its length in 8 bytes, then JSON. Raises CheckpointError."""
    try:
        length = int.from_bytes(data[:8], "little")
        told = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_METADATA])
        facts = dict(told["facts"])
        if facts["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {facts['format_version']!r}, this release reads {FORMAT_VERSION}")
        return facts, str(told["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from None


def _checksum(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """SHA-256 of both."""
    text = f"{_hash_tensors(tensors)}/{json.dumps(facts, sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _facts_of(values: Mapping[str, Any]) -> PersonFacts:
    own = {item.name: values[item.name] for item in fields(PersonFacts)}
    check = own["check"]
    return PersonFacts(
        **{
            **own,
            "settings": PersonalizeSettings(**own["settings"]),
            "check": None if check is None else HeldOutCheck(**check),
        }
    )


def _damaged(path: Path | str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: not what was learnt of a person ({' '.join(str(error).split())}). {_AGAIN}")


def _named(factors: Mapping[str, Factors]) -> dict[str, Tensor]:
    return {f"{name}.{side}": getattr(item, side) for name, item in factors.items() for side in ("up", "down")}


def _hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
