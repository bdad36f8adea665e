"""A disk that fills up: before the work and in the middle of it. A clear sentence, exit code 1, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from iconface_video import files as durable
from iconface_video.errors import EncodeError, OutputError, StoreError
from iconface_video.restore.crop_store import SegmentWriter, StoredCrop, is_finished
from iconface_video.session import memory as space
from iconface_video.session.memory import Need, check_space
from iconface_video.settings import EncodeSettings
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter
from tests.pipelines.conftest import face_clip, portrait  # noqa: F401 - fixtures

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def noise_crop(pts: int, size: int = 128) -> StoredCrop:
    image = np.random.default_rng(pts).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return StoredCrop(pts, 0, np.eye(3)[:2], 1.0, 1.0, image)


def write_crops(folder: Path, count: int) -> None:
    with SegmentWriter(folder, 0) as writer:
        for pts in range(count):
            writer.add(noise_crop(pts))
        writer.finish()


def copy_to_full(clip: Path, output: Path) -> None:
    """Write all frames, onto a disk that takes nothing."""
    with VideoReader(clip) as reader:
        settings = EncodeSettings(preset="ultrafast", encoder_threads=1)
        plan = plan_output(reader.info, output, settings, force=False)
        plan.partial_path.symlink_to(FULL)
        with VideoWriter(plan, reader.info, settings) as writer:
            for frame in reader.frames():
                writer.write(frame)


@needs_full
@pytest.mark.parametrize("crops", [1, 20])
@pytest.mark.parametrize("part", ["segment-00000.crops.part", ".segment-00000.npz.0000.part"])
def test_full_in_the_crop_store(part, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "new_token", lambda: "0000")
    (tmp_path / part).symlink_to(FULL)
    with pytest.raises(StoreError, match=r"segment-00000\.crops: cannot go on writing .*No space left.*Free some") as caught:
        write_crops(tmp_path, crops)
    assert caught.value.exit_code == 1
    assert not is_finished(tmp_path, 0)
    assert list(tmp_path.iterdir()) == ([] if "crops" in part else [tmp_path / "segment-00000.crops"])


@needs_full
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_full_in_the_output(name, face_clip, tmp_path):  # noqa: F811
    with pytest.raises(EncodeError, match=rf"{name}: writing failed after \d+ frames \(.*[Nn]o space left") as caught:
        copy_to_full(face_clip, tmp_path / name)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, runpy, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
runpy.run_module("tests.session.swapped_model", run_name="__main__")
"""


def run_limited(clip: Path, output: Path, limit: int, *options: str) -> subprocess.CompletedProcess[str]:
    """The command with a limit on the size of each file it writes."""
    command = [sys.executable, "-c", LIMITED, str(limit), "run", str(clip), "-o", str(output), "--detection-size", "256"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_the_whole_command_goes_on_when_there_is_room_again(face_clip, tmp_path):  # noqa: F811
    output, work = tmp_path / "out.mkv", tmp_path / "out.mkv.iconface-work"
    options = ("--codec", "ffv1", "--segment-seconds", "0.5", "--crop-size", "64", "--max-references", "0")
    no_room = run_limited(face_clip, output, 300_000, *options)  # enough for a segment, not for the output
    assert no_room.returncode == 1, no_room.stderr
    assert "error: " in no_room.stderr
    assert f"{output}: writing failed after" in no_room.stderr
    assert f"kept in {work}: the same command goes on from there" in no_room.stderr
    assert "Traceback" not in no_room.stderr
    assert list(tmp_path.iterdir()) == [work]
    assert len(list((work / "crops").glob("*.npz"))) == 4
    room = run_limited(face_clip, output, 1 << 30, *options)
    assert room.returncode == 0, room.stderr
    assert "going on from an earlier run: 4 of 4 segments" in room.stderr
    assert list(tmp_path.iterdir()) == [output]


def test_what_is_needed_on_one_disk_is_added_up_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 10**9, 10**9)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: usage)
    crops = Need(tmp_path / "work" / "crops", 6 * 10**8, "the restored faces while working", "`work`")
    output = Need(tmp_path / "out.mp4", 5 * 10**8, "the output", "`output`")
    check_space([crops])
    check_space([output])
    with pytest.raises(OutputError) as caught:
        check_space([crops, output])
    assert str(caught.value) == (
        f"{tmp_path / 'work' / 'crops'}: about 0.6 GB for the restored faces while working and 0.5 GB for the output are needed, "
        "and 67 MB to spare, but only 1.0 GB are free there. Free some space, or choose another place with `work` or `output`."
    )


def test_what_is_wanted_of_a_full_disk_is_more_than_what_it_has(tmp_path, monkeypatch):
    """The room that is left over counts, too: "0 MB are needed, but only 21 MB are free" explains nothing."""
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 21 * 10**6, 21 * 10**6)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        OutputError, match=r"about 0\.3 MB for the output are needed, and 67 MB to spare, but only 21 MB are free"
    ):
        check_space([Need(tmp_path / "out.mp4", 300_000, "the output", "`output`")])
