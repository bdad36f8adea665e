"""The encoder's networks: AdaFace's IR nets, laid out so that public checkpoints load, and the compact one that we train."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.types import EMBEDDING_SIZE

WINDOW_SIZE = 68
"""px: side of what the compact net sees."""

Architecture = Literal["mobile", "ir18", "ir50", "ir101"]

ARCHITECTURES: tuple[Architecture, ...] = ("mobile", "ir18", "ir50", "ir101")

_IR_UNITS = {"ir18": (2, 2, 2, 2), "ir50": (3, 4, 14, 3), "ir101": (3, 13, 30, 3)}


class IRUnit(nn.Module):
    """Pre-normalised residual unit of ArcFace's improved ResNet (arXiv 1801.07698, 3.1), with AdaFace's key names."""

    def __init__(self, wide_in: int, wide: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if wide_in != wide:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(wide_in),
            nn.Conv2d(wide_in, wide, 3, 1, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, bias=False),
            nn.BatchNorm2d(wide),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.res_layer(features) + self.shortcut_layer(features)
        return out


class IRNet(nn.Module):
    """IR-18, IR-50 or IR-101 for (B, 3, 112, 112): raw (B, 512), the last batch norm's output, whose norm AdaFace reads as quality."""

    def __init__(self, units: tuple[int, ...]) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        body, wide_in = [], 64
        for wide, count in zip((64, 128, 256, 512), units):
            for place in range(count):
                body.append(IRUnit(wide_in, wide, 2 if place == 0 else 1))
                wide_in = wide
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, EMBEDDING_SIZE),
            nn.BatchNorm1d(EMBEDDING_SIZE, affine=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.output_layer(self.body(self.input_layer(images)))
        return out


class ResidualUnit(nn.Module):
    """Plain residual unit; ReLU, because PReLU and depthwise convolutions are slow to train on processors.

    A shrinking one halves the side and puts its places between the old ones (at 1, 3, 5 ...), without padding on the left and at the top.
    """

    def __init__(self, wide_in: int, wide: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.convolutions = nn.Sequential(
            nn.Conv2d(wide_in, wide, 3, stride, 1 if stride == 1 else 0, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or wide_in != wide:
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(wide_in, wide, 1, bias=False), nn.BatchNorm2d(wide))

    def forward(self, features: Tensor) -> Tensor:
        inside = features
        if self.stride != 1 and features.shape[-1] % 2 == 0:
            inside = F.pad(features, (0, 1, 0, 1))
        return F.relu(self.convolutions(inside) + self.shortcut(features), inplace=True)


class CompactNet(nn.Module):
    """4.9 M parameters, 0.17 GMAC. Sees a window of 68 px (`WINDOW_SIZE`) around eyes, nose and mouth: tests with the teacher showed that
    nothing larger is needed to tell people apart.
    """

    STAGE_WIDTHS = (64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True), ResidualUnit(32, 32)
        )
        stages, wide_in = [], 32
        for wide, count in zip(self.STAGE_WIDTHS, (3, 3, 2)):
            units = [ResidualUnit(wide_in, wide, 2), *(ResidualUnit(wide, wide) for _ in range(count - 1))]
            stages.append(nn.Sequential(*units))
            wide_in = wide
        self.stages = nn.ModuleList(stages)
        self.expand = nn.Sequential(
            ResidualUnit(wide_in, wide_in, 2),
            nn.Conv2d(wide_in, 512, 1, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(inplace=True),
        )
        self.place_weights = nn.Parameter(torch.ones(1, 512, 2, 2))
        self.project = nn.Linear(512, EMBEDDING_SIZE)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 68, 68) -> raw (B, 512)."""
        features = self.stem(images)
        for stage in self.stages:
            features = stage(features)
        return self.head(features)[0]

    def with_stages(self, images: Tensor) -> list[Tensor]:
        """The three stages' feature maps: (B, 64, 17, 17), (B, 128, 8, 8), (B, 256, 4, 4)."""
        maps = [self.stages[0](self.stem(images))]
        for stage in list(self.stages)[1:]:
            maps.append(stage(maps[-1]))
        return maps

    def head(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The last stage's map -> raw embeddings and the pooled features (B, 512) that they are made of."""
        pooled = (self.expand(features) * self.place_weights).mean(dim=(2, 3))
        return self.project(pooled), pooled


def build_network(architecture: Architecture) -> nn.Module:
    if architecture == "mobile":
        return CompactNet()
    return IRNet(_IR_UNITS[architecture])
