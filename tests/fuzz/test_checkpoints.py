"""Mutated checkpoints: with their checksums always refused; without, refused wherever the file itself gives the damage away."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.faces.identity_encoder import EncoderSettings, IdentityEncoder, load_identity_encoder, save_identity_encoder
from iconface_video.models.checkpoint_files import MANIFEST, read_json, read_shapes, read_tensors, verify_manifest
from iconface_video.models.checkpoints import load_model
from iconface_video.models.saving import save_model
from tests.models.tiny_models import tiny_pixel_model

MUTANTS = 120
Rng = np.random.Generator
WILD = (-1, 0, 1, 3, 2**16, 2**31, 2**62, 10**30, -0.5, float("nan"), float("inf"), "text", None, [], {}, [[1]], True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    torch.manual_seed(1)
    save_model(tiny_pixel_model(), folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


# ---- damage


def flip(data: bytes, rng: Rng) -> bytes:
    bent = bytearray(data)
    for place in rng.integers(len(bent), size=int(rng.choice([1, 8]))):
        bent[place] ^= 1 << int(rng.integers(8))
    return bytes(bent)


def cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data) - 2))]  # more than a last line break


def longer(data: bytes, rng: Rng) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 100)))


def header_length(data: bytes, rng: Rng) -> bytes:
    """Of a safetensors file: its first eight bytes."""
    wild = (0, 1, 7, len(data), 2**31, 2**32, 2**62, 2**64 - 1, int(rng.integers(2**20)))
    return struct.pack("<Q", int(wild[int(rng.integers(len(wild)))])) + data[8:]


def header_entry(data: bytes, rng: Rng) -> bytes:
    """A tensor's kind, shape or place that is not true."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = sorted(set(header) - {"__metadata__"})[int(rng.integers(len(header) - 1))]
    entry, damage = header[name], int(rng.integers(6))
    if damage == 0:
        entry["dtype"] = str(rng.choice(["F64", "I64", "BOOL", "U8", "F8_E5M2", "BF16", "X1"]))
    elif damage == 1:
        entry["shape"] = [int(rng.choice([0, 1, 2**31, 2**62, 2**64 - 1])), *entry["shape"][1:]]
    elif damage == 2:
        entry["shape"] = entry["shape"][::-1] if len(set(entry["shape"])) > 1 else [1, *entry["shape"]]
    elif damage == 3:
        entry["data_offsets"] = [int(rng.integers(2**40)), int(rng.integers(2**40))]
    elif damage == 4:
        header[f"{name}.other"] = header.pop(name)
    else:
        del header[name]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def json_value(data: bytes, rng: Rng) -> bytes:
    """A setting that no model has, anywhere in the file."""
    values = json.loads(data)
    places: list[tuple[dict | list, str | int]] = []

    def collect(part: dict | list) -> None:
        for key, item in list(part.items() if isinstance(part, dict) else enumerate(part)):
            places.append((part, key))
            if isinstance(item, (dict, list)):
                collect(item)

    collect(values)
    part, key = places[int(rng.integers(len(places)))]
    part[key] = WILD[int(rng.integers(len(WILD)))]  # type: ignore[index]
    return json.dumps(values).encode()


def json_nested(data: bytes, rng: Rng) -> bytes:
    return b'{"a":' * 100_000 + b"1" + b"}" * 100_000


ANY = (flip, cut, longer)
TENSORS = (header_length, header_entry, header_entry)
TEXTS = (json_value, json_value, json_value, json_nested)


def damage(folder: Path, rng: Rng) -> tuple[Path, Callable[[bytes, Rng], bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    path = files[int(rng.integers(len(files)))]
    changes = ANY if rng.random() < 0.3 else TENSORS if path.suffix == ".safetensors" else TEXTS
    change = changes[int(rng.integers(len(changes)))]
    path.write_bytes(change(path.read_bytes(), rng))
    return path, change


# ---- the restorer


@pytest.mark.parametrize("part", range(4))
def test_any_change_is_refused_by_checksum(part: int, saved: Path, tmp_path: Path) -> None:
    """In whatever way: one bit is enough."""
    for number in range(part, MUTANTS, 4):
        folder = Path(shutil.copytree(saved, tmp_path / str(number)))
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        path, _ = damage(folder, np.random.default_rng([number, 1]))
        if path.read_bytes() == before[path]:
            continue
        with pytest.raises(CheckpointError, match=r"SHA-256 differs|must have") as caught:
            load_model(folder)
        assert str(path) in str(caught.value)
        shutil.rmtree(folder)


@pytest.mark.parametrize("part", range(4))
def test_without_checksums_damage_is_refused_or_does_not_matter(part: int, saved: Path, tmp_path: Path) -> None:
    """Never another exception, and never a model that gives something else than pictures."""
    refused = 0
    for number in range(part, MUTANTS, 4):
        folder = Path(shutil.copytree(saved, tmp_path / str(number)))
        (folder / MANIFEST).unlink()
        path, change = damage(folder, np.random.default_rng([number, 2]))
        said = refusal_of(folder)
        about = (number, path.name, change.__name__, said)
        if said is None:
            assert change not in (cut, longer, header_length, json_nested), about
        else:
            refused += 1
            assert str(folder) in said or "crops whose size" in said, about  # a size asked for, not the file's fault
            assert "\n" not in said, about
        shutil.rmtree(folder)
    assert refused > MUTANTS // 4 // 2


def refusal_of(folder: Path) -> str | None:
    """What is said where the model is refused; None where it loads and restores a picture. Anything else is passed on."""
    try:
        model = load_model(folder, dtype="float32")
        restored = model.restore(torch.zeros(1, 3, 32, 32), torch.ones(1, 512), [None], torch.zeros(1, *model.noise_shape(32)))
    except (CheckpointError, UsageError) as error:
        return str(error)
    return None if restored.shape == (1, 3, 32, 32) else "another shape"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["adapters/adapters.safetensors", "autoencoder/autoencoder.safetensors", "prompt_embedding.safetensors",
             "transformer/diffusion_pytorch_model.safetensors"],
)  # fmt: skip
def test_weights_that_are_no_numbers_are_refused(value: float, name: str, copy: Path) -> None:
    (copy / MANIFEST).unlink()
    tensors = load_file(copy / name)
    first = next(key for key in sorted(tensors) if tensors[key].numel() > 3)
    tensors[first].view(-1)[3] = value
    save_file(tensors, copy / name, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"'{first}' holds values that are not finite"):
        load_model(copy)


def test_large_finite_weights_are_no_damage(tmp_path: Path) -> None:
    """Their sum may leave the number format while each is fine."""
    save_file({"weight": torch.full((9,), 3e38)}, tmp_path / "large.safetensors")
    assert float(read_tensors(tmp_path / "large.safetensors")["weight"].max()) > 1e38


def test_a_manifest_names_files_of_its_folder_only(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    for name in ("../outside", str(tmp_path / "outside")):
        (copy / MANIFEST).write_text(json.dumps({"files": {name: {"bytes": 1, "sha256": "0"}}}))
        with pytest.raises(CheckpointError, match="is no file of this folder"):
            verify_manifest(copy)
    for broken in ({"files": {"model_index.json": 7}}, {"files": []}, {"files": {"model_index.json": {}}}, {}):
        (copy / MANIFEST).write_text(json.dumps(broken))
        with pytest.raises(CheckpointError):
            verify_manifest(copy)


def test_settings_too_large_to_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 50 + " " * (17 << 20))
    with pytest.raises(CheckpointError, match="far too large"):
        read_json(path)


def test_a_header_may_not_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 2**64]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"w\.safetensors: corrupt or cut short"):
        read_shapes(path)


# ---- the identity encoder


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(2)
    save_identity_encoder(IdentityEncoder(EncoderSettings()), folder)
    return folder


def test_a_mutated_identity_encoder_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    """In its folder by checksum; a lone file wherever the damage shows."""
    data = (encoder_folder / "identity_encoder.safetensors").read_bytes()
    for number in range(24):
        rng = np.random.default_rng([number, 3])
        changes = (*ANY, *TENSORS)
        change = changes[int(rng.integers(len(changes)))]
        bent = change(data, rng)
        folder = tmp_path / str(number)
        shutil.copytree(encoder_folder, folder)
        (folder / "identity_encoder.safetensors").write_bytes(bent)
        with pytest.raises(CheckpointError, match="SHA-256"):
            load_identity_encoder(folder)
        if change is not flip:
            with pytest.raises(CheckpointError) as caught:
                load_identity_encoder(folder / "identity_encoder.safetensors")
            assert str(folder) in str(caught.value)
        shutil.rmtree(folder)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"file": "../x", "sha256": ""}', '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_a_broken_manifest_of_the_encoder(text: str, encoder_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder_folder, tmp_path / "copy"))
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest|x: missing"):
        load_identity_encoder(folder)


# ---- the detector


def test_a_mutated_detector_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from iconface_video.faces import detector as centerface

    data = centerface.find_model().read_bytes()
    path = tmp_path / "centerface.onnx"
    monkeypatch.setattr(centerface, "find_model", lambda: path)
    for number, change in enumerate((cut, cut, cut, lambda data, rng: b"", lambda data, rng: rng.bytes(5000))):
        path.write_bytes(change(data, np.random.default_rng([number, 4])))
        with pytest.raises(CheckpointError, match="the CenterFace network is damaged") as caught:
            centerface.CenterFace(threads=1)
        assert str(path) in str(caught.value)


def test_one_flipped_bit_of_the_installed_detector_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from iconface_video.faces import detector as centerface

    path = centerface.find_model()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    with pytest.raises(CheckpointError, match="its SHA-256 is not the installed one"):
        centerface._check_installed(path, bytes(data))
    centerface._check_installed(path, path.read_bytes())
