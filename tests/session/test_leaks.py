"""Whatever way a run ends, it leaves no thread, no file handle and no temporary file behind. (Memory over a long clip:
``python -m tests.session.leak_check``.)
"""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

from iconface_video.errors import Cancelled
from iconface_video.pipelines.restore import restore_video
from iconface_video.restore import timeline
from iconface_video.restore.crop_store import SegmentWriter
from iconface_video.session.engines.engine import LocalEngine
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from tests.pipelines.conftest import Sharpener, face_clip, grey_embed, portrait  # noqa: F401 - fixtures
from tests.session import engine_parts
from tests.session.leak_check import Sample, judge

SETTINGS = RunSettings(
    survey=SurveySettings(detection_size=160),
    restore=RestoreSettings(crop_size=64, segment_seconds=0.5),
    encode=EncodeSettings(preset="ultrafast"),
)


def held() -> tuple[list[str], list[str]]:
    """Open files and threads of this process."""
    gc.collect()
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    files = sorted(os.readlink(link) for link in links if os.path.lexists(link))
    # PyAV keeps the (deleted) file of a container whose header was never written; closing it by force brings FFmpeg down.
    kept = [name for name in files if "/proc/" not in name and not name.endswith(".partial (deleted)")]
    return kept, sorted(thread.name for thread in threading.enumerate())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_nothing_is_left_open(face_clip, tmp_path):  # noqa: F811
    def run(stop_in: str | None) -> None:
        reached: list[str] = []
        restore_video(
            face_clip, tmp_path / "out.mp4", settings=SETTINGS, model=Sharpener(), embed=grey_embed, force=True, fresh=True,
            on_progress=lambda event: reached.append(event.stage), should_stop=lambda: stop_in in reached,
        )  # fmt: skip

    run(None)  # libraries open what they keep
    before = held()
    run(None)
    assert held() == before
    for stage in ("survey", "restore", "render"):
        with pytest.raises(Cancelled):
            run(stage)
        now = held()
        assert now == before, (stage, set(now[0]) ^ set(before[0]), set(now[1]) ^ set(before[1]))


def test_the_long_check_sees_what_grows():
    def passes(growth: float, files: int) -> dict[str, list[Sample]]:
        return {
            "render": [Sample(k / 100, round(1e8 * (1 + growth * k / 100)), 9 + files * k // 100, 4) for k in range(1, 101)]
        }

    assert judge(passes(0.01, 0), 10)[0].startswith("flat render: memory 96 -> 96 MiB")
    assert judge(passes(0.10, 0), 10)[0].startswith("GREW")
    assert judge(passes(0.0, 3), 10)[0].startswith("GREW")


def test_finished_segments_are_forgotten_while_the_next_are_made(found, tmp_path, monkeypatch):
    alive: weakref.WeakSet[SegmentWriter] = weakref.WeakSet()

    class Noted(SegmentWriter):
        def __init__(self, folder, index):
            super().__init__(folder, index)
            alive.add(self)

    monkeypatch.setattr(timeline, "SegmentWriter", Noted)
    counted = []
    work = found.work(tmp_path)
    LocalEngine(engine_parts.stand_in(engine_parts.SETTINGS)).restore(
        work, lambda done: counted.append(len(alive)), lambda event: None, lambda: None
    )
    assert len(counted) == engine_parts.SEGMENTS
    assert max(counted) <= 3  # two at work where a handle reaches back, and one under the hands
