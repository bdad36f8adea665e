"""Identity embeddings: a face recogniser whose raw output keeps its norm, which IConFace (eq. 3-4) reads as reliability."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from iconface_video.errors import CheckpointError
from iconface_video.faces.align import estimate_parameters, matrix_from_parameters
from iconface_video.faces.encoder_folder import EMBEDDED_FOLDER
from iconface_video.faces.encoder_networks import ARCHITECTURES, WINDOW_SIZE, Architecture, build_network
from iconface_video.faces.pixels import to_tensor
from iconface_video.types import Float32, Float64, UInt8

ENCODER_SIZE = 112
"""px: side of the ArcFace frame that every encoder sees."""

ARCFACE_TEMPLATE_112: Float64 = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""(5, 2) px: where eyes, nose tip and mouth corners stand in the ArcFace frame (insightface's standard)."""

FORMAT_VERSION = 1
WEIGHTS_FILE = "identity_encoder.safetensors"
MANIFEST_FILE = "manifest.json"

ColorOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class EncoderSettings:
    """What has to be known to use a set of weights."""

    architecture: Architecture = "mobile"
    color_order: ColorOrder = "rgb"
    """Channel order that the weights were trained on; `IdentityEncoder` itself always takes RGB."""


class IdentityEncoder(nn.Module):
    """AdaFace-style encoder: aligned faces to raw identity embeddings."""

    def __init__(self, settings: EncoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or EncoderSettings()
        self.network = build_network(self.settings.architecture)

    def forward(self, images: Tensor) -> Tensor:
        """images: float (B, 3, 112, 112) RGB in [-1, 1], ArcFace frame. Returns (B, 512) raw: direction = who, norm = how reliable."""
        out: Tensor = self.network(self.prepared(images))
        return out

    def prepared(self, images: Tensor) -> Tensor:
        """The pictures as the network wants them: its channel order, and for the compact net its window."""
        if self.settings.color_order == "bgr":
            images = images.flip(1)
        return _sampled(images, window_from_arcface112(), WINDOW_SIZE) if self.settings.architecture == "mobile" else images


# ---- framing


def template512_from_arcface112() -> Float64:
    """(2, 3) similarity from px of the ArcFace frame to px of the 512-px FFHQ frame: least squares over the two templates."""
    return matrix_from_parameters(estimate_parameters(ARCFACE_TEMPLATE_112))


_WINDOW_CENTER, _WINDOW_SCALE = (54.51, 70.36), 0.74697
"""The compact net's window: its middle in the ArcFace frame (px), and px of the window for each px of the frame. Chosen so that places of
its feature maps fall on those of the teacher's (see `lab.train.encoder`)."""


def window_from_arcface112() -> Float64:
    """(2, 3) from px of the ArcFace frame to px of the compact net's window."""
    middle = (WINDOW_SIZE - 1) / 2
    x, y = (middle - _WINDOW_SCALE * center for center in _WINDOW_CENTER)
    return np.array([[_WINDOW_SCALE, 0.0, x], [0.0, _WINDOW_SCALE, y]])


def arcface_from_ffhq(images: Tensor, margin_px: int = 0) -> Tensor:
    """Cut the ArcFace frame out of FFHQ-framed crops, differentiably and without aliasing.

    images: float (B, 3, S, S), any value range. Returns (B, 3, 112, 112), or larger by `margin_px` on each side.
    """
    matrix = template512_from_arcface112()
    # Shrink first, with a filter, to the scale of the ArcFace frame; what is left is a turn and shift at about 1:1.
    fitting = round(512 / float(np.hypot(matrix[0, 0], matrix[1, 0])))
    if images.shape[-1] > 1.15 * fitting:
        images = F.interpolate(images.float(), (fitting, fitting), mode="bilinear", antialias=True, align_corners=False)
    inner = np.vstack([matrix, [0, 0, 1]]) @ np.array([[1, 0, -margin_px], [0, 1, -margin_px], [0, 0, 1]])
    # Px of the 512-px frame -> px of the picture as it is now: edges scale, centres move by half a px.
    scale = images.shape[-1] / 512
    from_frame = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
    picture_from_arcface = (from_frame @ inner)[:2]
    return _sampled(images, _inverse(picture_from_arcface), ENCODER_SIZE + 2 * margin_px)


def _inverse(matrix: Float64) -> Float64:
    return np.asarray(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2], dtype=np.float64)


def _sampled(images: Tensor, matrix: Float64, size: int) -> Tensor:
    """images (B, 3, h, w) seen through `matrix` ((2, 3), picture px -> result px): (B, 3, size, size), bilinear, edges repeated."""
    back = torch.from_numpy(_inverse(matrix))
    place = torch.arange(size, dtype=torch.float64)
    y, x = torch.meshgrid(place, place, indexing="ij")
    source = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ back.T
    sides = torch.tensor([images.shape[-1], images.shape[-2]], dtype=torch.float64)
    # -1 and 1 are the picture's edges, half a px beyond the outer centres.
    grid = (2 * (source + 0.5) / sides - 1).to(device=images.device, dtype=images.dtype)
    grid = grid.expand(images.shape[0], -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def embed_crops(encoder: IdentityEncoder, crops: Sequence[UInt8], batch: int = 32) -> Float32:
    """Raw embeddings (n, 512) float32 of FFHQ-framed crops, each uint8 (S, S, 3) RGB of any size."""
    device = next(encoder.parameters()).device
    faces = [arcface_from_ffhq(to_tensor([crop], device)) for crop in crops]
    parts = [encoder(torch.cat(faces[start : start + batch])) for start in range(0, len(faces), batch)]
    if not parts:
        return np.zeros((0, 512), dtype=np.float32)
    return np.asarray(torch.cat(parts).float().cpu().numpy(), dtype=np.float32)


# ---- checkpoints


def save_identity_encoder(
    encoder: IdentityEncoder, folder: Path, extra: Mapping[str, Any] | None = None, half: bool = True
) -> Path:
    """Write weights (float16 when `half`) and the manifest with their checksum; `extra` goes into the manifest. Returns the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS_FILE
    tensors = {}
    for key, value in encoder.state_dict().items():
        keep = not half or not value.is_floating_point() or "running_" in key  # variances may leave float16's range
        tensors[key] = value.detach().cpu().contiguous() if keep else value.detach().cpu().half().contiguous()
    save_file(tensors, path, metadata=_metadata(encoder.settings))
    path.chmod(0o644)
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "identity_encoder",
        "file": WEIGHTS_FILE,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "settings": asdict(encoder.settings),
        "parameters": sum(p.numel() for p in encoder.parameters()),
        **(extra or {}),
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return path


def _metadata(settings: EncoderSettings) -> dict[str, str]:
    return {"format_version": str(FORMAT_VERSION), "kind": "identity_encoder", **asdict(settings)}


def load_identity_encoder(name_or_path: str | Path = "embedded", device: torch.device | str = "cpu") -> IdentityEncoder:
    """The encoder in evaluation mode, weights frozen.

    "embedded" (checksum verified), a folder with manifest.json (likewise), or a .safetensors file of ours. Nothing is ever unpickled:
    AdaFace's own checkpoints go through `convert_adaface` first. Raises `CheckpointError`.
    """
    source = EMBEDDED_FOLDER if str(name_or_path) == "embedded" else Path(name_or_path)
    if source.is_dir():
        path = _verified(source)
    elif source.suffix in {".ckpt", ".pt", ".pth", ".bin"}:
        raise CheckpointError(f"{source}: not in our format; convert it first with convert_adaface(path, out)")
    else:
        path = source
    settings = _read_settings(path)
    encoder = IdentityEncoder(settings)
    _load_weights(encoder, load_file(path), path)
    return encoder.to(device).eval().requires_grad_(False)


def _verified(folder: Path) -> Path:
    """The weights file of a folder, after its checksum."""
    manifest_path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        path, checksum = folder / Path(str(manifest["file"])).name, str(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{manifest_path}: no usable manifest of an identity encoder ({error})") from error
    if not path.is_file():
        raise CheckpointError(f"{path}: missing, although {manifest_path.name} names it; is the installation complete?")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != checksum:
        raise CheckpointError(
            f"{path}: damaged, its SHA-256 is {found[:12]}..., the manifest says {checksum[:12]}...; reinstall it"
        )
    return path


def _read_settings(path: Path) -> EncoderSettings:
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("kind") != "identity_encoder":
        raise CheckpointError(
            f"{path}: not an identity encoder (kind is {metadata.get('kind')!r}); AdaFace's own files go through convert_adaface"
        )
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: format version {metadata.get('format_version')}, this program reads {FORMAT_VERSION}; update it"
        )
    architecture, order = metadata.get("architecture"), metadata.get("color_order")
    if architecture not in ARCHITECTURES or order not in ("rgb", "bgr"):
        raise CheckpointError(f"{path}: unknown architecture {architecture!r} or color order {order!r}")
    return EncoderSettings(architecture, order)


def _load_weights(encoder: IdentityEncoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    wanted = encoder.state_dict()
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    what = f"{path}: not the weights of '{encoder.settings.architecture}'"
    if missing:
        raise CheckpointError(f"{what}: {len(missing)} of {len(wanted)} tensors are missing, first '{missing[0]}'")
    if unknown:
        raise CheckpointError(f"{what}: {len(unknown)} unknown tensors, first '{unknown[0]}'")
    for key, value in tensors.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(f"{what}: '{key}' is {tuple(value.shape)}, must be {tuple(wanted[key].shape)}")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: '{key}' holds values that are not finite; the file is damaged")
    encoder.load_state_dict({key: value.to(wanted[key].dtype) for key, value in tensors.items()})


# ---- foreign checkpoints


def convert_adaface(path: str | Path, out: str | Path, color_order: ColorOrder | None = None) -> Path:
    """Convert an AdaFace (.ckpt: BGR) or CVLface (.pt, .safetensors: RGB) IR checkpoint into folder `out`.

    Read with `weights_only`, so nothing in the file is executed. The IR net's depth is found by its keys; `color_order` overrides
    what the source's key prefix tells ("model." AdaFace, "net." CVLface). Raises `CheckpointError`.
    """
    path = Path(path)
    foreign = _read_foreign(path)
    prefix, tensors = _strip_prefix(foreign, path)
    order: ColorOrder = color_order or ("rgb" if prefix.endswith("net.") else "bgr")
    encoder = IdentityEncoder(EncoderSettings(_ir_depth(tensors, path), order))
    # Old checkpoints lack the batch counters, which only matter while training.
    counters = {k: v for k, v in encoder.state_dict().items() if k.endswith("num_batches_tracked")}
    whole = {**counters, **{f"network.{key}": value for key, value in tensors.items()}}
    _load_weights(encoder, whole, path)
    save_identity_encoder(encoder, Path(out), {"source": path.name}, half=False)
    return Path(out)


def _read_foreign(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds here, UnpicklingError among them
        raise CheckpointError(
            f"{path}: cannot be read as plain weights, and nothing else is ever executed ({error})"
        ) from error
    weights = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: holds no state dict but {type(loaded).__name__}")
    return {str(key): value for key, value in weights.items() if isinstance(value, Tensor)}


def _strip_prefix(foreign: Mapping[str, Tensor], path: Path) -> tuple[str, dict[str, Tensor]]:
    """The net's own tensors, without what stands before "input_layer."; the training head's stay behind."""
    mark = "input_layer.0.weight"
    found = [key for key in foreign if key.endswith(mark)]
    if not found:
        raise CheckpointError(f"{path}: no '{mark}' inside: not an AdaFace or CVLface IR checkpoint")
    prefix = found[0][: -len(mark)]
    parts = ("input_layer.", "body.", "output_layer.")
    inner = {key[len(prefix) :]: value for key, value in foreign.items() if key.startswith(prefix)}
    return prefix, {key: value for key, value in inner.items() if key.startswith(parts)}


def _ir_depth(tensors: Mapping[str, Tensor], path: Path) -> Architecture:
    units = 1 + max((int(key.split(".")[1]) for key in tensors if key.startswith("body.")), default=-1)
    depths: dict[int, Architecture] = {8: "ir18", 24: "ir50", 49: "ir101"}
    if units not in depths:
        raise CheckpointError(f"{path}: {units} residual units; known are IR-18 (8), IR-50 (24) and IR-101 (49)")
    return depths[units]
