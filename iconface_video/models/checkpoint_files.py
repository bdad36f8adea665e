"""Reading and writing a checkpoint's files. Every failure names the file, and the first wrong key. Nothing is unpickled.

torch is loaded only where tensors are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from iconface_video.errors import CheckpointError, IconFaceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MANIFEST = "manifest.json"
_LARGEST_JSON = 16 << 20
"""Bytes; a model's settings take thousands, the index of its shards a few hundred thousand."""
_LARGEST_NUMBER = 2**24
"""No size, count or scale in a model's settings comes near it; tensors of such a side would take all memory."""
_MOST_LAYERS = 512
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. CheckpointError where it is missing or broken."""
    if not path.is_file():
        raise CheckpointError(f"{path}: this file of the checkpoint is missing. Download or save the checkpoint again.")
    if path.stat().st_size > _LARGEST_JSON:
        raise CheckpointError(f"{path}: far too large for a model's settings. Download or save the checkpoint again.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise CheckpointError(f"{path}: not valid JSON ({reason}). Download or save the checkpoint again.") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: a JSON object was expected, this is a {type(values).__name__}.")
    return values


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object whose numbers a model can have: finite, and none so large that building it would take all memory."""
    values = read_json(path)
    _check_numbers(values, "", path)
    return values


def _check_numbers(value: Any, key: str, path: Path) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_numbers(item, str(name), path)
    elif isinstance(value, list):
        for item in value[:_MOST_LAYERS]:
            _check_numbers(item, key, path)
        if len(value) > _MOST_LAYERS:
            raise CheckpointError(f"{path}: '{key}' has {len(value)} entries. The file is damaged, or of another kind.")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        most = _MOST_LAYERS if key.endswith(("layers", "blocks")) else _LARGEST_NUMBER
        if not abs(value) <= most:
            raise CheckpointError(
                f"{path}: '{key}' is {value}, must be at most {most}. The file is damaged, or of another kind."
            )


@contextmanager
def describing_a_model(path: Path) -> Iterator[None]:
    """Whatever a model raises while it is built from settings that fit no model becomes a CheckpointError that names their file."""
    try:
        yield
    except IconFaceError:
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(
            f"{path}: no model can be made from these settings ({reason}). Download or save it again."
        ) from error


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
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: names no files. Download or save the checkpoint again.")
    for shard in sorted({str(shard) for shard in weight_map.values()}):
        path = folder / Path(shard).name
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


def load_into(module: torch.nn.Module, path: Path) -> None:
    """Load a safetensors file into a module, strictly."""
    expected = module.state_dict()
    check_shapes(read_shapes(path), expected, path)
    module.load_state_dict(read_tensors(path, expected))


def read_tensors(path: Path, expected: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file. CheckpointError where it is damaged, or holds numbers of another kind or none.

    expected: what each will be loaded into; whole numbers are refused where weights are wanted.
    """
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path}: corrupt or cut short ({error}). Download or save the checkpoint again.") from None
    for name, tensor in tensors.items():
        wanted = (expected or {}).get(name)
        if wanted is not None and wanted.is_floating_point() != tensor.is_floating_point():
            raise CheckpointError(
                f"{path}: '{name}' holds {tensor.dtype}, must hold {wanted.dtype}. It belongs to another model."
            )
    check_finite(tensors, path)
    return tensors


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """CheckpointError for the first tensor with a value that is no number or infinite: every picture would come out black."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        # A sum shows it, too, and takes no second tensor of that size; it may overflow, so that is looked at closely.
        values = tensor.detach().float()
        if not bool(values.sum().isfinite()) and not bool(values.isfinite().all()):
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite: damaged. Download it again.")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], storage_dtype: torch.dtype | None = None) -> None:
    """Write a safetensors file. storage_dtype: for the floating-point tensors, None as they are."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    held = {}
    for name, tensor in tensors.items():
        dtype = storage_dtype if storage_dtype and tensor.is_floating_point() else tensor.dtype
        held[name] = tensor.detach().to("cpu", dtype).contiguous()
    save_file(held, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors lets nobody else read it


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
        if not isinstance(entry, dict) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{folder / MANIFEST}: damaged, its entry '{name}' is no file of this folder.")
        if not path.is_file():
            raise CheckpointError(f"{path}: this file of the checkpoint is missing. Install or download it again.")
        if path.stat().st_size != entry.get("bytes"):
            raise CheckpointError(
                f"{path}: has {path.stat().st_size} bytes, must have {entry.get('bytes')} (cut short or altered). Download it again."
            )
        if sha256_of(path) != entry.get("sha256"):
            raise CheckpointError(f"{path}: its SHA-256 differs from {MANIFEST}: damaged or altered. Download it again.")
    return len(listed)
