"""The trainers' online mix for single pictures: Real-ESRGAN's second order, BSRGAN's shuffled order, old video; scaled by one number.

Sources: Real-ESRGAN (arXiv 2107.10833, 3.1-3.3), BSRGAN (arXiv 2103.14006, 3.2), IConFace supplement (strength 0-16 in buckets).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from iconface_video.degrade import operations as op
from iconface_video.errors import UsageError
from iconface_video.settings import MAX_STRENGTH
from iconface_video.types import UInt8

BUCKETS = ((0.0, 3.0), (3.0, 8.0), (8.0, 16.0))
"""Light, medium, severe: the paper's 0-3, 4-8, 9-16, closed up so that every strength can occur."""

BUCKET_WEIGHTS = (0.5, 0.3, 0.2)
"""The paper's probabilities of the buckets."""

_PART_STEEPNESS = 14.0
"""How suddenly a picture's damaged parts end: within about a tenth of their size."""

Step = Callable[[UInt8], UInt8]


def sample_strength(rng: np.random.Generator, weights: Sequence[float] = BUCKET_WEIGHTS) -> float:
    """A strength within 0..16: a bucket by `weights` (3 numbers, any sum), then uniform inside it."""
    share = np.asarray(weights, dtype=np.float64)
    if share.shape != (3,) or (share < 0).any() or share.sum() <= 0:
        raise UsageError(f"bucket weights are {tuple(weights)}, must be three numbers of at least 0, not all 0")
    low, high = BUCKETS[int(rng.choice(3, p=share / share.sum()))]
    return float(rng.uniform(low, high))


def degrade(
    image: UInt8, strength: float, rng: np.random.Generator, *, seen_px: float = 512.0, old_video: float = 0.35
) -> UInt8:
    """Damage one face picture; same `image`, `strength` and generator state, same result.

    `image`: uint8 (H, W, 3) RGB, the result has the same size. `strength`: 0 (almost nothing) to 20; 9 to 16 leave a crop of 512 px
    with 1/8 to 1/32 of its resolution, 20 with about 12 px. `seen_px`: how wide the picture's crop counts as being in the video:
    a picture of 128 px whose `seen_px` is 512 loses as much absolute detail as one of 512 px, i.e. both end at the same number of px.
    `old_video`: probability of tape, film and codec looks on top.

    Raises `UsageError` for a strength outside 0..20 or a picture that is not uint8 (H, W, 3).
    """
    if not 0 <= strength <= MAX_STRENGTH:
        raise UsageError(f"strength is {strength}, must be within [0, {MAX_STRENGTH:g}]")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"a picture to degrade is uint8 (H, W, 3), got {image.dtype} {image.shape}")
    mix = _Mix(image.shape[1], image.shape[0], strength, seen_px, rng)
    steps = mix.second_order() if rng.random() < 0.5 else mix.shuffled()
    if rng.random() < old_video:
        position = int(rng.integers(len(steps) + 1))
        steps[position:position] = mix.old_video()
    damaged = image
    for step in steps:
        damaged = step(damaged)
    return mix.back_to_size(damaged)


def damaged_in_part(clean: UInt8, damaged: UInt8, rng: np.random.Generator) -> UInt8:
    """(H, W, 3) of `damaged` in some places and `clean` elsewhere, softly joined: half of the picture on average."""
    cells = rng.uniform(-1, 1, (int(rng.integers(2, 6)),) * 2).astype(np.float32)
    field = cv2.resize(cells, clean.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    share = 1 / (1 + np.exp(-_PART_STEEPNESS * field))
    return np.asarray(cv2.blendLinear(damaged, clean, share, 1 - share), np.uint8)


def final_px(strength: float, share: float, seen_px: float = 512.0) -> float:
    """Width in px to which a crop of `seen_px` shrinks; `share` 0..1 is the draw within the strength's range."""
    most = 5.0 * (strength / 16.0) ** 0.6
    return float(seen_px * 2.0 ** -(most * (0.64 + 0.36 * share)))


class _Mix:
    """Draws the parameters of one picture's damage. Lengths scale with the px that the picture has of the `seen_px`."""

    def __init__(self, width: int, height: int, strength: float, seen_px: float, rng: np.random.Generator) -> None:
        self.width, self.height, self.rng = width, height, rng
        self.level = strength / 16.0
        self.target = min(1.0, final_px(strength, float(rng.random()), seen_px) / width)
        """Smallest share of the picture's width on the way."""

    def second_order(self) -> list[Step]:
        """blur, resize, noise, JPEG, twice, with a ringing filter around the last JPEG (Real-ESRGAN fig. 2)."""
        first = self.target ** float(self.rng.uniform(0.3, 0.8))
        steps = [self._blur(0.5), self._resize(first), *self._maybe(self._noise(0.5), 0.7), self._jpeg(0.6)]
        steps += [*self._maybe(self._blur(0.3), 0.6), self._resize(self.target), *self._maybe(self._noise(0.5), 0.7)]
        last = [self._jpeg(0.8), *self._maybe(self._sinc(), 0.4)]
        return steps + (last if self.rng.random() < 0.5 else last[::-1])

    def shuffled(self) -> list[Step]:
        """Two blurs, two shrinkings, noise and JPEG in any order, JPEG once more at the end (BSRGAN 3.2)."""
        first = self.target ** float(self.rng.uniform(0.2, 0.8))
        steps = [
            self._blur(0.4),
            self._blur(0.3),
            self._resize(first),
            self._resize(self.target),
            self._noise(0.7),
            self._jpeg(0.5),
        ]
        order = self.rng.permutation(len(steps))
        return [steps[int(place)] for place in order] + [self._jpeg(0.8)]

    def old_video(self) -> list[Step]:
        """One to three looks of tape, film or an old codec."""
        makers = (self._comb, self._bleed, self._jitter, self._grain, self._fade, self._band, self._codec)
        chosen = self.rng.choice(
            len(makers), size=int(self.rng.integers(1, 4)), replace=False, p=(0.14, 0.2, 0.1, 0.2, 0.08, 0.08, 0.2)
        )
        return [makers[int(which)]() for which in sorted(chosen)]

    def back_to_size(self, image: UInt8) -> UInt8:
        if image.shape[:2] == (self.height, self.width):
            return image
        method = cv2.INTER_CUBIC if self.rng.random() < 0.5 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, (self.width, self.height), interpolation=method), dtype=np.uint8)

    # Single draws

    def _maybe(self, step: Step, probability: float) -> list[Step]:
        return [step] if self.rng.random() < probability else []

    def _blur(self, share: float) -> Step:
        """Blur whose deviation is at most about `share` of the px that are lost anyway, so that it adds to the shrinking without ruling it."""
        rng = self.rng
        lost = 1.0 / self.target
        sigma_full = float(rng.uniform(0.15, 1.0)) * share * (lost**0.75 + 1.2 * self.level)
        kind = ("iso", "aniso", "generalized", "plateau")[int(rng.choice(4, p=(0.4, 0.35, 0.15, 0.1)))]
        ratio = 1.0 if kind == "iso" else float(rng.uniform(0.35, 1.0))
        angle, beta = float(rng.uniform(0, np.pi)), float(rng.uniform(0.6, 2.0 if kind == "generalized" else 1.8))

        def apply(image: UInt8) -> UInt8:
            sigma = sigma_full * image.shape[1] / self.width
            if sigma < 0.2:
                return image
            return op.blur(image, op.blur_kernel(kind, sigma, ratio, angle, beta))  # type: ignore[arg-type]

        return apply

    def _sinc(self) -> Step:
        cutoff = float(self.rng.uniform(np.pi / 2.2, np.pi))
        return lambda image: op.blur(image, op.sinc_kernel(cutoff, 4))

    def _resize(self, share: float) -> Step:
        wobble = float(self.rng.uniform(0.9, 1.15)) if share < 0.95 else 1.0
        width, height = round(self.width * min(1.0, share * wobble)), round(self.height * min(1.0, share * wobble))

        def apply(image: UInt8) -> UInt8:
            # Never up again on the way: the shuffled order may shrink to the smallest size first.
            if image.shape[1] <= width:
                return image
            return op.resize(image, width, height, self.rng)

        return apply

    def _noise(self, share: float) -> Step:
        rng = self.rng
        deviation = share * float(rng.uniform(0.1, 1.0)) * 18.0 * self.level**0.8
        kind = ("gaussian", "poisson", "speckle")[int(rng.choice(3, p=(0.5, 0.35, 0.15)))]
        grey = bool(rng.random() < 0.4)
        return lambda image: op.add_noise(image, deviation, kind, grey, rng)  # type: ignore[arg-type]

    def _jpeg(self, share: float) -> Step:
        worst = 97 - share * 62 * self.level**0.7
        quality, subsampled = int(self.rng.uniform(worst, 98)), bool(self.rng.random() < 0.7)
        return lambda image: op.jpeg(image, quality, subsampled)

    def _comb(self) -> Step:
        reach = 1.0 + 6.0 * self.level
        shift, drop = self.rng.uniform(-reach, reach) * self.width / 512, self.rng.uniform(-1, 1) * self.width / 512
        return lambda image: op.comb(image, float(shift) * image.shape[1] / self.width + 0.3, float(drop))

    def _bleed(self) -> Step:
        reach = 2.0 + 14.0 * self.level
        spread, shift, drop = self.rng.uniform(0.5, 2.5) * reach, self.rng.uniform(-reach, reach), self.rng.uniform(-2, 2)

        def apply(image: UInt8) -> UInt8:
            scale = image.shape[1] / 512
            return op.bleed_chroma(image, float(spread) * scale, float(shift) * scale, float(drop) * scale)

        return apply

    def _jitter(self) -> Step:
        rough, slow = self.rng.uniform(0, 1.2 * self.level), self.rng.uniform(0, 3.0 * self.level)
        period, phase = self.rng.uniform(0.1, 1.0), self.rng.uniform(0, 2 * np.pi)

        def apply(image: UInt8) -> UInt8:
            height, scale = image.shape[0], image.shape[1] / 256
            wave = np.sin(np.arange(height) / height * 2 * np.pi / period + phase) * slow
            offsets = (wave + self.rng.standard_normal(height) * rough) * scale
            return op.jitter_lines(image, offsets.astype(np.float32))

        return apply

    def _grain(self) -> Step:
        deviation, size = self.rng.uniform(1, 4 + 14 * self.level), self.rng.uniform(1.0, 2.5)
        return lambda image: op.add_grain(image, float(deviation), float(size), self.rng)

    def _fade(self) -> Step:
        contrast, lift = 1 - self.rng.uniform(0, 0.2) * self.level, self.rng.uniform(0, 20) * self.level
        cast = 1 + self.rng.uniform(-0.06, 0.06, 3) * self.level
        return lambda image: op.fade(image, float(contrast), float(lift), cast.astype(np.float32))

    def _band(self) -> Step:
        levels = int(self.rng.integers(max(10, int(40 - 30 * self.level)), 64))
        return lambda image: op.band(image, levels)

    def _codec(self) -> Step:
        quality = int(self.rng.uniform(70 - 45 * min(1.0, self.level), 80))
        offset = (int(self.rng.integers(16)), int(self.rng.integers(16)))
        return lambda image: op.block_codec(image, quality, offset)
