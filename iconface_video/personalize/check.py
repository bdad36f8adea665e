"""Whether what was learnt helps: damaged views of a photo that no step saw, restored without and with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from iconface_video.degrade import degrade
from iconface_video.faces.identity_encoder import IdentityEncoder, embed_crops
from iconface_video.identity.anchors import aggregate
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.photos import PhotoFace
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.types import Float32, UInt8

VIEWS = 16
MOST_PSNR_LOSS = 0.2
"""dB: a face that is more like the person and further from the picture is somebody's portrait, not a restoration."""
_BATCH = 8


def hold_out(photos: Sequence[PhotoFace]) -> tuple[list[PhotoFace], PhotoFace | None]:
    """(photos to learn from, the one to check with), photos surest first; None where there is only one.

    The third is held out: a good one, or its views would say little, and not one of the best two, which teach most.
    """
    if len(photos) < 2:
        return list(photos), None
    place = min(3, len(photos)) - 1
    return [photo for row, photo in enumerate(photos) if row != place], photos[place]


@dataclass(frozen=True)
class Figures:
    """Means over all views."""

    likeness: float
    """Cosine to the undamaged photo."""
    psnr: float
    """dB."""


class HeldOutViews:
    """Damaged views of one photo, and what a model makes of them."""

    def __init__(
        self,
        photo: UInt8,
        shown: Sequence[PhotoFace],
        encoder: IdentityEncoder,
        settings: PersonalizeSettings,
        views: int = VIEWS,
    ) -> None:
        """photo: (S, S, 3) RGB in the FFHQ frame.  shown: the person's other photos, which go with it as references."""
        size = settings.size
        self.truth = np.asarray(cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        rng = np.random.default_rng([settings.seed, 1])
        strengths = np.linspace(settings.lowest_strength, settings.highest_strength, views)
        self.damaged = np.stack([degrade(self.truth, float(strength), rng) for strength in strengths])
        self._rng = rng
        self._noise: Float32 | None = None
        self._shown, self._encoder = [face.crop for face in shown], encoder
        self._anchor = aggregate([face.embedding for face in shown]).direction

    def restored(self, model: IConFaceModel) -> UInt8:
        """(views, size, size, 3), with as many references as the model was trained with."""
        if self._noise is None:
            self._noise = self._rng.standard_normal(model.noise_shape(self.truth.shape[0]), dtype=np.float32)
        context = model.prepare_references(self._shown[: model.traits.max_references], self.truth.shape[0])
        made = []
        for first in range(0, len(self.damaged), _BATCH):
            some = self.damaged[first : first + _BATCH]
            anchors = np.repeat(self._anchor[None], len(some), axis=0)
            noise = np.repeat(self._noise[None], len(some), axis=0)
            made.append(model.restore_crops(some, anchors, [context] * len(some), noise))
        return np.concatenate(made)

    def figures(self, restored: UInt8) -> Figures:
        wanted = _unit(embed_crops(self._encoder, [self.truth]))[0]
        likeness = _unit(embed_crops(self._encoder, list(restored))) @ wanted
        error = (restored.astype(np.float64) - self.truth).reshape(len(restored), -1)
        psnr = 10 * np.log10(255**2 / np.maximum((error**2).mean(axis=1), 1e-3))
        return Figures(float(likeness.mean()), float(psnr.mean()))


def is_better(learnt: Figures, base: Figures) -> bool:
    return learnt.likeness > base.likeness and learnt.psnr >= base.psnr - MOST_PSNR_LOSS


def _unit(embeddings: Float32) -> Float32:
    return np.asarray(embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-6), np.float32)
