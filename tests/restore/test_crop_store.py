"""The crop store gives back what went in, to the bit, and says so when it cannot."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from iconface_video.errors import OutputError, StoreError
from iconface_video.restore.crop_store import (
    CropStore,
    SegmentCrops,
    SegmentWriter,
    StoredCrop,
    StoreHeader,
    estimate_bytes,
    is_finished,
    read_header,
    write_header,
)
from iconface_video.types import Segment


def make_crop(pts: int, track_id: int = 0, size: int = 32) -> StoredCrop:
    rng = np.random.default_rng([abs(pts), track_id])
    return StoredCrop(
        pts=pts,
        track_id=track_id,
        crop_from_frame=rng.normal(size=(2, 3)),
        fade=0.25,
        quality=0.5,
        image=rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
    )


def write_segment(folder, crops, index=0):
    with SegmentWriter(folder, index) as writer:
        for crop in crops:
            writer.add(crop)
        writer.finish()


def test_crops_come_back_bit_for_bit_in_presentation_order(tmp_path):
    crops = [make_crop(-512, 3), make_crop(2**40, 1, size=64), make_crop(2**40, 0), make_crop(5, 3)]
    write_segment(tmp_path, crops)
    stored = SegmentCrops(tmp_path, 0)
    assert [(crop.pts, crop.track_id) for crop in stored] == [(-512, 3), (5, 3), (2**40, 0), (2**40, 1)]
    for crop in crops:
        (found,) = [item for item in stored.at(crop.pts) if item.track_id == crop.track_id]
        np.testing.assert_array_equal(found.image, crop.image)
        np.testing.assert_array_equal(found.crop_from_frame, crop.crop_from_frame)
        assert (found.fade, found.quality) == (0.25, 0.5)
    assert stored.at(6) == []


def test_an_empty_segment_is_a_finished_one(tmp_path):
    write_segment(tmp_path, [])
    assert is_finished(tmp_path, 0)
    assert len(SegmentCrops(tmp_path, 0)) == 0
    assert SegmentCrops(tmp_path, 0).at(0) == []


def test_a_repeated_frame_costs_no_second_blob(tmp_path):
    crop = make_crop(10)
    with SegmentWriter(tmp_path, 0) as writer:
        writer.add(crop)
        writer.repeat(11, 1.0, 0.5, 0, source_pts=10, crop=crop.crop_from_frame, size=crop.size)
        writer.finish()
    write_segment(tmp_path, [crop], index=1)
    (again,) = SegmentCrops(tmp_path, 0).at(11)
    np.testing.assert_array_equal(again.image, crop.image)
    assert again.fade == 1.0
    assert (tmp_path / "segment-00000.crops").stat().st_size == (tmp_path / "segment-00001.crops").stat().st_size


def test_nothing_stands_before_the_segment_is_whole(tmp_path):
    writer = SegmentWriter(tmp_path, 0)
    with contextlib.suppress(KeyboardInterrupt), writer:
        writer.add(make_crop(1))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    assert not is_finished(tmp_path, 0)
    with pytest.raises(StoreError, match="segment 0 was not restored"):
        SegmentCrops(tmp_path, 0)


def test_a_damaged_crop_is_named(tmp_path):
    write_segment(tmp_path, [make_crop(1), make_crop(2, track_id=5)])
    blobs = tmp_path / "segment-00000.crops"
    data = bytearray(blobs.read_bytes())
    data[-20] ^= 1
    blobs.write_bytes(data)
    stored = SegmentCrops(tmp_path, 0)
    assert len(stored.at(1)) == 1
    with pytest.raises(StoreError, match=r"segment-00000\.crops: the crop of track 5 at PTS 2 is damaged"):
        stored.at(2)
    blobs.write_bytes(data[:-20])
    with pytest.raises(StoreError, match=r"does not fit segment-00000\.crops"):
        SegmentCrops(tmp_path, 0)


def test_a_damaged_index_is_named(tmp_path):
    write_segment(tmp_path, [make_crop(1)])
    index = tmp_path / "segment-00000.npz"
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(StoreError, match="index of segment 0 is damaged"):
        SegmentCrops(tmp_path, 0)


def test_the_whole_store_finds_the_segment_of_a_frame(tmp_path):
    segments = (Segment(0, 0, 9), Segment(1, 10, 29), Segment(2, 30, 40))
    for segment in segments[:2]:
        write_segment(tmp_path, [make_crop(segment.first_pts), make_crop(segment.last_pts)], segment.index)
    store = CropStore(tmp_path, segments)
    for pts in (29, 0, 10, 9):
        (crop,) = store.at(pts)
        np.testing.assert_array_equal(crop.image, make_crop(pts).image)
    assert store.at(5) == store.at(-1) == store.at(41) == []
    with pytest.raises(StoreError, match="segment 2 was not restored"):
        store.at(30)


def test_header_round_trip_and_refusals(tmp_path):
    header = StoreHeader("abc", "/videos/clip ä.mp4", (Segment(0, -5, 10), Segment(1, 11, 2**40)), {"model": "embedded"})
    write_header(tmp_path / "work", header)
    assert read_header(tmp_path / "work") == header
    with pytest.raises(StoreError, match="not a work folder"):
        read_header(tmp_path)
    path = tmp_path / "work" / "store.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(StoreError, match="another version"):
        read_header(tmp_path / "work")
    path.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        read_header(tmp_path / "work")


def test_the_estimate_covers_noise_free_pictures_and_is_not_absurd(tmp_path):
    """A smooth picture with mild noise, like a restored face."""
    y, x = np.mgrid[0:256, 0:256]
    picture = (
        128 + 80 * np.sin(x / 30)[..., None] * np.cos(y / 25)[..., None] + np.random.default_rng(0).normal(0, 3, (256, 256, 3))
    )
    crop = StoredCrop(0, 0, np.eye(3)[:2], 1.0, 1.0, picture.clip(0, 255).astype(np.uint8))
    write_segment(tmp_path, [crop])
    size = (tmp_path / "segment-00000.crops").stat().st_size
    assert size < estimate_bytes({256: 1}) < 4 * size


def test_an_unwritable_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the crop store"):
        SegmentWriter(tmp_path / "file" / "work", 0)
