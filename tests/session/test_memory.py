"""--max-memory: worked out from video and settings alone, refused before the work where nothing fits."""

from __future__ import annotations

import weakref
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import UsageError
from iconface_video.pipelines.restore import restore_video
from iconface_video.restore.face_model import run_batch
from iconface_video.session.memory import frame_bytes, parse_size, plan_memory
from iconface_video.settings import EncodeSettings, EngineSettings, RestoreSettings, RunSettings
from iconface_video.types import ColorTags, VideoInfo
from iconface_video.video.decode import prefetch
from tests.pipelines.conftest import Sharpener, face_clip, grey_embed, portrait  # noqa: F401 - fixtures


def video(width: int, height: int, pix_fmt: str = "yuv420p") -> VideoInfo:
    return VideoInfo(
        path=Path("clip.mp4"), container="", codec="", width=width, height=height, pix_fmt=pix_fmt, time_base=Fraction(1, 25),
        average_rate=None, is_vfr=False, first_pts=0, duration_seconds=None, frame_count_declared=None,
        sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8, field_order="progressive",
    )  # fmt: skip


def limited(size: str | None, batch: int = 8, codec: str = "h264") -> RunSettings:
    return RunSettings(
        engine=EngineSettings(max_memory=size), restore=RestoreSettings(batch=batch), encode=EncodeSettings(codec=codec)
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2 << 30), ("1.5g", 3 << 29), ("800 MB", 800 << 20), ("900MiB", 900 << 20), ("64k", 1 << 16), ("4096", 4096)],
)
def test_sizes_as_people_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 apples", "-1G", "2GG"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="must be a size such as 2G"):
        parse_size(text)


@pytest.mark.parametrize(
    ("pix_fmt", "share"), [("gray", 1.0), ("yuv420p", 1.5), ("yuv422p10le", 4.0), ("gbrp", 3.0), ("yuva444p", 4.0)]
)
def test_a_frame_is_as_large_as_its_samples(pix_fmt, share):
    assert frame_bytes(video(64, 48, pix_fmt)) == 64 * 48 * share


def test_less_memory_means_fewer_faces_then_shorter_queues_then_a_refusal():
    uhd = video(3840, 2160)
    free = plan_memory(limited(None), uhd)
    assert (free.decode_ahead, free.batch, free.notes) == (4, 8, ())
    assert plan_memory(limited("64G"), uhd) == free
    with pytest.raises(UsageError, match=r"too small for clip\.mp4 \(3840x2160\): it takes at least \d+M") as refused:
        plan_memory(limited("1M"), uhd)
    least = int(str(refused.value).rpartition(" ")[2].strip("M."))
    with pytest.raises(UsageError):
        plan_memory(limited(f"{least - 1}M"), uhd)
    plans = [plan_memory(limited(f"{megabytes}M"), uhd) for megabytes in range(6000, least, -50)]
    plans.append(plan_memory(limited(f"{least}M"), uhd))
    for more, less in pairwise(plans):
        assert less.batch <= more.batch
        assert less.decode_ahead <= more.decode_ahead
    assert (plans[-1].decode_ahead, plans[-1].batch) == (1, 1)
    assert "faces per model call instead of 8" in plans[-1].notes[0]
    assert plan_memory(limited(f"{least}M"), video(320, 240)).decode_ahead == 4  # small frames hardly count


def test_a_small_limit_is_refused_by_the_recipe_before_anything_is_made(face_clip, tmp_path):  # noqa: F811
    with pytest.raises(UsageError, match=r"`max_memory` 100M is too small for face\.mp4"):
        restore_video(face_clip, tmp_path / "out.mp4", settings=limited("100M"), model=Sharpener(), embed=grey_embed)
    assert list(tmp_path.iterdir()) == []


def test_the_queue_holds_no_more_than_it_says():
    class Item:
        pass

    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most = 0

    def produce():
        for _ in range(50):
            item = Item()
            alive.add(item)
            yield item

    with prefetch(produce(), 2) as items:
        for _ in items:
            most = max(most, len(alive))
    assert most <= 2 + 3  # the producer's own, the one in hand, the one before it


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


class SmallDevice(Sharpener):
    """Takes two faces at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def restore(self, crops, contexts, noise):
        self.calls.append(len(crops))
        if len(crops) > 2:
            raise OutOfMemoryError("CUDA error")
        return super().restore(crops, contexts, noise)


@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_when_the_device_runs_out_of_memory_the_batch_is_halved_until_it_fits(count):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    noise = rng.standard_normal((count, 3, 64, 64), dtype=np.float32)
    model = SmallDevice()
    restored, note = run_batch(model, crops, [None] * count, noise, 8)
    expected, _ = run_batch(Sharpener(), crops, [None] * count, noise, 8)
    np.testing.assert_array_equal(restored, expected)
    assert note is not None
    assert "memory ran out at" in note
    assert model.calls[0] == 8
    assert set(model.calls) <= {8, 4, 2}


def test_torchs_own_error_is_known_and_another_one_is_not_swallowed():
    import torch

    class Device(Sharpener):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def restore(self, crops, contexts, noise):
            if len(crops) > 1:
                raise self.error
            return super().restore(crops, contexts, noise)

    crops, noise = np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 3, 64, 64), np.float32)
    for error in (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()):
        assert len(run_batch(Device(error), crops, [None] * 2, noise, 2)[0]) == 2
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run_batch(Device(RuntimeError("CUDA error: an illegal memory access")), crops, [None] * 2, noise, 2)


def test_the_report_says_that_the_batch_was_split(face_clip, tmp_path):  # noqa: F811
    settings = replace(limited(None, batch=4), encode=EncodeSettings(preset="ultrafast"))
    report = restore_video(face_clip, tmp_path / "out.mp4", settings=settings, model=SmallDevice(), embed=grey_embed)
    assert any("memory ran out at 4 faces per model call; went on with 2" in note for note in report.notes)
