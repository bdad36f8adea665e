"""Files of the small networks that the package ships: one safetensors file each, in half precision, that says what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from iconface_video.errors import CheckpointError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class NetworkKind:
    """What stands in the file, and in messages."""

    name: str
    called: str
    """For people."""
    format_version: str


def write_network(network: nn.Module, path: Path, kind: NetworkKind) -> Path:
    """As float16."""
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, metadata={"kind": kind.name, "format_version": kind.format_version})
    path.chmod(0o644)
    return path


def read_network(path: Path, kind: NetworkKind, build: Callable[[Mapping[str, Tensor]], Network]) -> Network:
    """In evaluation mode, weights frozen, float32. build: an empty network of the tensors' sizes.

    Raises CheckpointError for a file that is missing, damaged or something else.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        if metadata.get("kind") != kind.name or metadata.get("format_version") != kind.format_version:
            raise CheckpointError(f"{path}: not a {kind.called} of format {kind.format_version}; is the installation complete?")
        tensors = {name: value.float() for name, value in load_file(path).items()}
        network = build(tensors)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path}: no readable {kind.called} ({error}); reinstall the package") from error
    return network.eval().requires_grad_(False)
