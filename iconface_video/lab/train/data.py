"""Aligned face photos for training: loading, people, references, paired batches. Everything is drawn from (seed, step).

A set is a folder of pictures in the FFHQ frame with an ``index.csv`` beside them: file, split (train / val), identity
(empty: not known) and, where known, sharpness and inside (share of the frame that the photo covers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.degrade import damaged_in_part, degrade, sample_strength
from iconface_video.degrade.filmed import degraded_clip_pair, moved
from iconface_video.degrade.picture import BUCKETS
from iconface_video.errors import InputError, UsageError
from iconface_video.lab.train.face_views import grey, jittered, relit, small_move, softened
from iconface_video.lab.train.fused_pairs import FusedPairs
from iconface_video.lab.train.loading import index_rows, read_indexed
from iconface_video.settings import Count, CountOrZero, NonNegative, Share, Validated

UInt8 = NDArray[np.uint8]
ReferenceKind = Literal["none", "right", "wrong", "truth"]


@dataclass(frozen=True)
class FaceSettings(Validated):
    """Which pictures are used, and how."""

    folders: tuple[str, ...] = ()
    max_side: Count = 256
    """Pictures are kept in memory at most this large (px)."""
    min_side: CountOrZero = 0
    """Smaller pictures are left out."""
    min_sharpness: NonNegative = 9.0
    """Truth pictures are at least this sharp (Laplacian deviation in the index)."""
    min_inside: Share = 0.7
    windows: str = ""
    """The frame fusion network's training windows (its `--pool`), for `fused_share`."""


@dataclass(frozen=True)
class MixSettings(Validated):
    """How a training batch is mixed (IConFace section 4; the curriculum is ours)."""

    sizes: tuple[int, ...] = (128,)
    """Crop sizes (px), one of them a batch. The first takes every picture, the others those that are nearly as large at least."""
    batches: tuple[int, ...] = (16,)
    """Faces a batch at each size."""
    size_shares: tuple[Share, ...] = (1.0,)
    """Share of the batches that have each size."""
    reference_shares: tuple[Share, ...] = (0.3, 0.3, 0.2, 0.2)
    """Probability of 0, 1, 2, 3 references. One count per batch, so that no compute is spent on absent ones."""
    truth_share: Share = 0.5
    """Probability that a reference is the truth itself, jittered, where other photos exist."""
    truth_spread: Share = 0.02
    """How far it is jittered: shift as a share of the side (turn and scale in proportion)."""
    wrong_share: Share = 0.03
    """Probability that the references show another person."""
    pair_share: Share = 0.0
    """Share of the batches whose second half shows the first half's faces moved a little and degraded the same way."""
    filmed_share: Share = 0.0
    """Share of the batches that are pairs, too, but of neighbouring frames of damaged clips, real codecs included."""
    part_share: Share = 0.0
    """Of the faces damaged as pictures, the share that is damaged in some places alone: how much is wrong is to be seen place by place."""
    fused_share: Share = 0.0
    """Share of the batches that show what the frame fusion network made of damaged clips, as a run does."""
    target_blur_probability: Share = 0.0
    """Share of the undamaged filmed faces whose truth is soft, as most video is: what was never sharp must not be made so. The
    more damage, the fewer: it hides whether there was anything sharp."""
    grey_share: Share = 0.12
    strength_weights: tuple[NonNegative, NonNegative, NonNegative] = (0.5, 0.3, 0.2)
    """Of the buckets 0-3, 4-8, 9-16."""
    extreme_share: Share = 0.0
    """Probability of a strength of 16-20 instead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sizes or not len(self.sizes) == len(self.batches) == len(self.size_shares):
            raise UsageError(
                f"the mix names {len(self.sizes)} sizes, {len(self.batches)} batches and {len(self.size_shares)} size_shares: "
                "give one of each for every size"
            )
        if min(self.batches) < 1 or any(size < 16 or size % 16 for size in self.sizes):
            raise UsageError(
                f"the mix's sizes must be multiples of 16 px and its batches at least 1, got {self.sizes}, {self.batches}"
            )
        if self.pair_share + self.filmed_share + self.fused_share > 1:
            raise UsageError(
                "the mix's pair_share, filmed_share and fused_share must be at most 1 together, "
                f"got {self.pair_share}, {self.filmed_share} and {self.fused_share}"
            )
        if self.pair_share + self.filmed_share > 0 and min(self.batches) < 2:
            raise UsageError(f"the mix has pairs, so its batches must be at least 2, got {list(self.batches)}")
        for name, shares in (("size_shares", self.size_shares), ("reference_shares", self.reference_shares)):
            if abs(sum(shares) - 1) > 1e-6:
                raise UsageError(f"the mix's {name} must add up to 1, got {list(shares)}")


@dataclass
class FaceSet:
    """Pictures in memory and who is on them."""

    images: list[UInt8] = field(default_factory=list)
    """(H, W, 3) RGB, different sizes."""
    identities: list[str] = field(default_factory=list)
    """Empty where not known."""
    files: list[str] = field(default_factory=list)
    people: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: FaceSettings, split: Literal["train", "val"]) -> FaceSet:
        """Read every picture of `split` that is good enough to be a truth."""
        # OpenCV's thread pool does not survive the fork of the loader processes: it must never be started.
        cv2.setNumThreads(1)
        faces = cls()
        for folder in settings.folders:
            faces._read_folder(Path(folder), settings, split)
        if not faces.images:
            raise InputError(f"no usable '{split}' pictures in {', '.join(settings.folders) or 'no folder at all'}")
        return faces

    def _read_folder(self, folder: Path, settings: FaceSettings, split: str) -> None:
        for row in index_rows(folder, split):
            if float(row.get("sharpness") or 99) < settings.min_sharpness:
                continue
            if float(row.get("inside") or 1) < settings.min_inside:
                continue
            self._read_picture(folder / row["file"], row["identity"], settings)

    def _read_picture(self, path: Path, identity: str, settings: FaceSettings) -> None:
        picture = read_indexed(path)
        side = picture.shape[0]
        if side < settings.min_side:
            return
        if side > settings.max_side:
            picture = np.asarray(cv2.resize(picture, (settings.max_side,) * 2, interpolation=cv2.INTER_AREA), np.uint8)
        if identity:
            self.people.setdefault(identity, []).append(len(self.images))
        self.images.append(picture)
        self.identities.append(identity)
        self.files.append(str(path))

    def others(self, index: int) -> list[int]:
        """Other pictures of the same person."""
        identity = self.identities[index]
        return [i for i in self.people.get(identity, []) if i != index] if identity else []

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class FaceBatch:
    """One paired batch. Pictures are uint8 (B, S, S, 3) RGB; references (B, R, S, S, 3)."""

    truth: UInt8
    source: UInt8
    references: UInt8
    strength: NDArray[np.float32]
    truth_index: NDArray[np.int64]
    """Rows of the FaceSet; -1 for a face of a damaged clip that was fused."""
    moves: NDArray[np.float32]
    """(B / 2, 2, 3) affine px from a face of the first half to the same one in the second half; (0, 2, 3) where they differ."""


_LEAST_WITH_OTHERS = 0.05
"""Share of the pictures of a size whose person must have other photos; below it that size is trained without references."""

_Row = tuple[UInt8, UInt8, UInt8, float, int]
"""Truth, source, references, strength, row of the FaceSet."""


@dataclass(frozen=True, eq=False)
class _Sample:
    """One face that was drawn, before it is damaged."""

    truth: UInt8
    references: UInt8
    """(R, S, S, 3)."""
    strength: float
    index: int
    is_grey: bool

    def row(self, source: UInt8, truth: UInt8 | None = None) -> _Row:
        """truth: another one than the face's own."""
        shown = self.truth if truth is None else truth
        seen = grey(source) if self.is_grey else source
        return shown, seen, self.references, self.strength, self.index


class FaceMixer:
    """Makes paired batches from a FaceSet; the same (seed, step) gives the same batch in whatever process."""

    def __init__(self, faces: FaceSet, mix: MixSettings, fused: Mapping[int, FusedPairs] | None = None) -> None:
        """fused: by crop size, for the mix's `fused_share`. UsageError where they are wanted and missing."""
        self.faces, self.mix, self.fused = faces, mix, fused or {}
        if mix.fused_share and not self.fused:
            raise UsageError("the mix has a fused_share: name the fusion network's training windows as `windows` under `faces`")
        self._pools = {size: self._pool(size) for size in mix.sizes}

    def _pool(self, size: int) -> tuple[list[int], list[int]]:
        """Pictures for crops of `size` px (at the first size all of them are), and those whose person has other photos."""
        least = 0.97 * size if size != self.mix.sizes[0] else 0
        able = [i for i, image in enumerate(self.faces.images) if image.shape[0] >= least]
        if not able:
            raise InputError(
                f"no training picture is large enough for crops of {size} px: add larger ones, raise max_side, or leave that size out"
            )
        with_others = [i for i in able if self.faces.others(i)]
        # A handful of people would be seen again and again: better no references at this size.
        return able, with_others if len(with_others) >= _LEAST_WITH_OTHERS * len(able) else []

    def batch(self, seed: int, step: int) -> FaceBatch:
        rng = np.random.default_rng((seed, step))
        mix = self.mix
        kind = int(rng.choice(len(mix.sizes), p=mix.size_shares)) if len(mix.sizes) > 1 else 0
        size, number = mix.sizes[kind], mix.batches[kind]
        count = int(rng.choice(len(mix.reference_shares), p=mix.reference_shares))
        if kind and not self._pools[size][1]:
            count = 0  # hardly anybody here has a second photo: the truth alone as a reference teaches to copy it
        draw = float(rng.random())
        moves: list[NDArray[np.float32]] = []
        if draw < mix.pair_share + mix.filmed_share:
            make = self._pair if draw < mix.pair_share else self._degraded_clip_pair
            moves = [small_move(rng, size) for _ in range(number // 2)]
            pairs = [make(rng, self._sample(rng, size, count), move) for move in moves]
            rows = [first for first, _ in pairs] + [second for _, second in pairs]
        elif draw < mix.pair_share + mix.filmed_share + mix.fused_share:
            rows = [self._fused(rng, size, count) for _ in range(number)]
        else:
            samples = (self._sample(rng, size, count) for _ in range(number))
            rows = [sample.row(self._damaged(rng, sample)) for sample in samples]
        truth, source, references, strength, index = zip(*rows)
        return FaceBatch(
            truth=np.stack(truth),
            source=np.stack(source),
            references=np.stack(references),
            strength=np.array(strength, np.float32),
            truth_index=np.array(index),
            moves=np.stack(moves) if moves else np.zeros((0, 2, 3), np.float32),
        )

    def _damaged(self, rng: np.random.Generator, sample: _Sample) -> UInt8:
        damaged = degrade(sample.truth, sample.strength, rng)
        if self.mix.part_share and rng.random() < self.mix.part_share:
            return damaged_in_part(sample.truth, damaged, rng)
        return damaged

    def _pair(self, rng: np.random.Generator, sample: _Sample, move: NDArray[np.float32]) -> tuple[_Row, _Row]:
        """One face twice: noise, blocks and sampling grid stay where they are while the face moves, as in a video."""
        seed = int(rng.integers(2**63))
        later = moved(sample.truth, move)
        first, second = (degrade(shown, sample.strength, np.random.default_rng(seed)) for shown in (sample.truth, later))
        return sample.row(first), sample.row(second, later)

    def _degraded_clip_pair(self, rng: np.random.Generator, sample: _Sample, move: NDArray[np.float32]) -> tuple[_Row, _Row]:
        """One face in two neighbouring frames of a clip that was damaged as a whole."""
        level = sample.strength / BUCKETS[-1][1]
        if rng.random() < self.mix.target_blur_probability * (1 - level):
            sample = replace(sample, truth=softened(sample.truth, rng))
        first, second = degraded_clip_pair(sample.truth, move, level, rng)
        return sample.row(first), sample.row(second, moved(sample.truth, move))

    def _fused(self, rng: np.random.Generator, size: int, count: int) -> _Row:
        """A face of a damaged clip, brought together; its references are other frames of the clip."""
        face = self.fused[size].draw(rng)
        truth, source, others = face.truth, face.source, list(face.others)
        if rng.random() < self.mix.grey_share:
            truth, source, others = grey(truth), grey(source), [grey(picture) for picture in others]
        chosen = rng.choice(len(others), size=count, replace=len(others) < count)
        shown = [self._reference(rng, others[n], size, True, False) for n in chosen]
        references = np.stack(shown) if shown else np.zeros((0, size, size, 3), np.uint8)
        return truth, source, references, 0.0, -1

    def _sample(self, rng: np.random.Generator, size: int, count: int) -> _Sample:
        mix, faces = self.mix, self.faces
        able, with_others = self._pools[size]
        pool = with_others if count and rng.random() < 0.8 and with_others else able
        index = pool[int(rng.integers(len(pool)))]
        truth = jittered(faces.images[index], size, rng, shift=0.012, turn=1.5, scale=0.02)
        flip, is_grey = rng.random() < 0.5, rng.random() < mix.grey_share
        chosen, same = self._choose_references(rng, index, count)
        pictures = [self._reference(rng, faces.images[i], size, same, is_grey and rng.random() < 0.7) for i in chosen]
        truth = grey(truth) if is_grey else truth
        if flip:
            truth, pictures = truth[:, ::-1].copy(), [p[:, ::-1] for p in pictures]
        extreme = rng.random() < mix.extreme_share
        strength = float(rng.uniform(16, 20)) if extreme else sample_strength(rng, mix.strength_weights)
        references = np.stack(pictures) if pictures else np.zeros((0, size, size, 3), np.uint8)
        return _Sample(truth, references, strength, index, is_grey)

    def _choose_references(self, rng: np.random.Generator, index: int, count: int) -> tuple[NDArray[np.int64], bool]:
        others = self.faces.others(index)
        if count and rng.random() < self.mix.wrong_share:
            return rng.integers(len(self.faces), size=count), False
        if not others or rng.random() < self.mix.truth_share:
            return np.full(count, index), True
        # A person with too few photos repeats none of them unless there is no other way: the batch has one count.
        return rng.choice(others, size=count, replace=len(others) < count).astype(np.int64), False

    def _reference(self, rng: np.random.Generator, image: UInt8, size: int, same: bool, is_grey: bool) -> UInt8:
        spread = self.mix.truth_spread if same else 0.015
        picture = jittered(image, size, rng, shift=spread, turn=200 * spread, scale=1.5 * spread)
        picture = relit(picture, rng, 0.15)
        if rng.random() < 0.25:  # a track's own best frames are references too, and they are rarely perfect
            picture = degrade(picture, float(rng.uniform(0, 4)), rng)
        return grey(picture) if is_grey else picture
