"""Several processes on one machine: the same faces as one process makes, whatever happens to the workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from iconface_video.errors import Cancelled, OutputError, StoreError, UsageError, WorkerError
from iconface_video.session.engines import processes
from iconface_video.session.engines.job import RestoreJob, SegmentWorker, WorkerSetup
from iconface_video.session.engines.processes import WorkersEngine
from tests.session.engine_parts import (
    SEGMENTS,
    SETTINGS,
    clumsy_model,
    crops_of,
    fatal_model,
    files_of,
    find,
    slow,
    stand_in,
    without,
)


class Log:
    """Callbacks of a run."""

    def __init__(self) -> None:
        self.segments: list[int] = []
        self.events: list = []

    def on_segment(self, done) -> None:
        self.segments.append(done.index)

    def report(self, event) -> None:
        self.events.append(event)


def go(engine, work, check=lambda: None):
    log = Log()
    try:
        counts = engine.restore(work, log.on_segment, log.report, check)
    finally:
        engine.close()
    return counts, log


def workers(devices, load, settings=SETTINGS) -> WorkersEngine:
    return WorkersEngine(WorkerSetup(settings, load=load), devices)


def no_child_is_left() -> bool:
    return not multiprocessing.active_children()


def test_two_workers_make_what_one_process_makes(found, made_locally, crops):
    _, expected, locally = made_locally
    work = found.work(crops)
    engine = workers(["cpu", "cpu"], load=slow(0.05))
    assert engine.model.crop_sizes == (64,)
    assert engine.model.noise_shape(64) == (3, 64, 64)
    counts, log = go(engine, work)
    assert crops_of(work) == locally
    assert (counts.frames, counts.restored, counts.repeated) == (expected.frames, expected.restored, expected.repeated)
    assert counts.notes == set()
    assert sorted(log.segments) == list(range(SEGMENTS))
    done = [event.done for event in log.events]
    assert done == sorted(done)
    assert (done[0], done[-1], log.events[-1].total) == (0, len(locally), len(locally))
    assert len(set(done)) > SEGMENTS  # also within segments
    assert no_child_is_left()


def test_only_the_segments_asked_for_are_made(found, made_locally, crops):
    work = without(found.work(crops), 0, 3, 4)
    go(workers(["cpu"], load=stand_in), work)
    assert files_of(work) == sorted(f"segment-{n:05d}.{kind}" for n in (1, 2, 5, 6, 7) for kind in ("crops", "npz"))
    assert crops_of(work) == [crop for crop in made_locally[2] if crop[0] in (1, 2, 5, 6, 7)]


def test_a_killed_worker_is_replaced_and_its_segment_made_again(found, made_locally, crops, tmp_path):
    work = found.work(crops)
    engine = workers(["cpu", "cpu"], load=partial(stand_in, marker=tmp_path / "killed"))
    counts, log = go(engine, work)
    assert crops_of(work) == made_locally[2]
    assert sorted(log.segments) == list(range(SEGMENTS))
    (note,) = counts.notes
    assert "killed by SIGKILL" in note
    assert "retry 1" in note
    assert note in {event.message for event in log.events}
    assert not [name for name in files_of(work) if name.endswith(".part")]


def test_a_worker_that_is_killed_from_outside(found, made_locally, crops):
    work = found.work(crops)
    engine = workers(["cpu", "cpu"], load=slow(0.1))
    killed: list[int] = []

    def check() -> None:
        children = multiprocessing.active_children()
        if not killed and len(list(crops.glob("*.npz"))) >= 2 and children:
            killed.append(children[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    counts, _ = go(engine, work, check)
    assert killed
    assert crops_of(work) == made_locally[2]
    assert len(counts.notes) <= 1


def test_an_error_of_the_device_is_tried_elsewhere(found, made_locally, crops, tmp_path):
    work = found.work(crops)
    counts, _ = go(workers(["cpu", "cpu"], load=partial(clumsy_model, marker=tmp_path / "failed")), work)
    assert crops_of(work) == made_locally[2]
    (note,) = counts.notes
    assert "CUDA error: unspecified launch failure" in note


def test_a_segment_that_always_kills_its_worker_is_given_up_after_two_retries(tmp_path, crops):
    found = find(tmp_path, fatal=True)
    work = found.work(crops)
    with pytest.raises(WorkerError, match=r"clip\.mp4: segment 3 \(1\.5 to 1\.9 s of the video\) .* died 3 times") as caught:
        go(workers(["cpu", "cpu"], load=fatal_model), work)
    assert str(caught.value).count("killed by SIGKILL") == 3
    assert "segment-00003.npz" not in files_of(work)
    assert no_child_is_left()


def test_workers_that_cannot_even_start_end_the_run(found, crops):
    engine = workers(["cpu"], load=partial(stand_in, nonsense=1))
    try:
        with pytest.raises(WorkerError, match=r"no worker left .*died 3 times .*nonsense"):
            engine.model  # noqa: B018
    finally:
        engine.close()


def test_what_a_worker_refuses_is_refused(found, crops):
    engine = workers(["cpu"], load=stand_in, settings=replace(SETTINGS, crop_size=72))
    try:
        with pytest.raises(UsageError, match="crops of 72 px are not taken"):
            engine.model  # noqa: B018
    finally:
        engine.close()


def test_a_worker_that_reads_another_file_says_so(found, crops, tmp_path):
    """As where the same path leads to different files on two machines."""
    job = RestoreJob.of(found.work(crops))
    worker = SegmentWorker(WorkerSetup(SETTINGS, load=stand_in))
    worker.load()
    assert worker.restore("first", lambda: job, 0, lambda faces: None).restored == 5
    other = found.clip.with_name("other.mp4")
    other.write_bytes(found.clip.read_bytes() + b"0")
    with pytest.raises(StoreError, match=r"other\.mp4: the worker reads another video"):
        worker.restore("second", lambda: replace(job, input=other), 0, lambda faces: None)


def test_stopping_ends_all_workers_at_once(found, crops):
    work = found.work(crops)
    engine = workers(["cpu", "cpu"], load=slow(0.3))
    assert engine.model
    begun: list[float] = []

    def check() -> None:
        if list(crops.glob("*.part")):
            begun.append(time.monotonic())
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        go(engine, work, check)
    assert time.monotonic() - begun[0] < 3
    assert no_child_is_left()


def test_the_workers_stay_for_the_next_clip_also_after_a_bad_one(found, made_locally, tmp_path):
    engine = workers(["cpu", "cpu"], load=stand_in)
    bad = found.work(tmp_path / "bad")
    (tmp_path / "bad" / "segment-00002.crops.part").mkdir()  # cannot be written
    try:
        with pytest.raises(OutputError, match="cannot write the crop store"):
            engine.restore(bad, lambda done: None, lambda event: None, lambda: None)
        for name in ("first", "second"):
            work = found.work(tmp_path / name)
            engine.restore(work, lambda done: None, lambda event: None, lambda: None)
            assert crops_of(work) == made_locally[2]
    finally:
        engine.close()


_PARENT = """
import multiprocessing, sys
from pathlib import Path
from tests.session.engine_parts import find, slow
from tests.session.test_workers import workers

work = find(Path(sys.argv[1])).work(Path(sys.argv[1], "crops"))
engine = workers(["cpu", "cpu"], load=slow(60))

def check():
    if all(worker.segment is not None for worker in engine.workers):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)

try:
    engine.restore(work, lambda done: None, lambda event: None, check)
finally:
    engine.close()
"""


def is_running(pid: int) -> bool:
    """Zombies, which nobody may have asked about yet, are not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_run_that_is_interrupted_or_killed(how, tmp_path):
    """In the midst of a face that takes a minute. Ctrl-C in a terminal reaches the workers, too."""
    command = [sys.executable, "-c", _PARENT, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        pids = next(
            found for line in parent.stdout if len(found := [int(word) for word in line.split() if word.isdigit()]) == 2
        )
        assert all(is_running(pid) for pid in pids)
        os.killpg(parent.pid, how) if how == signal.SIGINT else parent.kill()
        assert parent.wait(timeout=30) != 0
    until = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in pids if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_an_exit_code_that_another_thread_took_is_waited_for():
    class Slow:
        """As multiprocessing's processes, between `waitpid` in another thread and its note of what came."""

        def __init__(self) -> None:
            self.asked = 0

        def join(self) -> None:
            pass

        @property
        def exitcode(self) -> int | None:
            self.asked += 1
            return -9 if self.asked > 3 else None

    assert processes._exit_code(Slow()) == -9
