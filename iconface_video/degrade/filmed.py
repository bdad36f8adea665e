"""A still face as two neighbouring frames of a damaged video, for the trainers.

Single pictures cannot show what a video codec does: blocks that stay, lag behind and jump, whose quality depends on the
frames before. So the picture is moved smoothly over a few frames, these go through the same effects as whole clips do
(`clip`, `film`, and a real encoder and decoder: `codec`), and two of the last are cut out again where the face is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.degrade import clip_effects, film
from iconface_video.degrade.clip_effects import ClipEffect, ClipFormat, degrade_frames
from iconface_video.degrade.codec import Codec
from iconface_video.faces.align import compose, cut_crop, invert, scaling
from iconface_video.types import Float64, UInt8

SEEN_SHARE = (0.8, 2.4)
"""Px of the video per px of the crop, least and most: large faces are shrunk on the way to the model."""
LARGEST_PX = 512
"""Side of the moving picture at most; it is what takes time."""
FRAMES = (4, 10)
"""Least and most: a codec needs some to get into its stride. The pair are the last but one and the one before it; what weaves
fields together, or looks ahead, treats a clip's last frame unlike all others."""


def degraded_clip_pair(
    picture: UInt8, move: NDArray[np.float32], level: float, rng: np.random.Generator
) -> tuple[UInt8, UInt8]:
    """The face of `picture` in two neighbouring frames of one damaged clip.

    Args:
        picture: (S, S, 3) RGB.
        move: (2, 3) px from the picture to where the second crop shows it (the first shows it as it is).
        level: 0 (light) to 1 (hardly anything left); above 1 counts as little more.

    Returns:
        Two damaged (S, S, 3) crops, in the frames' order.
    """
    size = picture.shape[0]
    side = min(LARGEST_PX, 2 * round(size * float(np.exp(rng.uniform(*np.log(SEEN_SHARE)))) / 2))
    path = _path(rng, side, int(rng.integers(FRAMES[0], FRAMES[1] + 1)))
    large = cut_crop(picture, scaling(side / size), side)
    frames = (moved(large, place) for place in path)
    effects, seed = draw_effects(level, rng), int(rng.integers(2**31))
    first, second = list(degrade_frames(frames, effects, ClipFormat(side, side), seed))[-3:-1]
    here, there = (compose(scaling(size / side), invert(place)) for place in path[-3:-1])
    return cut_crop(first, here, size), cut_crop(second, compose(move, there), size)


def damaged_sequence(
    pictures: Sequence[UInt8], effects: Sequence[ClipEffect], screen: float, rng: np.random.Generator
) -> list[UInt8]:
    """Neighbouring crops of one face, moved through a picture that is damaged as a whole and cut out again.

    pictures: (S, S, 3) RGB each.  screen: side of that picture as a multiple of the face's.  Returns as many damaged crops.
    """
    size = pictures[0].shape[0]
    face = min(LARGEST_PX / screen, size * float(np.exp(rng.uniform(*np.log(SEEN_SHARE)))))
    side = 2 * round(face * screen / 2)
    middle = compose([[1, 0, (side - face) / 2], [0, 1, (side - face) / 2]], scaling(face / size))
    path = [compose(place, middle) for place in _path(rng, side, len(pictures))]
    frames = (_placed(picture, place, side) for picture, place in zip(pictures, path))
    damaged = degrade_frames(frames, effects, ClipFormat(side, side), int(rng.integers(2**31)))
    return [cut_crop(frame, invert(place), size) for frame, place in zip(damaged, path)]


def _placed(picture: UInt8, place: Float64, side: int) -> UInt8:
    """A face in a picture of `side` px, mirrored beyond its own edges."""
    shrunk = float(np.hypot(*place[:, 0]))
    if shrunk < 1:  # a warp alone would skip pixels
        small = max(8, round(len(picture) * shrunk))
        place = compose(place, scaling(len(picture) / small))
        picture = np.asarray(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), np.uint8)
    warped = cv2.warpAffine(picture, place, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def moved(picture: UInt8, move: NDArray[np.floating]) -> UInt8:
    """The square picture under a (2, 3) affine in its px, mirrored beyond its edges."""
    side = picture.shape[0]
    warped = cv2.warpAffine(picture, move, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def draw_effects(level: float, rng: np.random.Generator) -> tuple[ClipEffect, ...]:
    """What happened to a clip: lost resolution always, a codec nearly always, tape and film by chance; around `level` 0..1."""
    u = float(np.clip(level + rng.normal(0, 0.15), 0, 1.1))
    across = min(1.0, 0.8 * 0.18**u * float(np.exp(rng.normal(0, 0.15))))
    down = min(1.0, across * float(rng.uniform(1.0, 1.8)))
    by_chance: list[tuple[float, ClipEffect]] = [
        (0.2, clip_effects.ChromaShift(*(u * rng.uniform(0.2, 1) * np.array([12, 6, 1.5])).tolist())),
        (0.8, clip_effects.TapeNoise(float(rng.uniform(0.3, 1.2)) * 6 * u, float(rng.uniform(0.3, 1.2)) * 8 * u)),
        (0.15, film.FilmGrain(float(rng.uniform(2, 4 + 8 * u)), float(rng.uniform(1.0, 2.2)))),
        (0.15, clip_effects.LineJitter(float(rng.uniform(0, 0.8)) * u, float(rng.uniform(0, 2)) * u, switch_rows=0)),
        (0.08, clip_effects.Interlace()),
        (0.1, clip_effects.Dropouts(rate=3 * u)),
        (0.3, clip_effects.Fading(1 - 0.15 * u, 14 * u, 0.06 * u, 0.02 * u)),
        (0.15, clip_effects.Banding(int(rng.uniform(60 - 30 * min(u, 1), 64)))),
    ]
    chosen = [effect for chance, effect in by_chance if rng.random() < chance]
    rate = float(np.exp(rng.normal(0, 0.35)))
    codecs = [Codec("h264", 0.25 * 0.07**u * rate), Codec("mpeg2", 0.2 * 0.06**u * rate)]
    codec = [codecs[int(rng.random() < 0.3)]] if rng.random() < 0.9 else []
    return (clip_effects.Bandwidth(768 * across, 576 * down, 768 * across * float(rng.uniform(0.25, 0.8))), *chosen, *codec)


def _path(rng: np.random.Generator, side: int, count: int) -> list[Float64]:
    """`count` (2, 3) places of a face of `side` px that moves smoothly; it stands still in some clips."""
    speed = 0.0 if rng.random() < 0.25 else float(rng.gamma(1.5, 0.004))
    velocity, place = rng.normal(0, 1, 4), np.zeros(4)
    middle, path = (side - 1) / 2, []
    for _ in range(count):
        velocity = 0.85 * velocity + 0.5 * rng.normal(0, 1, 4)
        place = place + speed * velocity
        x, y, turn, zoom = place * (side, side, 40, 0.5)
        matrix = cv2.getRotationMatrix2D((middle, middle), float(turn), float(np.exp(zoom)))
        path.append(np.asarray(matrix + np.array([[0, 0, x], [0, 0, y]]), np.float64))
    return path
