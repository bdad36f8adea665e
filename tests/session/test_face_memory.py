"""Restored faces under what they were made from: taken where all of it is the same, and never anything else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from iconface_video.session.face_memory import FaceMemory, RememberingModel
from iconface_video.types import IdentityAnchor
from tests.pipelines.conftest import Sharpener

MUCH = 1 << 30


@pytest.fixture
def given():
    """Two crops of 64 px with their noise, and an anchor."""
    random = np.random.default_rng(3)
    crops = random.integers(0, 256, (2, 64, 64, 3), np.uint8)
    noise = random.standard_normal((2, 3, 64, 64), np.float32)
    picture = random.integers(0, 256, (64, 64, 3), np.uint8)
    return crops, noise, IdentityAnchor(np.ones(512, np.float32), 20.0, np.ones(1, np.float32), (picture,), "user")


def restored(folder, given, made_with="a", others=()):
    """The faces, and how many the model was asked for."""
    crops, noise, anchor = given
    model = Sharpener()
    around = RememberingModel(model, FaceMemory(folder, MUCH, others), made_with)
    return around.restore(crops, [around.prepare(anchor, 64)] * len(crops), noise), model.faces


def test_the_same_is_restored_once(tmp_path, given):
    crops, noise, anchor = given
    faces, asked = restored(tmp_path, given)
    assert asked == 2
    assert np.array_equal(faces, Sharpener().restore(crops, [anchor] * 2, noise))
    again, asked = restored(tmp_path, given)
    assert asked == 0
    assert np.array_equal(again, faces)
    elsewhere, asked = restored(tmp_path / "run", given, others=[tmp_path])
    assert asked == 0
    assert np.array_equal(elsewhere, faces)


@pytest.mark.parametrize("what", ["crop", "noise", "picture", "direction", "settings", "batch"])
def test_whatever_is_otherwise_is_restored(tmp_path, given, what):
    restored(tmp_path, given)
    crops, noise, anchor = (given[0].copy(), given[1].copy(), given[2])
    if what == "crop":
        crops[:, 0, 0, 0] ^= 1
    elif what == "noise":
        noise[:, 0, 0, 0] += 1
    elif what == "picture":
        anchor = replace(anchor, references=(255 - anchor.references[0],))
    elif what == "direction":
        anchor = replace(anchor, direction=-anchor.direction)
    elif what == "batch":
        crops, noise = np.concatenate([crops, crops[:1]]), np.concatenate([noise, noise[:1]])
    assert restored(tmp_path, (crops, noise, anchor), "b" if what == "settings" else "a")[1] > 0


def test_the_batch_keeps_its_shape(tmp_path, given):
    """Where one face of it is known: the model's result for the other one depends on that."""
    crops, noise, anchor = given
    restored(tmp_path, given)
    mixed = np.concatenate([crops[:1], 255 - crops[1:]]), noise, anchor
    faces, asked = restored(tmp_path, mixed)
    assert asked == 2
    assert np.array_equal(faces, Sharpener().restore(mixed[0], [anchor] * 2, noise))


def test_damaged_faces_are_restored_again(tmp_path, given):
    faces, _ = restored(tmp_path, given)
    kept = sorted(tmp_path.iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    torn = bytearray(kept[1].read_bytes())
    torn[100] ^= 1
    kept[1].write_bytes(torn)
    again, asked = restored(tmp_path, given)
    assert asked == 2
    assert np.array_equal(again, faces)


def test_the_oldest_are_dropped_and_nothing_that_cannot_be_written_is_an_error(tmp_path, given):
    memory = FaceMemory(tmp_path, 30_000)
    for number in range(5):
        memory.keep(f"{number}", given[0][0])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["3.face", "4.face"]
    assert len(FaceMemory(tmp_path, 30_000)._sizes) == 2
    (tmp_path / "file").write_text("in the way")
    assert restored(tmp_path / "file" / "folder", given)[1] == 2
