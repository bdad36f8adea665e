"""dlib's face network as a PyTorch module: its published weights file is read directly, so that it runs in batches and several times faster.

The layers follow dlib's example ``dnn_face_recognition_ex.cpp``; tests compare the result with dlib's own.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.errors import CheckpointError
from iconface_video.types import Float32

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
        """From dlib_face_recognition_resnet_model_v1.dat; the affine layers are folded into the convolutions."""
        network, data = cls(), path.read_bytes()
        convolutions, affines = _tensors(data, b"con_4"), _tensors(data, b"affine_")
        projection = _tensors(data, b"fc_2", leading=2)
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
        raise CheckpointError(f"a tensor of dlib's format version {version}, only 2 is known")
    count = 1
    for _ in range(4):
        size, start = _integer(data, start)
        count *= size
    return np.frombuffer(data, dtype="<f4", count=count, offset=start).astype(np.float32)


def _integer(data: bytes, start: int) -> tuple[int, int]:
    """dlib's integer: a byte that says how many follow (its top bit is the sign), then these, low byte first. Gives (value, next offset)."""
    length = data[start] & 0x0F
    return int.from_bytes(data[start + 1 : start + 1 + length], "little"), start + 1 + length
