"""Noise that the frames of a track share: five models, each unit Gaussian per sample, each addressable by frame.

Every field is drawn from a counter-based generator (Philox) keyed on a hash of (seed, track key, what it is for, frame), so
any frame's noise can be made alone, in any order, on any machine, and is always made on the CPU in float32. Nothing is
keyed on running track numbers: one more detection elsewhere changes no noise here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from iconface_video.settings import NoiseKind
from iconface_video.types import Float32, Float64, TrackKey

Shape = tuple[int, int, int]
"""(channels, height, width) of one frame's noise."""

MIXED_SHARE = 0.9
"""Share of the variance that `mixed` (PYoCo's mixed noise) takes from the track: the correlation between any two frames."""
PROGRESSIVE_CORRELATION = 0.8**0.5
"""Correlation between neighbouring frames of `progressive`: PYoCo's progressive noise with alpha = 2 (sqrt(4/5))."""
PROGRESSIVE_WINDOW = 48
"""Older draws than this weigh under half a percent."""
WARP_MARGIN = 0.25
"""Part of the crop's side by which the persistent field of `warped` reaches beyond it."""


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """What names one frame's noise."""

    seed: int
    track: TrackKey
    pts: int


def draw(seed: int, track: TrackKey, purpose: str, number: int, shape: tuple[int, ...]) -> Float32:
    """A unit Gaussian field that depends on nothing but the arguments.

    The hash spreads neighbouring keys over Philox's 128-bit key space, where streams are independent.
    """
    text = f"{seed}/{track.shot_first_pts}/{track.birth_pts}/{track.birth_order}/{purpose}/{number}"
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)


def independent_noise(key: NoiseKey, shape: Shape) -> Float32:
    """Nothing shared: every frame its own field."""
    return draw(key.seed, key.track, "frame", key.pts, shape)


def fixed_noise(key: NoiseKey, shape: Shape) -> Float32:
    """One field per track in crop space; the frame does not matter."""
    return draw(key.seed, key.track, "track", 0, shape)


def progressive_weights(count: int, correlation: float = PROGRESSIVE_CORRELATION) -> Float32:
    """(count,) weights of the last `count` frames' own draws, oldest first, that make the newest frame's AR(1) noise.

    ``e_0 = n_0;  e_t = r e_(t-1) + sqrt(1 - r^2) n_t``  unrolled; their squares sum to one for every `count`.
    """
    powers = correlation ** np.arange(count - 1, -1, -1, dtype=np.float64)
    fresh = np.full(count, (1 - correlation**2) ** 0.5)
    fresh[0] = 1.0
    return (powers * fresh).astype(np.float32)


def progressive_noise(
    seed: int, track: TrackKey, recent_pts: Sequence[int], shape: Shape, fetch: Callable[[NoiseKey], Float32] | None = None
) -> Float32:
    """AR(1) along the track, addressable by frame.

    recent_pts: PTS of the track's frames up to and with this one, oldest first (only the last `PROGRESSIVE_WINDOW` count).
    fetch: gives the independent draw of a frame; for callers that keep draws.
    """
    window = list(recent_pts)[-PROGRESSIVE_WINDOW:]
    fetch = fetch or (lambda key: independent_noise(key, shape))
    total = np.zeros(shape, np.float32)
    for weight, pts in zip(progressive_weights(len(window)), window):
        total += weight * fetch(NoiseKey(seed, track, pts))
    return total


def fine_field(seed: int, track: TrackKey, shape: Shape) -> Float32:
    """The persistent field of `warped_noise`: (channels, F, G) unit Gaussian cells, several per sample each way.

    More cells where samples are few (a latent grid), fewer where they are many (pixels): it has to fit in memory.
    """
    channels, height, width = shape
    sub = fine_cells(shape)
    high, wide = (round(side * (1 + 2 * WARP_MARGIN)) * sub for side in (height, width))
    return draw(seed, track, "fine", sub, (channels, high, wide))


def fine_cells(shape: Shape) -> int:
    """Fine cells per sample along one side."""
    return 6 if max(shape[1:]) <= 64 else 4 if max(shape[1:]) <= 256 else 3


def warped_noise(key: NoiseKey, shape: Shape, canonical_from_crop: Float64, field: Float32 | None = None) -> Float32:
    """Noise that sticks to the face: each frame integrates ONE persistent fine field through its own map.

    Every fine cell's centre falls into exactly one sample of the frame; a sample is the sum of its n cells over sqrt(n), so
    samples stay independent and of unit variance whatever the map (integral noise; never a chain of re-draws, which forgets,
    never bilinear warping, which loses variance). A sample that no cell falls into gets the frame's own draw.

    canonical_from_crop: (2, 3) affine between sample centres of this frame and of the track's canonical picture.
    field: the track's `fine_field`, for callers that keep it.
    """
    channels, height, width = shape
    field = fine_field(key.seed, key.track, shape) if field is None else field
    target = _cells_to_samples(canonical_from_crop, shape, field.shape[1:])
    inside = np.flatnonzero(target >= 0)
    target = target[inside]
    counts = np.bincount(target, minlength=height * width)
    samples = np.empty((channels, height * width), np.float32)
    for channel in range(channels):
        sums = np.bincount(target, weights=field[channel].reshape(-1)[inside], minlength=height * width)
        samples[channel] = sums / np.sqrt(np.maximum(counts, 1))
    noise = samples.reshape(shape)
    empty = (counts == 0).reshape(height, width)
    if empty.any():
        noise[:, empty] = draw(key.seed, key.track, "uncovered", key.pts, shape)[:, empty]
    return noise


def _cells_to_samples(canonical_from_crop: Float64, shape: Shape, cells: tuple[int, ...]) -> np.ndarray:
    """(cells,) flat index of the sample that each fine cell falls into, -1 outside."""
    _, height, width = shape
    sub = fine_cells(shape)
    crop_from_canonical = np.linalg.inv(np.vstack([canonical_from_crop, [0, 0, 1]]))[:2]
    offset_y, offset_x = ((cells[i] / sub - side) / 2 for i, side in enumerate((height, width)))
    y = ((np.arange(cells[0]) + 0.5) / sub - 0.5 - offset_y)[:, None]
    x = ((np.arange(cells[1]) + 0.5) / sub - 0.5 - offset_x)[None, :]
    (a, b, c), (d, e, f) = crop_from_canonical
    column = np.floor(a * x + b * y + c + 0.5).astype(np.int32)
    row = np.floor(d * x + e * y + f + 0.5).astype(np.int32)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    flat = row * width + column
    flat[outside] = -1
    return flat.reshape(-1)


class TrackNoise:
    """Noise of every frame of a run, by the chosen model; keeps the few fields that frames share.

    What is kept only saves time: the values depend on the arguments alone.
    """

    def __init__(self, kind: NoiseKind, seed: int, kept_bytes: int = 32 << 20) -> None:
        self.kind = kind
        self.seed = seed
        self._kept: OrderedDict[tuple[object, ...], Float32] = OrderedDict()
        self._kept_bytes = kept_bytes

    def sample(
        self, track: TrackKey, recent_pts: Sequence[int], shape: Shape, canonical_from_crop: Float64 | None = None
    ) -> Float32:
        """(C, H, W) noise of the frame ``recent_pts[-1]``.

        recent_pts: PTS of the track's frames up to this one (one is enough for all but `progressive`).
        canonical_from_crop: needed by `warped` alone.
        """
        key = NoiseKey(self.seed, track, int(recent_pts[-1]))
        if self.kind == "independent":
            return independent_noise(key, shape)
        if self.kind == "progressive":
            return progressive_noise(self.seed, track, recent_pts, shape, lambda frame: self._independent(frame, shape))
        if self.kind == "warped":
            if canonical_from_crop is None:
                raise ValueError("warped noise needs canonical_from_crop")
            field = self._keep(("fine", track, shape), lambda: fine_field(self.seed, track, shape))
            return warped_noise(key, shape, canonical_from_crop, field)
        shared = self._keep(("track", track, shape), lambda: fixed_noise(key, shape))
        if self.kind == "fixed":
            return shared
        return np.float32(MIXED_SHARE**0.5) * shared + np.float32((1 - MIXED_SHARE) ** 0.5) * independent_noise(key, shape)

    def _independent(self, key: NoiseKey, shape: Shape) -> Float32:
        return self._keep(("frame", key, shape), lambda: independent_noise(key, shape))

    def _keep(self, name: tuple[object, ...], make: Callable[[], Float32]) -> Float32:
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        value = self._kept[name] = make()
        while len(self._kept) > 1 and sum(field.nbytes for field in self._kept.values()) > self._kept_bytes:
            self._kept.popitem(last=False)
        return value
