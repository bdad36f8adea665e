"""Dense landmarks: 468 points of a face, by a small network of our own; where eyes, lids, lips and the face's outline are in a crop.

The points are those of MediaPipe's face mesh, whose network labelled the photos that ours was trained on (`lab.train.landmarks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from iconface_video.faces.align import cut_crop
from iconface_video.faces.network_file import NetworkKind, read_network, write_network
from iconface_video.faces.pixels import to_tensor
from iconface_video.types import Float32, Float64, UInt8

POINTS = 468
INPUT_SIZE = 112
"""px: side of the window that the network sees."""
WINDOW = (0.1, 0.15, 0.8)
"""The window in the FFHQ frame: left, top and side, as shares of the crop's side."""
WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "landmarks.safetensors"
_KIND = NetworkKind("landmarks", "landmark network", "1")

EYES = ((33, 133), (362, 263))
"""Corners of both eyes: errors are shares of the distance between their middles."""
_NOSE, _MOUTH_CORNERS = 1, (61, 291)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + torch.relu(self.convolution(x))
        return out


class LandmarkNetwork(nn.Module):
    """Convolutions to 7 x 7 cells, then the shape: a mean face plus a few principal components."""

    mean: Tensor
    basis: Tensor

    def __init__(self, components: int = 48, widths: Sequence[int] = (16, 32, 48, 80), hidden: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for number, width in enumerate(widths):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.ReLU()]
            layers += [_Residual(width) for _ in range((0, 1, 2, 2)[min(number, 3)])]
            before = width
        self.features = nn.Sequential(*layers, nn.Conv2d(before, 32, 1), nn.ReLU())
        cells = INPUT_SIZE // 2 ** len(widths)
        self.head = nn.Sequential(nn.Linear(32 * cells * cells, hidden), nn.ReLU(), nn.Linear(hidden, components))
        self.register_buffer("mean", torch.zeros(2 * POINTS))
        self.register_buffer("basis", torch.zeros(components, 2 * POINTS))

    def forward(self, windows: Tensor) -> Tensor:
        """(B, 3, 112, 112) RGB in [-1, 1] -> (B, 468, 2): x and y as shares of the window's side."""
        mean = windows.mean(dim=(1, 2, 3), keepdim=True)
        spread = windows.std(dim=(1, 2, 3), keepdim=True) + 0.05
        seen = self.features((windows - mean) / spread)
        shape = self.mean + self.head(seen.flatten(1)) @ self.basis
        return shape.unflatten(1, (POINTS, 2))

    def set_shapes(self, shapes: Float32) -> None:
        """Mean and principal components of labelled shapes (n, 468, 2), shares of the window; each component's scale is its deviation."""
        flat = shapes.reshape(len(shapes), -1).astype(np.float64)
        mean = flat.mean(0)
        _, values, rows = np.linalg.svd(flat - mean, full_matrices=False)
        count = len(self.basis)
        scaled = rows[:count] * values[:count, None] / np.sqrt(len(flat))
        self.mean.copy_(torch.from_numpy(mean))
        self.basis[: len(scaled)].copy_(torch.from_numpy(scaled))


def window_from_crop(size: int) -> Float64:
    """(2, 3) from px of a crop of `size` px to px of the network's window."""
    left, top, side = WINDOW
    scale = INPUT_SIZE / (side * size)
    return np.array([[scale, 0, scale * (0.5 - left * size) - 0.5], [0, scale, scale * (0.5 - top * size) - 0.5]])


def find_landmarks(network: LandmarkNetwork, crops: Sequence[UInt8], batch: int = 32) -> Float32:
    """(n, 468, 2) float32: x and y as shares of the crop's side. crops: uint8 (S, S, 3) RGB in the FFHQ frame, any sizes."""
    left, top, side = WINDOW
    found = [np.zeros((0, POINTS, 2), np.float32)]
    with torch.no_grad():
        for start in range(0, len(crops), batch):
            windows = np.stack(
                [cut_crop(crop, window_from_crop(len(crop)), INPUT_SIZE) for crop in crops[start : start + batch]]
            )
            points = network(to_tensor(windows, next(network.parameters()).device)).float().cpu().numpy()
            found.append(points * np.float32(side) + np.array([left, top], np.float32))
    return np.concatenate(found)


def five_points(points: Float32) -> Float32:
    """(n, 468, 2) -> (n, 5, 2): eyes, nose tip and corners of the mouth, as detectors give them (left in the picture first)."""
    eyes = [points[:, list(corners)].mean(1) for corners in EYES]
    return np.stack([*eyes, *(points[:, place] for place in (_NOSE, *_MOUTH_CORNERS))], 1)


def eye_distance(points: Float32) -> Float32:
    """(n, 468, 2) -> (n,) in the points' unit."""
    right, left = (points[:, list(corners)].mean(1) for corners in EYES)
    return np.asarray(np.linalg.norm(right - left, axis=1), np.float32)


def save_landmark_network(network: LandmarkNetwork, path: Path) -> Path:
    """Write it as float16."""
    return write_network(network, path, _KIND)


def load_landmark_network(path: Path = WEIGHTS, device: torch.device | str = "cpu") -> LandmarkNetwork:
    """In evaluation mode, weights frozen. Raises CheckpointError for a file that is missing, damaged or something else."""
    return read_network(path, _KIND, lambda tensors: LandmarkNetwork(len(tensors["basis"]))).to(device)
