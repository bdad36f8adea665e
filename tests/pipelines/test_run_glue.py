"""Progress, the wish to stop, fingerprints, the work folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from iconface_video.errors import Cancelled, OutputError
from iconface_video.session.clip import Watch, to_display
from iconface_video.session.fingerprint import fingerprint, hash_file
from iconface_video.session.work import WorkFolder
from iconface_video.settings import RestoreSettings
from iconface_video.types import Progress


def test_first_and_last_events_always_come_the_flood_between_does_not():
    events = []
    watch = Watch(events.append)
    for done in range(1001):
        watch.report(Progress("render", done, 1000))
    assert events[0].done == 0
    assert events[-1].done == 1000
    assert len(events) < 50


def test_stages_are_timed_and_stopped():
    stop = False
    watch = Watch(should_stop=lambda: stop)
    with watch.stage("survey"):
        pass
    with watch.stage("survey"):
        pass
    assert set(watch.seconds) == {"survey"}
    stop = True
    with pytest.raises(Cancelled, match="nothing was written"), watch.stage("render"):
        pytest.fail("a stage began after the wish to stop")


def test_an_error_inside_a_stage_is_not_replaced_by_the_wish_to_stop():
    watch = Watch(should_stop=lambda: False)
    with pytest.raises(KeyError), watch.stage("restore"):
        raise KeyError("from the stage")
    assert "restore" in watch.seconds


def test_the_fingerprint_changes_with_every_part():
    base = dict(settings=RestoreSettings(), model="embedded", size=3)
    prints = {fingerprint(**base), fingerprint(**{**base, "model": "other"}), fingerprint(**{**base, "size": 4})}
    prints.add(fingerprint(**{**base, "settings": replace(RestoreSettings(), seed=1)}))
    assert len(prints) == 4
    assert fingerprint(**base) == fingerprint(**dict(reversed(base.items())))


def test_file_hash_sees_a_change_at_the_start_middle_and_end(tmp_path):
    data = bytearray(np.random.default_rng(0).integers(0, 256, 5 << 20, dtype=np.uint8).tobytes())
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    hashes = {hash_file(path)}
    for position in (10, len(data) // 2 + 10, len(data) - 10):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        hashes.add(hash_file(path))
    path.write_bytes(data + b"x")
    hashes.add(hash_file(path))
    assert len(hashes) == 5


def test_a_work_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is in the way"), WorkFolder(tmp_path / "file", keep=False):
        pass
    with pytest.raises(OutputError, match="cannot create the work folder"), WorkFolder(tmp_path / "file" / "work", keep=False):
        pass
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_display_pictures_agree_with_the_display_transform(rotation):
    """A dot's place in the turned, widened picture is where `VideoInfo.display_from_frame` puts it."""
    from fractions import Fraction
    from pathlib import Path

    from iconface_video.types import ColorTags, VideoInfo

    info = VideoInfo(
        path=Path("x"), container="", codec="", width=40, height=60, pix_fmt="yuv420p", time_base=Fraction(1, 25), average_rate=None,
        is_vfr=False, first_pts=0, duration_seconds=None, frame_count_declared=None, sample_aspect_ratio=Fraction(3, 2),
        rotation=rotation, color=ColorTags(), bit_depth=8, field_order="progressive",
    )  # fmt: skip
    picture = np.zeros((60, 40, 3), np.uint8)
    picture[19:22, 9:12] = 255  # centre at (10, 20)
    upright = to_display(picture, info.display_size, rotation, is_mirrored=False)
    assert upright.shape[1::-1] == info.display_size
    weight = upright[..., 0].astype(float)
    ys, xs = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]]
    found = np.array([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()
    expected = info.display_from_frame @ np.array([10, 20, 1])
    np.testing.assert_allclose(found, expected, atol=0.3)
