"""Training of the landmark network: it learns a teacher's 468 points on aligned photos, moved, relit and degraded.

The teacher is MediaPipe's face mesh as a TFLite file, which OpenCV runs; it labels each photo and its mirror image once, and neither it
nor its file is needed afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from iconface_video.degrade import degrade, sample_strength
from iconface_video.errors import InputError
from iconface_video.faces.align import compose, cut_crop, transform_points
from iconface_video.faces.landmark_network import (
    INPUT_SIZE,
    POINTS,
    WINDOW,
    LandmarkNetwork,
    eye_distance,
    find_landmarks,
    save_landmark_network,
    window_from_crop,
)
from iconface_video.faces.pixels import to_tensor
from iconface_video.files import write_whole
from iconface_video.lab.train.face_views import relit
from iconface_video.lab.train.loading import index_rows, read_indexed, stream
from iconface_video.lab.train.run_state import newest_weights
from iconface_video.lab.train.trainer import Task, Trainer, TrainSettings
from iconface_video.settings import Count, Share, Validated
from iconface_video.types import Float32, Float64, UInt8

TEACHER_SIZE = 192
"""px: side of the picture that the teacher sees, the network's own window."""
KEPT_SIZE = 160
"""px: side at which photos are kept in memory, and degraded."""


@dataclass(frozen=True)
class LandmarkConfig(Validated):
    """`iconface-video train landmarks`."""

    folders: tuple[str, ...] = ()
    teacher: str = ""
    """The TFLite file."""
    labels: str = ""
    """Folder where its points are kept, one file a set."""
    batch: Count = 48
    degraded_share: Share = 0.65
    """Of the faces that are seen degraded, the others as they are."""
    validation_photos: Count = 160
    components: Count = 48
    workers: Count = 1
    trainer: TrainSettings = field(default_factory=TrainSettings)


class MeshTeacher:
    """MediaPipe's face mesh."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a file that OpenCV cannot read."""
        try:
            self._network = cv2.dnn.readNetFromTFLite(str(path))
        except cv2.error as error:
            raise InputError(f"{path}: not a TFLite network that OpenCV {cv2.__version__} reads ({error.err})") from error

    def landmarks(self, crop: UInt8) -> Float32:
        """(468, 2) shares of the crop's side. crop: (S, S, 3) RGB in the FFHQ frame."""
        matrix = compose([[TEACHER_SIZE / INPUT_SIZE, 0, 0], [0, TEACHER_SIZE / INPUT_SIZE, 0]], window_from_crop(len(crop)))
        seen = cut_crop(crop, matrix, TEACHER_SIZE)
        self._network.setInput(cv2.dnn.blobFromImage(seen, 1 / 255.0, (TEACHER_SIZE, TEACHER_SIZE)))
        points = self._network.forward().reshape(POINTS, 3)[:, :2] / TEACHER_SIZE
        return np.asarray(points * WINDOW[2] + WINDOW[:2], np.float32)


def label_folder(folder: Path, teacher: MeshTeacher | None, path: Path) -> None:
    """Points of every photo of a set and of its mirror image, kept in `path` (.npz); nothing is done where that is there."""
    if path.is_file():
        return
    if teacher is None:
        raise InputError(f"{path}: not there, and no --teacher that could label {folder}")
    files = [row["file"] for row in _rows(folder)]
    crops = [read_indexed(folder / file) for file in files]
    points = np.stack([teacher.landmarks(crop) for crop in crops])
    mirrored = np.stack([teacher.landmarks(np.ascontiguousarray(crop[:, ::-1])) for crop in crops])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: np.savez(file, files=np.array(files), points=points, mirrored=mirrored))


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """Photos in the FFHQ frame and where their points are."""

    pictures: UInt8
    """(n, 160, 160, 3) RGB."""
    points: Float32
    """(n, 468, 2) shares of the side."""
    mirrored: Float32
    """(n, 468, 2) the same of the mirror images."""

    @classmethod
    def load(
        cls, folders: Sequence[Path], labels: Path, split: Literal["train", "val"], most: int | None = None
    ) -> LabelledFaces:
        """InputError where no labelled photo is found. most: so many of them, evenly over all."""
        pictures, points, mirrored = [], [], []
        for folder in folders:
            rows = _rows(folder)
            with np.load(labels / f"{folder.name}.npz") as kept:
                place = {str(file): row for row, file in enumerate(kept["files"])}
                both = kept["points"], kept["mirrored"]
            for row in rows:
                if row["split"] == split and row["file"] in place:
                    pictures.append(
                        cv2.resize(read_indexed(folder / row["file"]), (KEPT_SIZE, KEPT_SIZE), interpolation=cv2.INTER_AREA)
                    )
                    points.append(both[0][place[row["file"]]])
                    mirrored.append(both[1][place[row["file"]]])
        if not pictures:
            raise InputError(f"no labelled '{split}' photos in {', '.join(map(str, folders)) or 'no folder at all'}")
        chosen = np.linspace(0, len(pictures) - 1, min(most or len(pictures), len(pictures))).round().astype(int)
        return cls(np.stack(pictures)[chosen].astype(np.uint8), np.stack(points)[chosen], np.stack(mirrored)[chosen])

    def __len__(self) -> int:
        return len(self.pictures)


def _rows(folder: Path) -> list[dict[str, str]]:
    """Of the index: photos that cover enough of their frame."""
    return [row for row in index_rows(folder) if float(row.get("inside") or 1) >= 0.6]


@dataclass(frozen=True, eq=False)
class LandmarkBatch:
    windows: UInt8
    """(B, 112, 112, 3) RGB."""
    points: Float32
    """(B, 468, 2) shares of the window's side."""


class LandmarkMixer:
    """Batches, drawn from (seed, step)."""

    def __init__(self, faces: LabelledFaces, config: LandmarkConfig) -> None:
        self.faces, self.config = faces, config

    def batch(self, seed: int, step: int) -> LandmarkBatch:
        rng = np.random.default_rng((seed, step))
        drawn = [self._one(int(row), rng) for row in rng.integers(len(self.faces), size=self.config.batch)]
        return LandmarkBatch(np.stack([window for window, _ in drawn]), np.stack([points for _, points in drawn]))

    def _one(self, row: int, rng: np.random.Generator) -> tuple[UInt8, Float32]:
        picture, points = self.faces.pictures[row], self.faces.points[row]
        if rng.random() < 0.5:
            picture, points = np.ascontiguousarray(picture[:, ::-1]), self.faces.mirrored[row]
        picture = relit(picture, rng, 0.15)
        if rng.random() < self.config.degraded_share:
            picture = degrade(picture, sample_strength(rng, (0.2, 0.4, 0.4)), rng)
        return seen_through(picture, points, _move(rng))


def seen_through(picture: UInt8, points: Float32, move: Float64) -> tuple[UInt8, Float32]:
    """A photo's window and its points in that, once the picture is moved by `move` ((2, 3), px of the window)."""
    matrix = compose(move, window_from_crop(len(picture)))
    px = points.astype(np.float64) * len(picture) - 0.5
    moved = (transform_points(matrix, px) + 0.5) / INPUT_SIZE
    return np.asarray(cut_crop(picture, matrix, INPUT_SIZE), np.uint8), moved.astype(np.float32)


def _move(rng: np.random.Generator) -> Float64:
    middle = (INPUT_SIZE - 1) / 2
    turned = cv2.getRotationMatrix2D((middle, middle), float(rng.normal(0, 7)), float(np.exp(rng.normal(0, 0.08))))
    matrix: Float64 = np.asarray(turned, np.float64)
    matrix[:, 2] += rng.normal(0, 0.035, 2) * INPUT_SIZE
    return matrix


class LandmarkTask(Task):
    """The shared trainer's view of it."""

    def __init__(self, train: LabelledFaces, held_out: LabelledFaces, config: LandmarkConfig) -> None:
        self.config, self.mixer, self.held_out = config, LandmarkMixer(train, config), held_out
        self.network = LandmarkNetwork(config.components)
        left_top, side = np.array(WINDOW[:2], np.float32), WINDOW[2]
        self.network.set_shapes((np.concatenate([train.points, train.mirrored]) - left_top) / side)
        self.modules = {"landmarks": self.network}

    def batches(self, seed: int, start_step: int) -> Iterator[LandmarkBatch]:
        return stream(partial(self.mixer.batch, seed), start_step, self.config.workers)

    def loss(self, batch: LandmarkBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        found = self.network(to_tensor(batch.windows, self.device)).float()
        points = torch.from_numpy(batch.points).to(self.device)
        unit = torch.from_numpy(eye_distance(batch.points)).to(self.device)[:, None]
        error = ((found - points).square().sum(2) + 1e-7).sqrt() / unit
        return error.mean(), {"error": error.mean().item()}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Mean distance to the teacher's points as a share of the eye distance, clean and degraded."""
        figures = {}
        for strength in (0, 6, 12, 16):
            seen = [
                picture if strength == 0 else degrade(picture, float(strength), np.random.default_rng((7, strength, row)))
                for row, picture in enumerate(self.held_out.pictures)
            ]
            distance = np.linalg.norm(find_landmarks(self.network, seen) - self.held_out.points, axis=2)
            figures[f"error@{strength}"] = float((distance.mean(1) / eye_distance(self.held_out.points)).mean())
        return {**figures, "score": -figures["error@0"] - figures["error@12"]}


def train_landmarks(
    config: LandmarkConfig,
    run_folder: Path,
    on_log: Callable[[int, dict[str, float]], None] | None = None,
    minutes: float = 0.0,
) -> dict[str, float]:
    """Label what is not labelled yet, train (or go on training) in `run_folder`; returns the last validation's figures.

    minutes: stop after so many of wall time; 0: no limit.
    """
    deadline = time.monotonic() + 60 * minutes if minutes > 0 else None
    cv2.setNumThreads(1)  # OpenCV's thread pool does not survive the fork of the loader processes
    teacher = MeshTeacher(Path(config.teacher)) if config.teacher else None
    folders, labels = [Path(folder) for folder in config.folders], Path(config.labels)
    for folder in folders:
        label_folder(folder, teacher, labels / f"{folder.name}.npz")
    held_out = LabelledFaces.load(folders[:1], labels, "val", config.validation_photos)
    task = LandmarkTask(LabelledFaces.load(folders, labels, "train"), held_out, config)
    return Trainer(task, config.trainer, run_folder, {"config": asdict(config)}).run(on_log, deadline)


def export_landmarks(run_folder: Path, out: Path) -> Path:
    """Write the averaged weights of a run's newest checkpoint as one file. InputError where there is none."""
    tensors = load_file(newest_weights(run_folder))
    network = LandmarkNetwork(len(tensors["basis"]))
    network.load_state_dict(tensors)
    return save_landmark_network(network, out)
