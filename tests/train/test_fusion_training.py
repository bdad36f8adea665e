"""Training of the frame fusion network: its windows are damaged clips with the right target, and a short training learns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.degrade.clip_effects import Fading, TapeNoise
from iconface_video.degrade.filmed import damaged_sequence
from iconface_video.errors import CheckpointError, InputError, UsageError
from iconface_video.lab.train.data import FaceMixer, FaceSet, MixSettings
from iconface_video.lab.train.fused_pairs import FusedPairs
from iconface_video.lab.train.fusion import (
    FusionConfig,
    FusionMixer,
    WindowPool,
    export_fusion,
    misplaced,
    read_clip,
    train_fusion,
    windows_of,
)
from iconface_video.lab.train.trainer import TrainSettings
from iconface_video.models.frame_fusion import NEIGHBOURS, fused, load_frame_fusion


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> FusionConfig:
    """A photo, and a clip of it in which it drifts, for training and held out."""
    folder = tmp_path_factory.mktemp("sets")
    face = cv2.resize(data.astronaut()[0:256, 96:352], (256, 256))[:, :, ::-1]
    (folder / "photos").mkdir()
    (folder / "clips").mkdir()
    cv2.imwrite(str(folder / "photos" / "a.png"), face)
    for name in ("train", "val"):
        clip = cv2.VideoWriter(str(folder / "clips" / f"{name}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
        for k in range(18):
            moved = np.float32([[1, 0, 0.7 * k], [0, 1, 0]])
            clip.write(cv2.warpAffine(face, moved, (256, 256), borderMode=cv2.BORDER_REFLECT))
        clip.release()
    for where, rows in (("photos", [("a.png", "train", "")]), ("clips", [("train.avi", "train", 18), ("val.avi", "val", 18)])):
        with (folder / where / "index.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("file", "split", "frames"), *rows])
    trainer = TrainSettings(max_steps=3, warmup_steps=1, validate_every=3, log_every=1, precision="no")
    return FusionConfig(
        (str(folder / "photos"),), str(folder / "clips"), str(folder / "pool"),
        sequences=2, batch=2, patch=64, workers=0, trainer=trainer,
    )  # fmt: skip


def psnr(picture: np.ndarray, goal: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(picture.astype(float) - goal).mean()))


def test_a_damaged_face_is_cut_out_where_it_was(sets):
    """It moved through the damaged picture; without damage the same crops come back."""
    pictures = read_clip(Path(sets.clips) / "train.avi", 16, np.random.default_rng(0))
    for screen in (1.0, 2.0):
        damaged = damaged_sequence(pictures, (), screen, np.random.default_rng(1))
        inner = slice(24, -24)
        assert min(psnr(one[inner, inner], other[inner, inner]) for one, other in zip(damaged, pictures, strict=True)) > 28


def test_the_target_has_the_damaged_frames_light(sets):
    """Faded color and light are given back to the input by pasting: the network must not mend them."""
    pictures = read_clip(Path(sets.clips) / "train.avi", 16, np.random.default_rng(0))
    effects = (Fading(0.7, 25, 0.1, 0.0), TapeNoise(2.0, 2.0))
    made = windows_of(pictures, effects, 1.0, np.random.default_rng(2))
    middles = made.windows[:, NEIGHBOURS].astype(float)
    assert made.windows.shape == (4, 7, 256, 256, 3)
    np.testing.assert_allclose(middles.mean((1, 2)), made.targets.mean((1, 2)), atol=0.7)


def test_windows_are_kept_and_batches_come_from_seed_and_step(sets):
    pool = WindowPool(sets)
    said = []
    pool.make(said.append)
    pool.make(said.append)  # nothing is left to be made
    assert said == ["damaged clip 1 of 2", "damaged clip 2 of 2"]
    mixer = FusionMixer(pool, replace(sets, missing_share=1.0))
    first, again, other = mixer.batch(1, 0), mixer.batch(1, 0), mixer.batch(1, 1)
    assert (first.windows.shape, first.targets.shape) == ((2, 7, 64, 64, 3), (2, 64, 64, 3))
    np.testing.assert_array_equal(first.windows, again.windows)
    assert not np.array_equal(first.windows, other.windows)
    for window in first.windows:  # a track's first or last frames: the middle stands for what is missing
        assert any(np.array_equal(window[k], window[NEIGHBOURS]) for k in (0, 6))


def test_a_short_training_can_be_exported(sets, tmp_path):
    logged = []
    train_fusion(sets, tmp_path / "run", lambda step, figures: logged.append(figures))
    assert any("ratio" in figures for figures in logged)
    assert any("gain_vhs" in figures for figures in logged)
    load_frame_fusion(export_fusion(tmp_path / "run", tmp_path / "fusion.safetensors"))
    with pytest.raises(InputError, match="no checkpoint"):
        export_fusion(tmp_path / "nothing", tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="18 readable frames, 40 are needed"):
        read_clip(Path(sets.clips) / "train.avi", 40, np.random.default_rng(0))


def test_the_restorer_learns_from_faces_as_the_fusion_network_hands_them_on(sets, tmp_path):
    """What is kept is what a run makes of such a window; the truth beside it is its clean frame, references are other frames."""
    pool = WindowPool(replace(sets, pool=str(tmp_path)))
    pool.make()
    pairs = FusedPairs(tmp_path, 256)
    pairs.make()
    kept = pool.open(0)
    network = load_frame_fusion()
    of_a_run = [fused(network, window) for window in kept.windows]
    faces = FaceSet([np.array(kept.targets[0])], [""], ["one"], {})
    mix = MixSettings((256,), (4,), reference_shares=(0.0, 1.0), fused_share=1.0, grey_share=0.0)
    batch = FaceMixer(faces, mix, {256: pairs}).batch(3, 5)
    assert batch.references.shape == (4, 1, 256, 256, 3)
    assert (batch.truth_index == -1).all()
    seen = [pool.open(number) for number in range(2)]
    truths = [target[:, ::step] for kept in seen for target in kept.targets for step in (1, -1)]
    for truth in batch.truth:
        assert any(np.array_equal(truth, target) for target in truths)
    mirrored = [picture[:, ::step] for picture in of_a_run for step in (1, -1)]
    drawn = [pairs.draw(np.random.default_rng(seed)).source for seed in range(24)]
    assert sum(any(np.array_equal(source, picture) for picture in mirrored) for source in drawn) > 4


def test_fused_faces_without_windows_are_refused(tmp_path):
    faces = FaceSet([np.zeros((64, 64, 3), np.uint8)], [""], ["one"], {})
    with pytest.raises(UsageError, match="name the fusion network's training windows"):
        FaceMixer(faces, MixSettings((64,), (2,), fused_share=0.5))
    with pytest.raises(InputError, match="no windows of damaged clips"):
        FusedPairs(tmp_path, 64)


def test_a_run_begins_with_the_weights_that_ship_and_bends_neighbours(sets, tmp_path):
    """Fast faces: what flow does not bring to its place is shown to the network, the middle frame stays."""
    pool = WindowPool(sets)
    pool.make()
    window = np.array(pool.open(0).windows[0])
    bent = misplaced(window, np.random.default_rng(1))
    np.testing.assert_array_equal(bent[NEIGHBOURS], window[NEIGHBOURS])
    assert all(np.abs(bent[k].astype(int) - window[k]).mean() > 0.3 for k in (0, 1, 5, 6))
    slow = replace(sets, start_from="package", misplaced_share=1.0, trainer=replace(sets.trainer, learning_rate=1e-7))
    train_fusion(slow, tmp_path / "run")
    begun = load_frame_fusion(export_fusion(tmp_path / "run", tmp_path / "begun.safetensors")).state_dict()
    for name, weight in load_frame_fusion().state_dict().items():
        np.testing.assert_allclose(begun[name], weight, atol=2e-3)
    with pytest.raises(CheckpointError, match="nowhere"):
        train_fusion(replace(slow, start_from=str(tmp_path / "nowhere.safetensors")), tmp_path / "none")
