"""Several frames as evidence: what a face's neighbouring frames know of it, brought into one crop before the restorer looks.

The neighbours are carried onto the frame along optical flow. A small network says for each place how much each of them is worth (a
trust gate: softmax over the frames) and adds what no average can give. It belongs to no restorer: what comes out is the same
face, less damaged, which any of them restores. Without neighbours nothing is done: a picture is a clip of one frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.faces.network_file import NetworkKind, read_network, write_network
from iconface_video.faces.pixels import to_tensor, to_uint8
from iconface_video.models.checkpoint_index import frame_fusion_file
from iconface_video.models.picture_layers import ChannelNorm, ResidualBlock, residual_stack
from iconface_video.tracking.dense_flow import enlarged, flow_estimator, mean_difference, mean_of_channels, quantile, sampled
from iconface_video.types import Float32, UInt8

NEIGHBOURS = 3
"""Frames on each side."""
FRAMES = 2 * NEIGHBOURS + 1
FLOW_SIZE = 128
"""px at which the flow is estimated."""
_BLUR_SHARE = 1 / 128
"""Sigma, as a share of the crop, of the low pass before that: DIS bears grain."""
_COMPARE_SIZE = 64
"""px at which a neighbour is compared with the frame: noise and grain are averaged away there."""
_FORGIVEN, _FORGIVEN_LIMITS = 3.0, (2.0, 10.0)
"""A neighbour's weight falls to exp(-1/2) where it differs by so many times its median difference, held within these grey levels."""
_ANOTHER_PICTURE = 8.0
"""Median difference in grey levels from which on a neighbour shows something else altogether: tapes have 2 to 3."""
_FINE_PX, _LIGHT_SHARE = 9, 1 / 8
"""Side of the neighbourhood, px, in which fine differences are measured; of the one, as a share of the crop, whose mean is light."""
_CALM_QUANTILE = 1 / 3
"""Of the face's fine differences: what the calmest third has, noise explains all over."""
_CALM_TIMES, _STRONG_NOISE, _STRONG_TIMES, _MISFIT = 1.3, 2.0, 0.4, 0.5
"""Fine differences beyond 1.3 times the calm ones are misfits; under strong noise (grey levels) .4 times the square beyond it is forgiven
as well, for there neighbours are worth more than they blur. The weight falls to exp(-1/2) at .5 grey levels and half the noise more."""
_CONTRAST, _CHANGE = 4.0, 0.2
"""Scale of what the network sees of the neighbours, and of what it adds."""
_KIND = NetworkKind("frame-fusion", "frame fusion network", "1")


class FrameFusion(nn.Module):
    """A U-net at half resolution over all frames at once. Its sides must be multiples of 8."""

    def __init__(self, widths: Sequence[int] = (24, 48, 80)) -> None:
        super().__init__()
        low, middle, deep = widths
        self.look = nn.Conv2d(12 * FRAMES, low, 3, padding=1)
        self.down_low = ResidualBlock(low)
        self.to_middle = nn.Conv2d(low, middle, 3, stride=2, padding=1)
        self.down_middle = ResidualBlock(middle)
        self.to_deep = nn.Conv2d(middle, deep, 3, stride=2, padding=1)
        self.bottom = residual_stack(deep, 2)
        self.from_deep = nn.Conv2d(deep, middle, 1)
        self.up_middle = ResidualBlock(middle)
        self.from_middle = nn.Conv2d(middle, low, 1)
        self.up_low = ResidualBlock(low)
        self.last = ChannelNorm(low)
        self.trust = nn.Conv2d(low, 4 * FRAMES, 3, padding=1)
        self.change = nn.Conv2d(low, 12, 3, padding=1)
        with torch.no_grad():
            for layer in (self.trust, self.change):
                layer.weight.zero_()
                assert layer.bias is not None
                layer.bias.zero_()

    def forward(self, windows: Tensor) -> Tensor:
        """(B, 7, 3, S, S) RGB in [-1, 1], carried onto the middle one -> (B, 3, S, S) what the middle one shows."""
        middle = windows[:, NEIGHBOURS]
        others = torch.cat([windows[:, :NEIGHBOURS], windows[:, NEIGHBOURS + 1 :]], 1)
        # What says nothing new is zero, and differences count more than the picture itself.
        seen = torch.cat([middle[:, None], _CONTRAST * (others - middle[:, None])], 1)
        low = self.down_low(self.look(F.pixel_unshuffle(seen.flatten(1, 2), 2)))
        half = self.down_middle(self.to_middle(low))
        deep = self.bottom(self.to_deep(half))
        half = self.up_middle(half + F.interpolate(self.from_deep(deep), scale_factor=2.0, mode="nearest"))
        low = self.last(self.up_low(low + F.interpolate(self.from_middle(half), scale_factor=2.0, mode="nearest")))
        trust = F.pixel_shuffle(self.trust(low), 2).softmax(1)
        change = _CHANGE * F.pixel_shuffle(self.change(low), 2)
        out: Tensor = (trust[:, :, None] * windows).sum(1) + change
        return out


def carried(window: Sequence[UInt8]) -> UInt8:
    """(7, S, S, 3): seven crops of one face, each brought onto the middle one along the optical flow (DIS, Kroeger et al. 2016).

    window: (S, S, 3) RGB each; the middle one's own object stands wherever a neighbour is missing.
    """
    middle = window[NEIGHBOURS]
    size = len(middle)
    here = _for_flow(middle)
    flow = flow_estimator()
    found = []
    for picture in window:
        if picture is middle:
            found.append(middle)
            continue
        motion = np.asarray(flow.calc(here, _for_flow(picture), np.zeros((*here.shape, 2), np.float32)), np.float32)
        found.append(sampled(picture, enlarged(motion, size)))
    return np.stack(found)


def trusted(windows: UInt8) -> UInt8:
    """(7, S, S, 3) of `carried` -> the same; where a neighbour shows something else than the middle one, the middle one.

    A mouth that opens, what comes out from behind a hand, another picture altogether, an edge that flow did not bring to its place:
    no network has to know that these are no evidence. Light that flickers is forgiven.
    """
    middle = windows[NEIGHBOURS]
    here, size = _for_comparing(middle), len(middle)
    found = []
    for k, picture in enumerate(windows):
        if k == NEIGHBOURS:
            found.append(middle)
            continue
        difference = mean_difference(_for_comparing(picture), here)
        median = np.median(difference)
        if median > _ANOTHER_PICTURE:
            found.append(middle)
            continue
        scale = np.clip(_FORGIVEN * median, *_FORGIVEN_LIMITS)
        weight = np.exp(np.float32(-0.5) * (difference / np.float32(scale)) ** 2)
        large = enlarged(weight, size) * _fine_trust(picture, middle)
        found.append(np.asarray(cv2.blendLinear(picture, middle, large, 1 - large), np.uint8))
    return np.stack(found)


def _fine_trust(picture: UInt8, middle: UInt8) -> Float32:
    """(S, S) 0..1: falls where a neighbour differs in detail by more than the noise that it has all over the face."""
    size = len(middle)
    difference = np.asarray(cv2.subtract(picture, middle, dtype=cv2.CV_32F), np.float32)
    difference -= np.asarray(cv2.blur(difference, (round(size * _LIGHT_SHARE),) * 2), np.float32)
    squares = mean_of_channels(difference * difference)
    fine = np.asarray(cv2.sqrt(cv2.blur(squares, (_FINE_PX, _FINE_PX))), np.float32)
    edge = size // 8
    calm = quantile(fine[edge:-edge, edge:-edge], _CALM_QUANTILE)
    explained = _CALM_TIMES * calm + _STRONG_TIMES * max(0.0, calm - _STRONG_NOISE) ** 2
    misfit = np.maximum(fine - np.float32(explained), 0) / np.float32(_MISFIT + calm / 2)
    return np.asarray(np.exp(np.float32(-0.5) * misfit**2), np.float32)


def _for_comparing(picture: UInt8) -> Float32:
    small = cv2.resize(picture, (_COMPARE_SIZE, _COMPARE_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    fine = cv2.GaussianBlur(small, (0, 0), 1.0)
    return np.asarray(fine - cv2.GaussianBlur(small, (0, 0), _COMPARE_SIZE / 8), np.float32)


def fuse(network: FrameFusion, window: Sequence[UInt8]) -> UInt8:
    """The middle crop (S, S, 3) with what its neighbours know of it; itself where there are none.

    window: as for `carried`, or fewer crops on each side. One face at a time: its bits depend on no other face.
    """
    middle = window[len(window) // 2]
    missing = [middle] * (NEIGHBOURS - len(window) // 2)
    window = [*missing, *window, *missing]
    if all(picture is middle for picture in window):
        return middle
    return fused(network, carried(window))


def fused(network: FrameFusion, windows: UInt8) -> UInt8:
    """(S, S, 3) from the (7, S, S, 3) of `carried`."""
    with torch.inference_mode():
        device = next(network.parameters()).device
        return to_uint8(network(to_tensor(trusted(windows), device)[None])[0])


def _for_flow(picture: UInt8) -> UInt8:
    """(F, F) grey."""
    side = min(len(picture), FLOW_SIZE)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), side * _BLUR_SHARE), np.uint8)


def save_frame_fusion(network: FrameFusion, path: Path) -> Path:
    """Write it as float16."""
    return write_network(network, path, _KIND)


def load_frame_fusion(path: Path | None = None, device: torch.device | str = "cpu") -> FrameFusion:
    """In evaluation mode, weights frozen. Raises CheckpointError for a file that is missing, damaged or something else.

    path: None: those of the package.
    """
    return read_network(path or frame_fusion_file(), _KIND, _of).to(device)


def _of(tensors: Mapping[str, Tensor]) -> FrameFusion:
    return FrameFusion([len(tensors[f"{name}.bias"]) for name in ("look", "to_middle", "to_deep")])
