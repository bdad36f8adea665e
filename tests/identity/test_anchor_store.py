"""Anchors come back from disk to the bit, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.errors import StoreError
from iconface_video.identity.anchors import load_anchors, save_anchors
from iconface_video.session.fingerprint import hash_anchors
from iconface_video.types import IdentityAnchor


def make_anchor(seed: int, references: int, origin="track") -> IdentityAnchor:
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(512).astype(np.float32)
    pictures = tuple(rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for size in (256, 512, 256)[:references])
    weights = rng.random(max(1, references)).astype(np.float32)
    return IdentityAnchor(direction / np.linalg.norm(direction), float(rng.random() / 3), weights, pictures, origin)


@pytest.fixture
def anchors() -> dict[int, IdentityAnchor]:
    shared = make_anchor(0, 3, "user")
    return {7: shared, 2: make_anchor(1, 0, "self"), 11: shared, 3: make_anchor(2, 1)}


def test_everything_comes_back_to_the_bit_and_shared_anchors_stay_shared(anchors, tmp_path):
    save_anchors(anchors, tmp_path / "new" / "folder")
    found = load_anchors(tmp_path / "new" / "folder")
    assert list(found) == [2, 3, 7, 11]
    assert found[7] is found[11]
    assert len({id(anchor) for anchor in found.values()}) == 3
    for track_id, anchor in anchors.items():
        again = found[track_id]
        assert (again.reliability, again.origin) == (anchor.reliability, anchor.origin)
        assert again.direction.dtype == np.float32
        np.testing.assert_array_equal(again.direction, anchor.direction)
        np.testing.assert_array_equal(again.weights, anchor.weights)
        assert len(again.references) == len(anchor.references)
        for picture, expected in zip(again.references, anchor.references):
            assert picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, expected)
    assert hash_anchors(found) == hash_anchors(anchors)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["anchors.json", "anchors.npz"]


def test_nobody_is_a_valid_answer(tmp_path):
    save_anchors({}, tmp_path)
    assert load_anchors(tmp_path) == {}


@pytest.mark.parametrize("name", ["anchors.json", "anchors.npz"])
def test_any_damage_is_noticed(anchors, tmp_path, name):
    save_anchors(anchors, tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 23)):
        data = bytearray(whole)
        data[position] ^= 0x10
        path.write_bytes(data)
        try:
            found = load_anchors(tmp_path)
        except StoreError:
            continue
        assert hash_anchors(found) == hash_anchors(anchors)  # white space or an unused byte
        assert found[2].reliability == anchors[2].reliability
    for length in (0, 10, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError, match="damaged"):
            load_anchors(tmp_path)
    path.unlink()
    with pytest.raises(StoreError, match="no anchors there"):
        load_anchors(tmp_path)


def test_another_version_and_an_unwritable_folder_are_named(anchors, tmp_path):
    save_anchors(anchors, tmp_path)
    path = tmp_path / "anchors.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(StoreError, match="format 9"):
        load_anchors(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        save_anchors(anchors, tmp_path / "file" / "below")
