"""The encoder's networks: AdaFace's IR nets, laid out so that public checkpoints load, and the compact one that we train."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.types import EMBEDDING_SIZE

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
    """Plain residual unit; ReLU, because PReLU and depthwise convolutions are slow to train on processors."""

    def __init__(self, wide_in: int, wide: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(wide_in, wide, 3, stride, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or wide_in != wide:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(wide_in, wide, 1, bias=False), nn.BatchNorm2d(wide)
            )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.convolutions(features) + self.shortcut(features), inplace=True)


class CompactNet(nn.Module):
    """3.5 M parameters, 0.37 GMAC at 112 px. Three residual stages, then a pooling with a learned weight for each place.

    The places' weights are resized with the feature map, so that training may start on smaller pictures.
    """

    STAGE_WIDTHS = (64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        stages, wide_in = [], 32
        for wide, count in zip(self.STAGE_WIDTHS, (2, 3, 2)):
            units = [ResidualUnit(wide_in if place == 0 else wide, wide, 2 if place == 0 else 1) for place in range(count)]
            stages.append(nn.Sequential(*units))
            wide_in = wide
        self.stages = nn.ModuleList(stages)
        self.expand = nn.Sequential(nn.Conv2d(wide_in, 512, 1, bias=False), nn.BatchNorm2d(512))
        self.place_weights = nn.Parameter(torch.ones(1, 512, 7, 7))
        self.project = nn.Linear(512, EMBEDDING_SIZE)

    def forward(self, images: Tensor) -> Tensor:
        return self.with_stages(images)[0]

    def with_stages(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Raw embeddings, the pooled features (B, 512) that they are made of, and the three stages' feature maps, at 1/4, 1/8 and 1/16
        of the pictures' side.
        """
        features, maps = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        features = self.expand(features)
        weights: Tensor = self.place_weights
        if features.shape[-2:] != weights.shape[-2:]:
            weights = F.interpolate(weights, features.shape[-2:], mode="bilinear", align_corners=False)
        pooled = (features * weights).mean(dim=(2, 3))
        return self.project(pooled), pooled, maps


def build_network(architecture: Architecture) -> nn.Module:
    if architecture == "mobile":
        return CompactNet()
    return IRNet(_IR_UNITS[architecture])
