"""What every training reads: a set's index, its pictures, and batches that worker processes make.

A set is a folder of pictures in the FFHQ frame with an ``index.csv`` beside them: file, split (train / val), identity.
"""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from iconface_video.errors import InputError
from iconface_video.types import UInt8

T = TypeVar("T")


def index_rows(folder: Path, split: str | None = None) -> list[dict[str, str]]:
    """Rows of a set's index in its order. split: of this one alone. Raises InputError where there is no index."""
    index = folder / "index.csv"
    if not index.is_file():
        raise InputError(f"{index}: not found. A training folder needs an index.csv with file, split and identity.")
    with index.open(newline="", encoding="utf-8") as rows:
        return [row for row in csv.DictReader(rows) if split is None or row["split"] == split]


def read_indexed(path: Path) -> UInt8:
    """(h, w, 3) RGB of a picture that an index names. Raises InputError where it cannot be read."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path}: not a readable picture, although the index names it")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def stream(make: Callable[[int], T], start_step: int, workers: int) -> Iterator[T]:
    """What `make` gives for `start_step` and every step after it, in order, made by worker processes (0: in this one)."""
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Steps(IterableDataset):
        def __iter__(self) -> Iterator[T]:
            # OpenCV's thread pool does not survive the fork of the worker processes: it must never be started.
            cv2.setNumThreads(1)
            info = get_worker_info()
            if info:
                # Whoever stops a run signals its whole group. The trainer then still saves where it is, and ends its workers
                # itself: one that died of the signal would raise in the middle of that.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            first, stride = (info.id, info.num_workers) if info else (0, 1)
            step = start_step + first
            while True:
                yield make(step)
                step += stride

    yield from DataLoader(Steps(), batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
