"""Training of the landmark network: batches move points with their pictures, and a short training learns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from iconface_video.errors import InputError
from iconface_video.faces.landmark_network import load_landmark_network, window_from_crop
from iconface_video.lab.train.landmarks import (
    LabelledFaces,
    LandmarkConfig,
    LandmarkMixer,
    LandmarkTask,
    MeshTeacher,
    export_landmarks,
    seen_through,
    train_landmarks,
)
from iconface_video.lab.train.trainer import TrainSettings


def made_up(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a bright disc somewhere, and 468 points on its rim, shares of the side."""
    rng = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    pictures, points = [], []
    for middle, radius in zip(rng.uniform(0.4, 0.6, (count, 2)), rng.uniform(0.12, 0.25, count)):
        picture = np.full((160, 160, 3), 40, np.uint8)
        cv2.circle(picture, tuple(int(v) for v in middle * 160), int(radius * 160), (220, 200, 180), -1)
        pictures.append(picture)
        points.append(middle + radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    return np.stack(pictures), np.asarray(points, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of sixty labelled pictures."""
    pictures, points = made_up(60)
    mirrored = points * (-1, 1) + (1, 0)
    files = [f"{number}.png" for number in range(60)]
    (tmp_path / "set").mkdir()
    for file, picture in zip(files, pictures):
        cv2.imwrite(str(tmp_path / "set" / file), picture[:, :, ::-1])
    with (tmp_path / "set" / "index.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["file", "split"])
        rows.writerows([file, "val" if number < 12 else "train"] for number, file in enumerate(files))
    (tmp_path / "points").mkdir()
    np.savez(tmp_path / "points" / "set.npz", files=np.array(files), points=points, mirrored=mirrored.astype(np.float32))
    return tmp_path


def test_points_stay_on_what_they_mark_when_the_picture_moves():
    pictures, points = made_up(1)
    move = cv2.getRotationMatrix2D((55.5, 55.5), 20, 1.1)
    window, moved = seen_through(pictures[0], points[0], move)
    inside = window[..., 0] > 130
    middle = np.argwhere(inside).mean(0)[::-1]
    np.testing.assert_allclose((middle + 0.5) / 112, moved.mean(0), atol=0.015)
    radius = np.linalg.norm(moved - moved.mean(0), axis=1).mean() * 112
    assert radius == pytest.approx(np.sqrt(inside.sum() / np.pi), rel=0.05)


def test_batches_come_from_seed_and_step(folder: Path):
    faces = LabelledFaces.load([folder / "set"], folder / "points", "train")
    mixer = LandmarkMixer(faces, LandmarkConfig(batch=4))
    first, again, next_one = mixer.batch(1, 7), mixer.batch(1, 7), mixer.batch(1, 8)
    assert first.windows.shape == (4, 112, 112, 3)
    np.testing.assert_array_equal(first.windows, again.windows)
    assert not np.array_equal(first.windows, next_one.windows)
    assert len(faces) == 48


def test_a_batch_is_learnt(folder: Path):
    faces = LabelledFaces.load([folder / "set"], folder / "points", "train")
    torch.manual_seed(0)
    task = LandmarkTask(faces, faces, LandmarkConfig(batch=6, degraded_share=0.0, components=6))
    batch = task.mixer.batch(1, 0)
    optimizer = torch.optim.AdamW(task.network.parameters(), 1e-3)
    losses = []
    for step in range(40):
        loss, figures = task.loss(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(figures["error"])
    assert min(losses[-5:]) < 0.5 * losses[0]


def test_a_run_goes_on_and_is_exported(folder: Path):
    settings = TrainSettings(max_steps=2, warmup_steps=0, log_every=1, validate_every=2, cpu=True)
    config = LandmarkConfig((str(folder / "set"),), "", str(folder / "points"), batch=4, components=6, trainer=settings)
    figures = train_landmarks(config, folder / "run")
    assert 0 < figures["error@0"] <= figures["error@16"] + 1
    train_landmarks(replace(config, trainer=replace(settings, max_steps=3)), folder / "run")
    steps = [line.split(",")[0] for line in (folder / "run" / "curve.csv").read_text().splitlines()[1:]]
    assert steps == ["1", "2", "3"]
    exported = export_landmarks(folder / "run", folder / "out.safetensors")
    assert load_landmark_network(exported).basis.shape == (6, 936)
    with pytest.raises(InputError, match="no checkpoint"):
        export_landmarks(folder / "set", folder / "out.safetensors")


def test_what_is_missing_is_named(folder: Path):
    with pytest.raises(InputError, match=r"nothing\.tflite"):
        MeshTeacher(folder / "nothing.tflite")
    with pytest.raises(InputError, match=r"index\.csv"):
        LabelledFaces.load([folder / "points"], folder / "points", "train")
    (folder / "points" / "set.npz").unlink()
    config = LandmarkConfig((str(folder / "set"),), "", str(folder / "points"))
    with pytest.raises(InputError, match=r"set\.npz.*--teacher"):
        train_landmarks(config, folder / "run")


def test_the_window_lies_in_the_crop():
    matrix = window_from_crop(256)
    corners = np.array([[0.1, 0.15], [0.9, 0.95]]) * 256 - 0.5
    np.testing.assert_allclose(corners @ matrix[:, :2].T + matrix[:, 2], [[-0.5, -0.5], [111.5, 111.5]], atol=1e-9)
    assert load_landmark_network().basis.shape == (48, 936)
