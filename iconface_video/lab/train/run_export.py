"""A training run as one file small enough to carry: to go on with on another machine.

A checkpoint is float32 four times over (weights, average, moments); a file of this kind needs about four bytes a weight:

* large weights in float16, whose rounding is far below what one step changes;
* the average as its difference from the weights, which is small, in 8 bits with a scale a row (of frozen weights: nothing);
* first moments (Muon's momentum, AdamW's mean) in 8 bits with a scale a row: a few steps replace them;
* second moments in bfloat16, since what is rounded to zero there would blow up the next step;
* what is small, integers and every other module stay as they are.

The file is a safetensors one. Its metadata hold the run folder's own texts: config, curve, state, stage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from iconface_video.errors import CheckpointError, InputError, OutputError, UsageError
from iconface_video.files import whole_folder, write_whole
from iconface_video.lab.train.run_state import newest_checkpoint

FORMAT = "iconface-video run 1"
SMALL = 4096
"""Tensors of at most so many values are kept as they are."""
_SCALE, _ROWS, _HALF, _BRAIN, _SAME = "/scale", "/int8", "/float16", "/bfloat16", "/same"
_FIRST_MOMENTS = ("momentum", "mean", "exp_avg")
_TEXTS = ("stage.json", "config.json", "curve.csv", "validation.csv")
_SAFE = re.compile(r"(stage-\d\d/)?(stage\.json|config\.json|curve\.csv|validation\.csv|checkpoint-\d{7}/state\.json)")
_PART = re.compile(r"[\w-]+")
_LARGEST_HALF = 60_000.0


def export_run(run_folder: Path, out: Path, moments: bool = True) -> int:
    """Write the newest checkpoint of a run as one file; returns its size in bytes.

    moments: without them the file is a third smaller, and the first steps after the import find their pace anew.
    Raises InputError for a folder without a checkpoint, CheckpointError for a damaged one, UsageError where `out` is there.
    """
    if out.exists():
        raise UsageError(f"{out}: is there already; name another file, or delete it")
    checkpoint = newest_checkpoint(run_folder)
    try:
        state = (checkpoint / "state.json").read_text(encoding="utf-8")
        parts = {path.stem: load_file(path) for path in sorted(checkpoint.glob("*.safetensors"))}
        packed = _packed(parts, moments)
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"{checkpoint}: cannot be read ({error}); delete it to export the one before it") from error
    texts = {
        (folder / name).relative_to(run_folder).as_posix(): (folder / name).read_text(encoding="utf-8")
        for folder in [run_folder, *sorted(run_folder.glob("stage-*"))]
        for name in _TEXTS
        if (folder / name).is_file()
    }
    texts[(checkpoint / "state.json").relative_to(run_folder).as_posix()] = state
    data = save(packed, {"format": FORMAT, "texts": json.dumps(texts), "parts": json.dumps(list(parts))})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, lambda file: file.write(data))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error})") from error
    return len(data)


def import_run(file: Path, run_folder: Path) -> Path:
    """Make a run folder of an exported file, for `train` to go on with; returns its checkpoint.

    Raises UsageError where the folder holds something, InputError for a file that cannot be read, CheckpointError for one of another kind.
    """
    if run_folder.exists() and (not run_folder.is_dir() or any(run_folder.iterdir())):
        raise UsageError(f"{run_folder}: not an empty folder; name another one for the imported run")
    texts, names, packed = _read(file)
    where = [name for name in texts if name.endswith("/state.json")]
    unsafe = [name for name in texts if not _SAFE.fullmatch(name)] + [name for name in names if not _PART.fullmatch(str(name))]
    if len(where) != 1 or unsafe:
        raise CheckpointError(f"{file}: its list of files is damaged; export the run again")
    checkpoint = Path(where[0]).parent
    try:
        with whole_folder(run_folder) as unfinished:
            for name, text in texts.items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                (unfinished / name).write_text(text, encoding="utf-8")
            parts = _unpacked(packed)
            for name in names:  # an optimizer without moments has a file without tensors
                save_file(parts.get(name, {}), unfinished / checkpoint / f"{name}.safetensors")
            if run_folder.exists():
                run_folder.rmdir()
    except OSError as error:
        raise OutputError(f"{run_folder}: cannot be written ({error.strerror or error})") from error
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{file}: damaged ({error}); export the run again") from error
    return run_folder / checkpoint


def _read(file: Path) -> tuple[dict[str, str], list[str], dict[str, Tensor]]:
    """Texts by path, names of the checkpoint's files, packed tensors."""
    try:
        with safe_open(file, framework="pt") as opened:
            about = opened.metadata() or {}
            packed = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}); name a file of `train export-run`") from error
    except SafetensorError as error:
        raise CheckpointError(f"{file}: not a run of `train export-run`, or damaged ({error})") from error
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{file}: not a run of `train export-run` (format {about.get('format')!r}, not '{FORMAT}')")
    try:
        return dict(json.loads(about["texts"])), list(json.loads(about["parts"])), packed
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: its list of files is damaged ({error}); export the run again") from error


# ---- tensors


def _packed(parts: Mapping[str, Mapping[str, Tensor]], moments: bool) -> dict[str, Tensor]:
    """Checkpoint files' tensors by file name -> "file:tensor/format"."""
    average = parts["average"]
    main = next((name for name, part in parts.items() if name != "average" and part.keys() == average.keys()), None)
    packed: dict[str, Tensor] = {}
    for name, part in parts.items():
        if name.startswith("optimizer-"):
            if moments:
                packed.update(_packed_moments(name, part))
        elif name == "average" and main is not None:
            for key, value in part.items():
                packed.update(_packed_average(f"average:{key}", value, parts[main][key]))
        else:
            for key, value in part.items():
                halved = name == main and _is_large(value) and float(value.abs().max()) < _LARGEST_HALF
                packed[f"{name}:{key}" + (_HALF if halved else "")] = value.half() if halved else value
    return {key: value.contiguous() for key, value in packed.items()}


def _packed_average(key: str, value: Tensor, weights: Tensor) -> dict[str, Tensor]:
    if not _is_large(value):
        return {key: value}
    if torch.equal(value, weights):  # frozen
        return {f"{key}{_SAME}": torch.ones(1, dtype=torch.int8)}
    # Against the weights as they will be read, so that their rounding does not add up.
    return _in_rows(key, value - _rounded(weights))


def _packed_moments(name: str, part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    packed: dict[str, Tensor] = {}
    for key, value in part.items():
        if not _is_large(value):
            packed[f"{name}:{key}"] = value
        elif key.rpartition("/")[2] in _FIRST_MOMENTS:
            packed.update(_in_rows(f"{name}:{key}", value))
        else:
            packed[f"{name}:{key}{_BRAIN}"] = value.bfloat16()
    return packed


def _is_large(value: Tensor) -> bool:
    return value.dtype == torch.float32 and value.numel() > SMALL


def _rounded(value: Tensor) -> Tensor:
    return value.half().float() if _is_large(value) and float(value.abs().max()) < _LARGEST_HALF else value


def _in_rows(key: str, value: Tensor) -> dict[str, Tensor]:
    """8 bits a value and one scale for each row of the first dimension."""
    rows = value.flatten(1) if value.ndim > 1 else value[None]
    scale = rows.abs().amax(1).clamp(min=1e-30) / 127
    steps = (rows / scale[:, None]).round().to(torch.int8).view(value.shape)
    return {f"{key}{_ROWS}": steps, f"{key}{_SCALE}": scale}


def _unpacked(packed: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Inverse of `_packed`: float32 throughout. Raises KeyError or RuntimeError for tensors that do not belong together."""
    parts: dict[str, dict[str, Tensor]] = {}
    for full, value in packed.items():
        name, _, key = full.partition(":")
        if full.endswith(_SCALE):
            continue
        if full.endswith(_ROWS):
            scale = packed[full.removesuffix(_ROWS) + _SCALE]
            value = (value.flatten(1) if value.ndim > 1 else value[None]).float().mul(scale[:, None]).view(value.shape)
            key = key.removesuffix(_ROWS)
        elif full.endswith((_HALF, _BRAIN)):
            value, key = value.float(), key.removesuffix(_HALF).removesuffix(_BRAIN)
        key = key.removesuffix(_SAME)
        parts.setdefault(name, {})[key] = value
    average = parts["average"]
    main = next((part for name, part in parts.items() if name != "average" and part.keys() == average.keys()), {})
    for key in average:
        if f"average:{key}{_ROWS}" in packed:
            average[key] = average[key] + main[key]
        elif f"average:{key}{_SAME}" in packed:
            average[key] = main[key].clone()
    return parts
