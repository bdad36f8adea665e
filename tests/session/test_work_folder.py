"""The work folder: kept when something in it is worth it, never taken from somebody else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from iconface_video.errors import OutputError, notes_of
from iconface_video.lock import FolderLock, writing
from iconface_video.restore.crop_store import SegmentWriter
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.work import MARKER, WorkFolder, work_folder_of

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
    assert "`fresh`" in note
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


HOLDER = "import sys; from pathlib import Path; from iconface_video.session.work import WorkFolder\n"
HOLDER += "held = WorkFolder(Path(sys.argv[1]), keep=False); held.__enter__(); print('held', flush=True); sys.stdin.read()"


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
    from iconface_video import lock as lock_module

    first = FolderLock(tmp_path / "work")
    first.acquire()
    real = lock_module.NameLock._taken
    calls = []

    def late(lock):
        calls.append(lock)
        if len(calls) > 1:
            return real(lock)
        first.release()
        taken = real(lock)
        lock._file.unlink()
        return taken

    monkeypatch.setattr(lock_module.NameLock, "_taken", late)
    second = FolderLock(tmp_path / "work")
    second.acquire()
    assert len(calls) == 2
    monkeypatch.undo()
    with pytest.raises(OutputError, match=f"another run \\(process {os.getpid()}\\)"):
        FolderLock(tmp_path / "work").acquire()
    second.release()
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_system_without_locks_still_keeps_two_runs_apart(tmp_path, monkeypatch):
    def no_locks(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with writing(tmp_path / "out.mp4"), pytest.raises(OutputError, match="is writing this file"), writing(tmp_path / "out.mp4"):
        pytest.fail("two writers of one file")
    assert list(tmp_path.iterdir()) == []


# ---- whose folder it is


@pytest.mark.parametrize("name", ["crops", "survey", "anchors"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_users_folder_is_refused_before_anything_is_put_into_it(name, fresh, tmp_path):
    """Although its folders are named as those of a work folder."""
    mine = tmp_path / "mine"
    (mine / name).mkdir(parents=True)
    (mine / name / "a.jpg").write_text("x")
    with (
        pytest.raises(OutputError, match=rf"mine: is in the way: .*it holds {name}, and no {MARKER}"),
        WorkFolder(mine, False, fresh),
    ):
        pytest.fail("taken")
    assert [path.relative_to(mine).as_posix() for path in sorted(mine.rglob("*"))] == [name, f"{name}/a.jpg"]


@pytest.mark.parametrize("content", ["", "{}", '{"program": "another", "format": 2}', "[" * 100_000])
def test_a_folder_with_a_damaged_marker_is_refused(content, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / MARKER).write_text(content)
    with pytest.raises(OutputError, match=r"its marker .* is damaged"), WorkFolder(mine, keep=False, fresh=True):
        pytest.fail("taken")
    assert (mine / MARKER).read_text() == content


def test_a_users_empty_folder_is_used_and_stays(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for keep in (False, True, True):
        with WorkFolder(mine, keep) as folder:
            fill(folder, 0)
        assert mine.is_dir()
        assert keep == any(mine.iterdir())
    with WorkFolder(mine, keep=False, fresh=True) as folder:
        fill(folder, 0)
    assert list(mine.iterdir()) == []


def test_what_the_user_put_into_a_work_folder_stays(tmp_path):
    work = tmp_path / "work"
    with WorkFolder(work, keep=True) as folder:
        fill(folder, 0)
    for name in ("notes.txt", "crops/a.jpg", "crops/segment-notes.txt", "survey/mine.json"):
        (work / name).write_text("mine")
    with WorkFolder(work, keep=True) as folder:
        folder.begin_segments({"seed": 2})
        assert folder.files_of("survey") == []
    with WorkFolder(work, keep=False, fresh=True) as folder:
        fill(folder, 1)
    left = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
    assert left == ["crops/a.jpg", "crops/segment-notes.txt", "notes.txt", "survey/mine.json"]


def test_the_work_of_an_earlier_release_is_refused_in_words_and_goes_only_when_asked(tmp_path):
    work = tmp_path / "out.mp4.iconface-work"
    (work / "crops").mkdir(parents=True)
    (work / "crops" / "segment-00000.crops").write_bytes(b"faces")
    line = b'{"journal": 1}'
    (work / "journal.jsonl").write_bytes(b"%08x %s\n" % (zlib.crc32(line), line))
    (work / "lock").write_text("123\n")
    with pytest.raises(OutputError, match=r"an earlier release .*`fresh`"), WorkFolder(work, keep=False):
        pytest.fail("taken")
    assert (work / "crops" / "segment-00000.crops").read_bytes() == b"faces"
    with WorkFolder(work, keep=False, fresh=True):
        pass
    assert list(tmp_path.iterdir()) == []


# ---- kept is kept


@pytest.mark.parametrize("position", [0, 1, 2, 3, -1])
def test_a_kept_folder_stays_whatever_happened_to_its_journal(position, tmp_path):
    """One line after another is damaged: only what it told is made again."""
    work = tmp_path / "work"
    with WorkFolder(work, keep=True) as folder:
        fill(folder, 0, 1)
    journal = work / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[position] = lines[position][:20] + b"?" + lines[position][21:]
    journal.write_bytes(b"".join(lines))
    with WorkFolder(work, keep=False) as folder:
        assert list(folder.begin_segments(PARTS)) == {2: [1], 3: [0]}.get(position, [0, 1])
        assert "is damaged (1 of 5 lines)" in folder.journal.take_notes()[0]
        fill(folder, *{2: [0], 3: [1]}.get(position, []))
    with WorkFolder(work, keep=False) as folder:
        assert sorted(folder.begin_segments(PARTS)) == [0, 1]
        assert folder.journal.take_notes() == []
    assert work.is_dir()


def test_a_kept_folder_stays_without_its_journal_and_through_a_failure(tmp_path):
    work = tmp_path / "work"
    with WorkFolder(work, keep=True) as folder:
        fill(folder, 0)
    (work / "journal.jsonl").unlink()
    with pytest.raises(KeyError), WorkFolder(work, keep=False):
        raise KeyError
    assert (work / "crops" / "segment-00000.crops").is_file()
    with WorkFolder(work, keep=False) as folder:
        fill(folder, 0)
    assert (work / "crops" / "segment-00000.crops").is_file()
