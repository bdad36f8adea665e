"""dlib's face network as a PyTorch module: its published weights file is read directly, so that it runs in batches and several times faster.

The layers follow dlib's example ``dnn_face_recognition_ex.cpp``; tests compare the result with dlib's own.

The encoder's teacher: dlib's face network (CC0), run once over a set of FFHQ-framed pictures and stored. A training extra, never used at run time.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.errors import CheckpointError, InputError
from iconface_video.faces.identity_encoder import template512_from_arcface112
from iconface_video.files import write_whole
from iconface_video.lab.train.loading import index_rows, read_indexed
from iconface_video.types import Float32, Float64, UInt8

CHIP_SIZE = 150
"""px: side of dlib's aligned face chip."""

_STAGES = ((32, 0, 3), (64, 1, 3), (128, 1, 2), (256, 1, 2), (256, 1, 0))
"""(width, shrinking units, plain units), input first."""

_MAP_UNITS = (6, 9, 12)
"""The last units of the second, third and fourth stage."""


class DlibUnit(nn.Module):
    """conv - affine - ReLU - conv - affine, plus the input: zero-padded where sizes differ, as dlib's add_prev does."""

    def __init__(self, wide_in: int, wide: int, shrinking: bool) -> None:
        super().__init__()
        self.shrinking = shrinking
        # dlib pads a convolution by default only when its stride is 1.
        self.first = nn.Conv2d(wide_in, wide, 3, 2 if shrinking else 1, 0 if shrinking else 1)
        self.second = nn.Conv2d(wide, wide, 3, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.second(F.relu(self.first(features)))
        shortcut = F.avg_pool2d(features, 2) if self.shrinking else features
        height, width = max(out.shape[2], shortcut.shape[2]), max(out.shape[3], shortcut.shape[3])
        return F.relu(_padded(out, out.shape[1], height, width) + _padded(shortcut, out.shape[1], height, width))


def _padded(features: Tensor, channels: int, height: int, width: int) -> Tensor:
    _, c, h, w = features.shape
    if (c, h, w) == (channels, height, width):
        return features
    return F.pad(features, (0, width - w, 0, height - h, 0, channels - c))


class DlibFaceNetwork(nn.Module):
    """(B, 3, 150, 150) RGB grey levels 0..255, dlib's face chips -> (B, 128) descriptors, as dlib gives them."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, 32, 7, 2)
        units, wide_in = [], 32
        for wide, shrinking, plain in _STAGES:
            units += [DlibUnit(wide_in if place == 0 else wide, wide, place < shrinking) for place in range(shrinking + plain)]
            wide_in = wide
        self.units = nn.Sequential(*units)
        self.project = nn.Linear(256, 128, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        features = F.max_pool2d(F.relu(self.stem((chips - self.mean) / 256)), 3, 2)
        out: Tensor = self.project(self.units(features).mean(dim=(2, 3)))
        return out

    def middle_maps(self, chips: Tensor) -> list[Tensor]:
        """Feature maps that a student may be shown: (B, 64, 17, 17), (B, 128, 8, 8), (B, 256, 4, 4).

        Place i of the first looks at px 8 i + 9 of the chip (none of dlib's shrinking convolutions pads).
        """
        features, maps = F.max_pool2d(F.relu(self.stem((chips - self.mean) / 256)), 3, 2), []
        for place, unit in enumerate(list(self.units)[: _MAP_UNITS[-1] + 1]):
            features = unit(features)
            if place in _MAP_UNITS:
                maps.append(features)
        return maps

    @classmethod
    def load(cls, path: Path) -> DlibFaceNetwork:
        """From dlib_face_recognition_resnet_model_v1.dat; the affine layers are folded into the convolutions. Raises CheckpointError."""
        network, data = cls(), path.read_bytes()
        try:
            convolutions, affines = _tensors(data, b"con_4"), _tensors(data, b"affine_")
            projection = _tensors(data, b"fc_2", leading=2)
        except (IndexError, ValueError) as error:
            raise CheckpointError(f"{path}: cut short or damaged ({error}); download dlib's face network again") from error
        units = [unit for unit in network.units if isinstance(unit, DlibUnit)]
        layers = [network.stem, *(layer for unit in units for layer in (unit.first, unit.second))]
        if not len(layers) == len(convolutions) == len(affines) or len(projection) != 1:
            raise CheckpointError(
                f"{path}: {len(convolutions)} convolutions and {len(affines)} affine layers, need {len(layers)} of each: not dlib's face network"
            )
        with torch.no_grad():
            for layer, weights, affine in zip(layers, convolutions, affines):
                _fill(layer, weights, affine)
            network.project.weight.copy_(torch.from_numpy(projection[0].reshape(256, 128).T.copy()))
        return network.eval().requires_grad_(False)


def _fill(layer: nn.Conv2d, weights: Float32, affine: Float32) -> None:
    gamma, beta = (torch.from_numpy(part.copy()) for part in np.split(affine, 2))
    count = layer.weight.numel()
    assert layer.bias is not None
    layer.weight.copy_(torch.from_numpy(weights[:count].copy()).view_as(layer.weight) * gamma.view(-1, 1, 1, 1))
    layer.bias.copy_(torch.from_numpy(weights[count:].copy()) * gamma + beta)


def _tensors(data: bytes, layer: bytes, leading: int = 0) -> list[Float32]:
    """The parameters of every layer of one kind, in file order (input first).

    They follow the layer's length-prefixed name and `leading` integers (sizes, in fully connected layers).
    """
    found = []
    for match in re.finditer(re.escape(bytes([1, len(layer)]) + layer), data):
        start = match.end()
        for _ in range(leading):
            _, start = _integer(data, start)
        found.append(_tensor(data, start))
    return found


def _tensor(data: bytes, start: int) -> Float32:
    """dlib's tensor, version 2: version, four sizes, then little-endian floats."""
    version, start = _integer(data, start)
    if version != 2:
        raise ValueError(f"a tensor of dlib's format version {version}, only 2 is known")
    count = 1
    for _ in range(4):
        size, start = _integer(data, start)
        count *= size
    return np.frombuffer(data, dtype="<f4", count=count, offset=start).astype(np.float32)


def _integer(data: bytes, start: int) -> tuple[int, int]:
    """dlib's integer: a byte that says how many follow (its top bit is the sign), then these, low byte first. Gives (value, next offset)."""
    length = data[start] & 0x0F
    return int.from_bytes(data[start + 1 : start + 1 + length], "little"), start + 1 + length


TEACHER_SIZE = 128
"""Length of dlib's face descriptor."""

_FACE_BOX = (0.176, 0.305, 0.824, 0.891)
"""Where dlib's own detector finds the face in the FFHQ frame (median), as a share of its side: left, top, right, bottom."""


_CHIP_CENTER, _CHIP_SIDE = (257.6, 308.3), 341.4
"""dlib's chip in the 512-px FFHQ frame: its middle and side (median over 245 photos)."""


def chip_from_arcface112() -> Float64:
    """(2, 3) affine from px of the ArcFace frame (112 px) to px of dlib's chip (150 px), for the usual face."""
    scale = CHIP_SIZE / _CHIP_SIDE
    matrix = template512_from_arcface112() * scale
    # Edges scale, so pixel centres also move by half a px.
    matrix[:, 2] += (0.5 - np.array(_CHIP_CENTER)) * scale + CHIP_SIZE / 2 - 0.5
    return np.asarray(matrix, dtype=np.float64)


class Teacher:
    """dlib's ResNet on dlib's own framing (68 landmarks), each face with its mirror image. A good 97.9 % balanced verification accuracy
    on held-out people.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise InputError("the teacher needs dlib: pip install 'iconface-video[train]'") from error
        folder = models_folder()
        self._dlib: Any = dlib
        self._landmarks = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))
        self.network = load_network()

    def chip(self, crop: UInt8) -> UInt8:
        """dlib's face chip (150, 150, 3) of one FFHQ-framed crop, uint8 (S, S, 3) RGB."""
        crop = np.ascontiguousarray(crop)
        chip = self._dlib.get_face_chip(crop, self._shape(crop), size=CHIP_SIZE, padding=0.25)
        return np.asarray(chip, dtype=np.uint8)

    def landmarks(self, crop: UInt8) -> Float32:
        """(68, 2) px: dlib's landmarks of one FFHQ-framed crop (jaw 0-16, brows, nose, eyes 36-47, mouth 48-67)."""
        found = self._shape(np.ascontiguousarray(crop))
        return np.array([(point.x, point.y) for point in found.parts()], dtype=np.float32)

    def _shape(self, crop: UInt8) -> Any:
        size = crop.shape[0]
        return self._landmarks(crop, self._dlib.rectangle(*(round(share * size) for share in _FACE_BOX)))

    @torch.no_grad()
    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """(n, 128) descriptors of FFHQ-framed crops, each uint8 (S, S, 3) RGB: the mean of a face's and its mirror image's."""
        if not crops:
            return np.zeros((0, TEACHER_SIZE), dtype=np.float32)
        chips = torch.from_numpy(np.stack([self.chip(crop) for crop in crops])).permute(0, 3, 1, 2).float()
        both = torch.cat([chips, chips.flip(3)]).contiguous(memory_format=torch.channels_last)
        return np.asarray(self.network(both).view(2, len(crops), -1).mean(dim=0).numpy(), dtype=np.float32)


def load_network() -> DlibFaceNetwork:
    """dlib's network from the package face_recognition_models."""
    network = DlibFaceNetwork.load(models_folder() / "dlib_face_recognition_resnet_model_v1.dat")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def models_folder() -> Path:
    # Found without importing the package: its __init__ needs pkg_resources, which new setuptools no longer bring.
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the teacher's weights are missing: pip install 'iconface-video[train]'")
    return Path(spec.submodule_search_locations[0]) / "models"


def embed_folder(folder: Path, out: Path, batch: int = 32, save_every: int = 50) -> int:
    """Embed every picture of `folder`/index.csv (column "file") into `out` (npz: files (n,), embeddings (n, 128) float32).

    Goes on where an interrupted call stopped (stored every `save_every` batches). Gives back how many pictures were embedded; raises
    `InputError` for a missing index or picture.
    """
    done = load_teacher(out) if out.exists() else {}
    missing = [(row["file"], folder / row["file"]) for row in index_rows(folder) if row["file"] not in done]
    teacher = Teacher() if missing else None
    for number, start in enumerate(range(0, len(missing), batch)):
        part = missing[start : start + batch]
        assert teacher is not None
        vectors = teacher.embed([read_indexed(path) for _, path in part])
        done.update(zip((file for file, _ in part), vectors))
        if number % save_every == save_every - 1:
            _store(out, done)
    if missing:
        _store(out, done)
    return len(missing)


def _store(out: Path, vectors: dict[str, Float32]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"files": np.array(list(vectors)), "embeddings": np.stack(list(vectors.values()))}
    write_whole(out, lambda file: np.savez(file, allow_pickle=False, **arrays))


def load_teacher(path: Path) -> dict[str, Float32]:
    """File name to (128,) descriptor, as `embed_folder` stored them."""
    if not path.is_file():
        raise InputError(f"{path}: teacher vectors not found; make them with python -m iconface_video.lab.train.teacher")
    with np.load(path) as stored:
        return dict(zip(stored["files"].tolist(), stored["embeddings"].astype(np.float32)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="data sets: folders with an index.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for <set>.npz")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for folder in options.folders:
        count = embed_folder(folder, options.out / f"{folder.name}.npz")
        print(f"{folder.name}: {count} pictures embedded", flush=True)


if __name__ == "__main__":
    main()
