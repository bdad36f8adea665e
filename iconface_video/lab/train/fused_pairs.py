"""Faces as a run hands them to the restorer: brought together from neighbouring frames. Made once from the fusion network's training
windows, so that the restorer learns to leave to that network what it does well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import InputError
from iconface_video.files import write_whole
from iconface_video.models.frame_fusion import FRAMES, NEIGHBOURS, FrameFusion, fused, load_frame_fusion
from iconface_video.types import UInt8

_MARK = "-fused-"
_CLEAN_REFERENCE_SHARE = 0.5
"""Of the references that are clean, as photos are; the others are damaged frames of the same clip, as a run without photos has them."""


@dataclass(frozen=True, eq=False)
class FusedFace:
    """One face of a damaged clip."""

    source: UInt8
    """(S, S, 3) RGB, its neighbouring frames brought together."""
    truth: UInt8
    """(S, S, 3)"""
    others: UInt8
    """(n, S, S, 3) other frames of the clip, n at least 1 where the clip has several windows."""


class FusedPairs:
    """Windows of `train fusion --pool FOLDER`, fused at one crop size; kept beside them."""

    def __init__(self, pool: Path, size: int) -> None:
        """size: px. InputError where the folder holds no windows."""
        self.pool, self.size = pool, size
        self._windows = sorted(path for path in pool.glob("*.npy") if _MARK not in path.name)
        if not self._windows:
            raise InputError(f"{pool}: no windows of damaged clips there; `train fusion --pool {pool}` makes them")

    def make(self) -> None:
        """Fuse what is not there yet, by the package's network."""
        missing = [path for path in self._windows if not self._made(path).is_file()]
        if not missing:
            return
        network = load_frame_fusion()
        for path in missing:
            rows = [self._row(network, row) for row in np.load(path, mmap_mode="r")]
            write_whole(self._made(path), partial(np.save, arr=np.stack(rows)))

    def _made(self, path: Path) -> Path:
        return path.with_name(f"{path.stem}{_MARK}{self.size}.npy")

    def _row(self, network: FrameFusion, kept: UInt8) -> UInt8:
        """(7 carried crops and the target) -> (fused, target, damaged)."""
        pictures = np.stack([self._resized(picture) for picture in kept])
        window, target = pictures[:FRAMES], pictures[FRAMES]
        return np.stack([fused(network, window), target, window[NEIGHBOURS]])

    def _resized(self, picture: UInt8) -> UInt8:
        if len(picture) == self.size:
            return picture
        return np.asarray(cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA), np.uint8)

    def draw(self, rng: np.random.Generator) -> FusedFace:
        """One face, mirrored or not."""
        path = self._windows[int(rng.integers(len(self._windows)))]
        kept = np.load(self._made(path), mmap_mode="r")
        at = int(rng.integers(len(kept)))
        others = [n for n in range(len(kept)) if n != at] or [at]
        shown = kept[others, 1 if rng.random() < _CLEAN_REFERENCE_SHARE else 2]
        step = -1 if rng.random() < 0.5 else 1
        source, truth = (np.ascontiguousarray(kept[at, place, :, ::step]) for place in range(2))
        return FusedFace(source, truth, np.ascontiguousarray(shown[:, :, ::step]))


def pairs_for(pool: str, sizes: tuple[int, ...]) -> dict[int, FusedPairs]:
    """By crop size, all of them made. pool: empty: none."""
    found = {size: FusedPairs(Path(pool), size) for size in sizes} if pool else {}
    for pairs in found.values():
        pairs.make()
    return found
