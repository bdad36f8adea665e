"""Training of the frame fusion network: windows of damaged clips, whose middle frame's clean picture is what it has to find.

Clips are people talking, or photos in motion; each goes through a codec, tape or film as a whole, once, and windows of it are kept on
disk. A step takes patches of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from iconface_video.degrade.clip_effects import ClipEffect, Fading
from iconface_video.degrade.filmed import damaged_sequence, draw_effects
from iconface_video.degrade.media import MEDIA
from iconface_video.degrade.presets import PRESETS
from iconface_video.errors import InputError
from iconface_video.faces.pixels import to_tensor
from iconface_video.files import write_whole
from iconface_video.lab.train.loading import index_rows, read_indexed, stream
from iconface_video.lab.train.run_state import newest_weights
from iconface_video.lab.train.trainer import Task, Trainer, TrainSettings
from iconface_video.models.frame_fusion import (
    FRAMES,
    NEIGHBOURS,
    FrameFusion,
    carried,
    load_frame_fusion,
    save_frame_fusion,
    trusted,
)
from iconface_video.render.match import low_frequencies
from iconface_video.settings import Count, CountOrZero, Share, Validated
from iconface_video.tracking.dense_flow import sampled
from iconface_video.types import UInt8

SIZE = 256
"""px: side of the kept crops."""
_SEQUENCE = 16
"""Frames of a damaged clip."""
_MIDDLES = (5, 7, 9, 11)
"""Frames whose windows are kept: the first ones a codec needs to get into its stride, the last one is like no other."""
_CODECS = tuple(name for name in PRESETS if name not in MEDIA)
_MISPLACED_PX = (0.2, 1.5)
"""Deviation of how far such neighbours are bent, px, least and most."""
_SCREEN = (1.0, 2.2)
"""Side of the picture that is damaged per side of the face, least and most, where a preset does it: they are made for whole pictures."""


@dataclass(frozen=True)
class FusionConfig(Validated):
    """`iconface-video train fusion`."""

    folders: tuple[str, ...] = ()
    """Photos."""
    clips: str = ""
    """Folder of crops of people talking, with an index.csv."""
    pool: str = ""
    """Folder where the damaged windows are kept."""
    sequences: Count = 600
    """How many damaged clips."""
    photo_share: Share = 0.4
    """Of the clips that are photos in motion."""
    preset_share: Share = 0.6
    """Of the clips that a named preset damages, the others by chance."""
    batch: Count = 12
    patch: Count = 128
    half_share: Share = 0.25
    """Of the patches that are a whole window at half of its size."""
    missing_share: Share = 0.12
    """Of the windows that lack neighbours, as at a track's ends."""
    wrong_share: Share = 0.03
    """Of the windows with a neighbour that shows something else."""
    misplaced_share: Share = 0.0
    """Of the windows whose neighbours flow did not bring quite to their places: fast faces, which the clips lack."""
    start_from: str = ""
    """Weights to begin with: a file, or 'package' for those that ship; empty: from scratch."""
    workers: CountOrZero = 1
    trainer: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True, eq=False)
class DamagedWindows:
    """Of one damaged clip."""

    windows: UInt8
    """(n, 7, 256, 256, 3) RGB, carried onto the middle one."""
    targets: UInt8
    """(n, 256, 256, 3) the middle one, clean."""


def read_clip(path: Path, count: int, rng: np.random.Generator) -> list[UInt8]:
    """`count` neighbouring frames from a chance place on, (256, 256, 3) RGB. Raises InputError."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, picture = capture.read()
        if not there:
            break
        frames.append(picture)
    capture.release()
    if len(frames) < count:
        raise InputError(f"{path}: {len(frames)} readable frames, {count} are needed")
    begin = int(rng.integers(len(frames) - count + 1))
    small = (cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames[begin : begin + count])
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8) for frame in small]


def windows_of(
    pictures: Sequence[UInt8], effects: Sequence[ClipEffect], screen: float, rng: np.random.Generator
) -> DamagedWindows:
    """Damage a clip of one face and cut windows from it. pictures: (256, 256, 3) RGB each, `_SEQUENCE` of them.

    Light and color are not this network's business, and pasting gives them back to the input: the target has the damaged crop's.
    """
    kept = [effect for effect in effects if not isinstance(effect, Fading)]
    damaged = damaged_sequence(pictures, kept, screen, rng)
    windows = np.stack([carried(damaged[at - NEIGHBOURS : at + NEIGHBOURS + 1]) for at in _MIDDLES])
    return DamagedWindows(windows, np.stack([_with_light_of(damaged[at], pictures[at]) for at in _MIDDLES]))


def _with_light_of(seen: UInt8, clean: UInt8) -> UInt8:
    light, own = (low_frequencies(picture.astype(np.float32)) for picture in (seen, clean))
    return np.clip(np.rint(clean + light - own), 0, 255).astype(np.uint8)


class WindowPool:
    """Damaged windows on disk, one file a clip; made where they are not there yet."""

    def __init__(self, config: FusionConfig) -> None:
        self.config, self.folder = config, Path(config.pool)
        clips, photos = Path(config.clips), [Path(folder) for folder in config.folders]
        self._clips = [clips / row["file"] for row in index_rows(clips, "train") if int(row["frames"]) >= _SEQUENCE]
        self._photos = [
            folder / row["file"]
            for folder in photos
            for row in index_rows(folder, "train")
            if float(row.get("inside") or 1) >= 0.8 and float(row.get("sharpness") or 99) >= 7
        ]

    def make(self, on_log: Callable[[str], None] = lambda text: None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.config.sequences):
            if not self._path(number).is_file():
                made = self._damaged(np.random.default_rng((11, number)))
                kept = np.concatenate([made.windows, made.targets[:, None]], 1)
                write_whole(self._path(number), partial(np.save, arr=kept))
                on_log(f"damaged clip {number + 1} of {self.config.sequences}")

    def open(self, number: int) -> DamagedWindows:
        kept = np.load(self._path(number), mmap_mode="r")
        return DamagedWindows(kept[:, :FRAMES], kept[:, FRAMES])

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npy"

    def _damaged(self, rng: np.random.Generator) -> DamagedWindows:
        if rng.random() < self.config.photo_share:
            photo = read_indexed(self._photos[int(rng.integers(len(self._photos)))])
            picture = np.asarray(cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)
            pictures = [picture] * _SEQUENCE
        else:
            pictures = read_clip(self._clips[int(rng.integers(len(self._clips)))], _SEQUENCE, rng)
        if rng.random() < self.config.preset_share:
            names = _CODECS if rng.random() < 0.6 else tuple(MEDIA)
            effects, screen = PRESETS[names[int(rng.integers(len(names)))]], float(rng.uniform(*_SCREEN))
        else:
            effects, screen = draw_effects(float(rng.uniform(0, 1)), rng), 1.0
        return windows_of(pictures, effects, screen, rng)


@dataclass(frozen=True, eq=False)
class FusionBatch:
    windows: UInt8
    """(B, 7, P, P, 3)"""
    targets: UInt8
    """(B, P, P, 3)"""


class FusionMixer:
    """Batches, drawn from (seed, step)."""

    def __init__(self, pool: WindowPool, config: FusionConfig) -> None:
        self.pool, self.config = pool, config

    def batch(self, seed: int, step: int) -> FusionBatch:
        rng = np.random.default_rng((seed, step))
        drawn = [self._one(rng) for _ in range(self.config.batch)]
        return FusionBatch(np.stack([window for window, _ in drawn]), np.stack([target for _, target in drawn]))

    def _one(self, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
        kept = self.pool.open(int(rng.integers(self.config.sequences)))
        row = int(rng.integers(len(kept.windows)))
        window, target = np.array(kept.windows[row]), np.array(kept.targets[row])
        if rng.random() < self.config.missing_share:
            gone = int(rng.integers(1, NEIGHBOURS + 1))
            window[:gone] = window[NEIGHBOURS]
            window = window[::-1] if rng.random() < 0.5 else window
        elif rng.random() < self.config.wrong_share:
            other = self.pool.open(int(rng.integers(self.config.sequences)))
            window[int(rng.choice([0, 1, 2, 4, 5, 6]))] = other.windows[0, 0]
        if rng.random() < self.config.misplaced_share:
            window = misplaced(window, rng)
        window = trusted(window)
        patch = self.config.patch
        if rng.random() < self.config.half_share:
            small = (SIZE // 2, SIZE // 2)
            window = np.stack([cv2.resize(picture, small, interpolation=cv2.INTER_AREA) for picture in window])
            target = np.asarray(cv2.resize(target, small, interpolation=cv2.INTER_AREA), np.uint8)
        y, x = (int(rng.integers(len(target) - patch + 1)) for _ in range(2))
        window, target = window[:, y : y + patch, x : x + patch], target[y : y + patch, x : x + patch]
        if rng.random() < 0.5:
            window, target = window[:, :, ::-1], target[:, ::-1]
        if rng.random() < 0.5:
            window = window[::-1]
        return np.ascontiguousarray(window), np.ascontiguousarray(target)


def misplaced(window: UInt8, rng: np.random.Generator) -> UInt8:
    """(7, S, S, 3) -> the same, each neighbour bent smoothly by a px or two: the middle one stays."""
    size = window.shape[1]
    found = window.copy()
    for k in range(FRAMES):
        if k == NEIGHBOURS or np.array_equal(window[k], window[NEIGHBOURS]):
            continue
        cells = rng.normal(0, rng.uniform(*_MISPLACED_PX), (4, 4, 2)).astype(np.float32)
        bend = np.asarray(cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)
        found[k] = sampled(window[k], bend)
    return found


class FusionTask(Task):
    """The shared trainer's view of it."""

    def __init__(self, config: FusionConfig) -> None:
        self.config, self.network = config, FrameFusion()
        if config.start_from:
            path = None if config.start_from == "package" else Path(config.start_from)
            self.network.load_state_dict(load_frame_fusion(path).state_dict())
        self.mixer = FusionMixer(WindowPool(config), config)
        self.modules = {"fusion": self.network}
        self.held_out = held_out_windows(Path(config.clips))

    def batches(self, seed: int, start_step: int) -> Iterator[FusionBatch]:
        return stream(partial(self.mixer.batch, seed), start_step, self.config.workers)

    def loss(self, batch: FusionBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        windows, targets = to_tensor(batch.windows, self.device), to_tensor(batch.targets, self.device)
        made = self.network(windows).float()
        middle = windows[:, NEIGHBOURS]
        error, before = _error(made, targets), _error(middle, targets)
        return (error / (before + 0.004).sqrt()).mean(), {"ratio": (error / (before + 1e-3)).mean().item()}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """PSNR over the middle frame's in dB for each preset."""
        figures = {}
        for name, kept in self.held_out.items():
            gains = []
            for window, target in zip(kept.windows, kept.targets):
                with torch.no_grad():
                    made = self.network(to_tensor(trusted(window), self.device)[None])[0]
                goal, middle = to_tensor(target, self.device), to_tensor(window[NEIGHBOURS], self.device)
                gains.append(10 * torch.log10((middle - goal).square().mean() / (made - goal).square().mean()).item())
            figures[f"gain_{name}"] = float(np.mean(gains))
        return {**figures, "score": float(np.mean(list(figures.values())))}


def _error(made: Tensor, target: Tensor) -> Tensor:
    """(B,) absolute error at full, half and quarter size."""
    total = made.new_zeros(len(made))
    for _ in range(3):
        total = total + ((made - target).square() + 1e-6).sqrt().mean((1, 2, 3)) / 3
        made, target = F.avg_pool2d(made, 2), F.avg_pool2d(target, 2)
    return total


def held_out_windows(clips: Path) -> dict[str, DamagedWindows]:
    """Windows of the held-out people by preset, one a clip."""
    paths = [clips / row["file"] for row in index_rows(clips, "val") if int(row["frames"]) >= _SEQUENCE]
    found = {}
    for name in _CODECS:
        kept = []
        for number, path in enumerate(paths):
            rng = np.random.default_rng((5, number))
            kept.append(windows_of(read_clip(path, _SEQUENCE, rng), PRESETS[name], 1.6, rng))
        found[name] = DamagedWindows(
            np.concatenate([item.windows[:1] for item in kept]), np.concatenate([item.targets[:1] for item in kept])
        )
    return found


def train_fusion(
    config: FusionConfig,
    run_folder: Path,
    on_log: Callable[[int, dict[str, float]], None] | None = None,
    minutes: float = 0.0,
) -> dict[str, float]:
    """Make the windows that are not there yet, train (or go on training) in `run_folder`; returns the last validation's figures.

    minutes: stop after so many of wall time; 0: no limit.
    """
    deadline = time.monotonic() + 60 * minutes if minutes > 0 else None
    cv2.setNumThreads(1)  # OpenCV's thread pool does not survive the fork of the loader processes
    WindowPool(config).make()
    return Trainer(FusionTask(config), config.trainer, run_folder, {"config": asdict(config)}).run(on_log, deadline)


def export_fusion(run_folder: Path, out: Path) -> Path:
    """Write the averaged weights of a run's newest checkpoint as one file. InputError where there is none."""
    network = FrameFusion()
    network.load_state_dict(load_file(newest_weights(run_folder)))
    return save_frame_fusion(network, out)
