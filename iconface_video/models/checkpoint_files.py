"""Reading and writing a checkpoint's files. Every failure names the file, and the first wrong key. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from iconface_video.errors import CheckpointError

MANIFEST = "manifest.json"
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. CheckpointError where it is missing or broken."""
    if not path.is_file():
        raise CheckpointError(f"{path}: this file of the checkpoint is missing. Download or save the checkpoint again.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}). Download or save the checkpoint again.") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: a JSON object was expected, this is a {type(values).__name__}.")
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, from its header alone; checks that the file has its full length."""
    if not path.is_file():
        raise CheckpointError(f"{path}: this file of the checkpoint is missing. Download or save the checkpoint again.")
    try:
        with safe_open(str(path), framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: corrupt or cut short ({error}). Download or save the checkpoint again.") from None


def read_sharded_shapes(folder: Path) -> dict[str, tuple[tuple[int, ...], Path]]:
    """Name -> (shape, file) of a diffusers component, in one file or in shards with an index."""
    index = folder / (DIFFUSERS_WEIGHTS + ".index.json")
    if not index.is_file():
        single = folder / DIFFUSERS_WEIGHTS
        return {name: (shape, single) for name, shape in read_shapes(single).items()}
    found = {}
    for shard in sorted(set(read_json(index).get("weight_map", {}).values())):
        path = folder / Path(str(shard)).name
        found.update({name: (shape, path) for name, shape in read_shapes(path).items()})
    return found


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, Tensor], path: Path, files: Mapping[str, Path] | None = None
) -> None:
    """Exactly the expected names, each of the expected shape; otherwise a CheckpointError with the first wrong key."""
    for name, tensor in expected.items():
        if name not in found:
            raise CheckpointError(f"{path}: incomplete, '{name}' is missing. It belongs to another version or was cut short.")
        if found[name] != tuple(tensor.shape):
            where = (files or {}).get(name, path)
            raise CheckpointError(
                f"{where}: '{name}' is {found[name]}, must be {tuple(tensor.shape)}. The weights and the config differ in size."
            )
    for name in found:
        if name not in expected:
            raise CheckpointError(f"{(files or {}).get(name, path)}: unexpected key '{name}'. It belongs to another model.")


def load_into(module: torch.nn.Module, path: Path, ignore: Iterable[str] = ()) -> None:
    """Load a safetensors file into a module, strictly. ignore: keys of the module that are stored elsewhere."""
    left_out = set(ignore)
    expected = {name: tensor for name, tensor in module.state_dict().items() if name not in left_out}
    check_shapes(read_shapes(path), expected, path)
    module.load_state_dict(load_file(str(path)), strict=not left_out)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], storage_dtype: torch.dtype | None = None) -> None:
    """Write a safetensors file. storage_dtype: for the floating-point tensors, None as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {}
    for name, tensor in tensors.items():
        dtype = storage_dtype if storage_dtype and tensor.is_floating_point() else tensor.dtype
        held[name] = tensor.detach().to("cpu", dtype).contiguous()
    save_file(held, str(path), metadata={"format": "pt"})


# ---- checksums


def sha256_of(path: Path) -> str:
    with path.open("rb") as opened:
        digest = hashlib.sha256()
        for block in iter(lambda: opened.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path) -> None:
    """List every file of a checkpoint with its size and SHA-256, in manifest.json."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    listed = {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files}
    write_json(folder / MANIFEST, {"files": listed})


def verify_manifest(folder: Path) -> int:
    """Compare every listed file with its size and SHA-256 -> number of files. CheckpointError for the first that differs."""
    listed = read_json(folder / MANIFEST).get("files")
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError(f"{folder / MANIFEST}: lists no files.")
    for name, entry in listed.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: this file of the checkpoint is missing. Install or download it again.")
        if path.stat().st_size != entry["bytes"]:
            raise CheckpointError(f"{path}: has {path.stat().st_size} bytes, must have {entry['bytes']}. Download it again.")
        if sha256_of(path) != entry["sha256"]:
            raise CheckpointError(f"{path}: its SHA-256 differs from {MANIFEST}: damaged or altered. Download it again.")
    return len(listed)
