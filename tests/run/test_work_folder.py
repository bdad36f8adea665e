"""The work folder: kept when something in it is worth it, never taken from somebody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from iconface_video.errors import OutputError, notes_of
from iconface_video.restore.crop_store import SegmentWriter
from iconface_video.restore.timeline import SegmentDone
from iconface_video.run.lock import FolderLock
from iconface_video.run.work import WorkFolder, work_folder_of

PARTS = {"seed": 1}


def fill(folder: WorkFolder, *indices: int) -> None:
    folder.begin_segments(PARTS)
    for index in indices:
        with SegmentWriter(folder.crops, index) as writer:
            writer.finish()
        folder.finish_segment(SegmentDone(index, 3, 2, 1, ("a note",)))


def test_after_success_it_goes_unless_it_is_kept(tmp_path):
    path = work_folder_of(tmp_path / "out.mp4")
    assert path == tmp_path / "out.mp4.iconface-work"
    with WorkFolder(path, keep=False) as folder:
        fill(folder, 0)
    assert list(tmp_path.iterdir()) == []
    with WorkFolder(path, keep=True) as folder:
        fill(folder, 0)
    with WorkFolder(path, keep=False) as folder:  # kept on purpose once: not thrown away unasked
        assert folder.begin_segments(PARTS) == {0: SegmentDone(0, 3, 2, 1, ("a note",))}
    assert path.is_dir()
    with WorkFolder(path, keep=False, fresh=True) as folder:
        assert folder.begin_segments(PARTS) == {}
    assert not path.exists()


def stop_in_mid_work(path: Path) -> None:
    with WorkFolder(path, keep=False) as folder:
        fill(folder, 4)
        (folder.crops / "segment-00005.crops.part").write_bytes(b"torn")
        raise KeyboardInterrupt


def test_after_a_failure_it_stays_if_anything_was_done(tmp_path):
    with pytest.raises(KeyError) as caught, WorkFolder(tmp_path / "work", keep=False):
        raise KeyError("before anything was done")
    assert notes_of(caught.value) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt) as stopped:
        stop_in_mid_work(tmp_path / "work")
    (note,) = notes_of(stopped.value)
    assert str(tmp_path / "work") in note
    assert "--fresh" in note
    with WorkFolder(tmp_path / "work", keep=False) as folder:
        assert list(folder.begin_segments(PARTS)) == [4]
        assert sorted(path.name for path in folder.crops.iterdir()) == ["segment-00004.crops", "segment-00004.npz"]
    assert list(tmp_path.iterdir()) == []


def test_what_belongs_to_no_noted_segment_is_removed(tmp_path):
    with WorkFolder(tmp_path / "work", keep=True) as folder:
        fill(folder, 0, 1)
    (tmp_path / "work" / "crops" / "segment-00001.npz").write_bytes(b"damaged")
    (tmp_path / "work" / "crops" / "segment-00009.crops").write_bytes(b"never noted")
    with WorkFolder(tmp_path / "work", keep=True) as folder:
        assert list(folder.begin_segments(PARTS)) == [0]
        assert sorted(path.name for path in folder.crops.iterdir()) == ["segment-00000.crops", "segment-00000.npz"]


HOLDER = "import sys; from pathlib import Path; from iconface_video.run.lock import FolderLock\n"
HOLDER += "FolderLock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"


def test_two_runs_never_share_a_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    path = tmp_path / "work"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=rf"another run \(process {holder.pid}\) is at work"),
            WorkFolder(path, keep=False),
        ):
            pytest.fail("entered a folder that is in use")
        assert path.is_dir()
        holder.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        holder.wait()
    with WorkFolder(path, keep=False), pytest.raises(OutputError, match=f"process {os.getpid()}"):
        WorkFolder(path, keep=False).__enter__()
    assert not path.exists()


def test_a_lock_on_a_folder_that_was_just_removed_is_not_believed(tmp_path, monkeypatch):
    """Between opening the lock file and locking it, its holder ends and removes the folder."""
    from iconface_video.run import lock as lock_module

    first = FolderLock(tmp_path / "work")
    first.acquire()
    real = lock_module._try_lock
    calls = []

    def late(descriptor):
        if not calls:
            first.release(remove=True)
        calls.append(descriptor)
        return real(descriptor)

    monkeypatch.setattr(lock_module, "_try_lock", late)
    second = FolderLock(tmp_path / "work")
    second.acquire()
    assert len(calls) == 2
    monkeypatch.undo()
    with pytest.raises(OutputError, match="another run"):
        FolderLock(tmp_path / "work").acquire()
    second.release()
