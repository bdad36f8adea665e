"""Training of a cascade's refiner, on patches: the coarse pass is looked at, not changed.

A patch costs what a face of its size costs, and the refiner needs to see no more: what is where was decided by the coarse pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.lab.train.attempt import Attempt, Shown
from iconface_video.lab.train.restorer import RestorerTask, TaskParts
from iconface_video.models.cascade import CascadeAutoencoder, shrunk_state
from iconface_video.models.model import IConFaceModel
from iconface_video.models.pixel_autoencoder import STRIDE, Decoded, Guide


@dataclass(frozen=True)
class Window:
    """Where a square patch lies in a face, px; all of them multiples of the network's stride."""

    top: int
    left: int
    side: int

    @classmethod
    def draw(cls, size: int, side: int, generator: torch.Generator) -> Window:
        """Anywhere in a face of `size` px, or the whole of a smaller one."""
        side = min(side, size)
        top, left = (STRIDE * torch.randint((size - side) // STRIDE + 1, (2,), generator=generator)).tolist()
        return cls(top, left, side)

    def cut(self, maps: Tensor, times: int = 1) -> Tensor:
        """The patch of maps (..., h, w) that are `times` smaller than the face."""
        top, left, side = self.top // times, self.left // times, self.side // times
        return maps[..., top : top + side, left : left + side].contiguous(memory_format=torch.channels_last)

    def cut_references(self, references: Tensor) -> Tensor:
        """(B, R, 3, S, S) -> (B R, 3, P, P)."""
        return self.cut(references.flatten(0, 1))

    def moved(self, moves: Tensor) -> Tensor:
        """Affine maps (n, 2, 3) between faces -> the same between their patches."""
        corner = moves.new_tensor([self.left, self.top])
        shift = moves[:, :, :2] @ corner + moves[:, :, 2] - corner
        return torch.cat([moves[:, :, :2], shift[:, :, None]], 2)

    def placed(self, patch: Tensor, face: Tensor) -> Tensor:
        """The face (B, 3, S, S) with the patch in its place; gradients flow to the patch."""
        margins = (self.left, face.shape[-1] - self.left - self.side, self.top, face.shape[-2] - self.top - self.side)
        return face + F.pad(patch - self.cut(face), margins)


class RefinerTask(RestorerTask):
    """Trains the refiner of a cascade for one doubling of the size."""

    def __init__(self, model: IConFaceModel, parts: TaskParts, patch: int = 128) -> None:
        """patch: side in px, a multiple of 16."""
        super().__init__(model, parts)
        assert isinstance(model.autoencoder, CascadeAutoencoder)
        self.cascade, self.patch = model.autoencoder, patch
        for frozen in (model.transformer, self.cascade.coarse):
            frozen.requires_grad_(False)
        model.prompt.requires_grad_(False)

    def attempt(self, shown: Shown, moves: Tensor, generator: torch.Generator, with_other: bool) -> Attempt:
        """The coarse pass on whole faces without gradient, then the refiner on one patch of each."""
        window = Window.draw(shown.source.shape[-1], self.patch, generator)
        start, guide = self._coarse(shown)
        before = window.cut(start)
        seen = Guide(window.cut(guide.difference), window.cut(guide.half, 4), window.cut(guide.quarter, 8))
        maps: tuple[Tensor, ...] | None = None
        if shown.references is not None:
            maps = self._reference_maps(window.cut_references(shown.references), shown.references.shape[1])
        decoded = self._refined(before, seen, maps, window.cut(shown.noise))
        other: Tensor | None = None
        if with_other:
            with torch.no_grad():
                fresh = torch.randn(before.shape, generator=generator).to(before)
                other = self._refined(before, seen, maps, fresh).picture.float()
        restored = decoded.picture.float()
        whole = window.placed(restored, start)
        sigma = restored.new_ones(len(restored))
        truth, source = window.cut(shown.truth), window.cut(shown.source)
        weight = None if shown.pixel_weight is None else window.cut(shown.pixel_weight)
        return Attempt(truth, source, restored, whole, sigma, window.moved(moves), before, decoded, other, weight)

    def _reference_maps(self, pictures: Tensor, count: int) -> tuple[Tensor, ...]:
        """Patches (B `count`, 3, P, P) of references -> the refiner's maps of them, (B, `count`, C, h, w) each."""
        parts, places = self.encoded_by_turns(self.cascade.refiner.encode_references, pictures, count)
        joined = parts[0].maps if places is None else (torch.cat(maps)[places] for maps in zip(*(part.maps for part in parts)))
        return tuple(maps.unflatten(0, (-1, count)) for maps in joined)

    def _refined(self, before: Tensor, guide: Guide, maps: tuple[Tensor, ...] | None, state: Tensor) -> Decoded:
        return self.cascade.refine(before, guide, maps, None, state)

    @torch.no_grad()
    def _coarse(self, shown: Shown) -> tuple[Tensor, Guide]:
        """The coarse pass's result, enlarged to the faces' size, and what guides the refiner."""
        small = F.avg_pool2d(shown.source, 2)
        references = None if shown.references is None else F.avg_pool2d(shown.references.flatten(0, 1), 2)
        if references is not None and shown.references is not None:
            references = references.unflatten(0, shown.references.shape[:2])
        level = shown.noise.new_ones(len(shown.noise))
        state, _ = shrunk_state(shown.noise, level, 2)
        conditioning = self.condition(small, references, shown.anchor)
        coarse = self.model.decode_parts(state, level, conditioning, self.with_transformer)[-1]
        start, guide = self.cascade.enlarged(coarse, small, shown.source)
        return start.float(), guide
