"""Two writers of one output at once: the file that stands is whole, and whoever comes second is told who has it.

Two pairs of processes in the usual run, with a stand-in for the model; ``make writers-test`` starts twenty (ICONFACE_WRITERS).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iconface_video.errors import OutputError
from iconface_video.files import aside, left_aside, write_whole
from iconface_video.identity.grouping import ReferenceChoice
from iconface_video.lock import working_in, writing
from iconface_video.pipelines.batch import BatchOptions, restore_batch
from iconface_video.pipelines.compare import CompareRequest, compare_videos
from iconface_video.pipelines.people import find_people
from iconface_video.pipelines.render import render_store
from iconface_video.settings import EncodeSettings, RunSettings
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter
from tests.conftest import ffmpeg

PAIRS = int(os.environ.get("ICONFACE_WRITERS", "2"))
SEED = int(os.environ.get("ICONFACE_WRITERS_SEED", "7"))
BUSY = "is writing this file. Wait for it or stop it, or name another output."


def command(*words: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "tests.session.swapped_model", *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def run_words(clip: Path, output: Path, work: Path) -> list[str | Path]:
    options = ["--detection-size", "256", "--segment-seconds", "0.4", "--crop-size", "128", "--encoder-preset", "superfast"]
    return ["run", clip, "-o", output, "--work", work, "--json", "--force", *options]


def frames_of(path: Path) -> str:
    """Hash of each decoded frame and of the sound; fails where the file is damaged."""
    return hashlib.sha256(ffmpeg("-xerror", "-i", path, "-map", "0", "-f", "framehash", "-")).hexdigest()


@pytest.fixture(scope="module")
def alone(face_clip, tmp_path_factory) -> Path:
    """The folder of an undisturbed run: out.mp4, and kept, from which half.mp4 was made with half the strength."""
    folder = tmp_path_factory.mktemp("alone")
    for words in (
        [*run_words(face_clip, folder / "out.mp4", folder / "kept"), "--keep-work"],
        ["render", folder / "kept", "-o", folder / "half.mp4", "--strength", "0.5"],
        ["render", folder / "kept", "-o", folder / "full.mp4"],
    ):
        process = command(*words)
        _, said = process.communicate()
        assert process.returncode == 0, said
    return folder


@pytest.mark.parametrize("number", range(PAIRS))
def test_a_pair_at_once(number, alone, face_clip, tmp_path):
    """By turns two runs with a work folder each, and two `render` from one kept folder, with different settings."""
    chance, output = random.Random(SEED + number), tmp_path / "out.mp4"
    if number % 2 == 0:
        lines = [run_words(face_clip, output, tmp_path / name) for name in ("work-a", "work-b")]
        expected = [frames_of(alone / "out.mp4")] * 2
    else:
        render = ["render", alone / "kept", "-o", output, "--force"]
        lines = [render, [*render, "--strength", "0.5"]]
        expected = [frames_of(alone / "full.mp4"), frames_of(alone / "half.mp4")]
    first = command(*lines[0])
    time.sleep(chance.random() * 1.0)
    second = command(*lines[1])
    ended = [process.communicate()[1] for process in (first, second)]
    codes = [first.returncode, second.returncode]
    assert sorted(codes) in ([0, 0], [0, 2]), ended  # [0, 0]: one after the other
    for code, said, other in zip(codes, ended, (second, first)):
        assert code == 0 or f"another run (process {other.pid}) {BUSY}" in said, said
    assert frames_of(output) in [known for known, code in zip(expected, codes) if code == 0]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


# ---- one by one, in this process


def write(clip: Path, output: Path, frames: range, force: bool = False) -> VideoWriter:
    """A writer that has written some frames and is not finished."""
    settings = EncodeSettings(codec="ffv1")
    with VideoReader(clip) as reader:
        writer = VideoWriter(plan_output(reader.info, output, settings, force=force), reader.info, settings)
        for index, frame in enumerate(reader.frames()):
            if index in frames:
                writer.write(frame)
    return writer


def test_writers_without_a_lock_do_not_share_a_temporary_file(face_clip, tmp_path):
    """As on a file system that knows no locks: the last one's file stands, whole."""
    output = tmp_path / "out.mkv"
    writers = [write(face_clip, output, range(count), force=True) for count in (20, 10)]
    for writer, count in zip(writers, (20, 10)):
        writer.__exit__(None, None, None)
        with VideoReader(output) as reader:
            assert sum(1 for _ in reader.frames()) == count
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_a_file_that_turned_up_meanwhile_is_not_replaced(face_clip, tmp_path):
    output = tmp_path / "out.mkv"
    writer = write(face_clip, output, range(5))
    output.write_text("my holiday")
    with pytest.raises(OutputError, match=r"out\.mkv: somebody put a file there while this one was being made"):
        writer.__exit__(None, None, None)
    assert output.read_text() == "my holiday"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_what_a_killed_writer_left_goes_and_nothing_else(tmp_path):
    output = tmp_path / "out.mp4"
    others = [".out.mp4.partial", ".other.mp4.0123abcd.partial", ".out.mp4.notes.partial", ".out.mp4.lock", "out.mp4"]
    for name in (*others, ".out.mp4.0123abcd.partial", ".out.mp4.iconface-lock"):
        (tmp_path / name).write_text("")
    with writing(output), pytest.raises(OutputError, match=rf"another run \(process {os.getpid()}\) {BUSY}"), writing(output):
        pytest.fail("two at once")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_temporary_names_are_nobody_elses_and_never_too_long(tmp_path):
    for name in ("a.json", "ä" * 120 + ".json", "x" * 255):
        path = tmp_path / name
        write_whole(path, lambda file: file.write(b"whole"))
        assert path.read_bytes() == b"whole"
        assert aside(path) != aside(path)
        aside(path).write_text("")
        assert len(left_aside(path)) == (name == "a.json")  # of a name cut short nobody knows whose it is


@pytest.fixture
def held(face_clip, tmp_path):
    return Path(shutil.copy(face_clip, tmp_path / "tape.mp4"))


def test_every_command_that_writes_sees_the_lock(held, alone, tmp_path):
    encode, out = EncodeSettings(preset="superfast"), tmp_path / "out"
    out.mkdir()
    with writing(tmp_path / "out.mp4"), pytest.raises(OutputError, match=BUSY):
        render_store(alone / "kept", tmp_path / "out.mp4", input=held, encode=encode)
    with writing(tmp_path / "out.mp4"), pytest.raises(OutputError, match=BUSY):
        compare_videos(CompareRequest(held, held), tmp_path / "out.mp4", encode=encode)
    with writing(tmp_path / "page.html"), pytest.raises(OutputError, match=BUSY):
        compare_videos(CompareRequest(held, held), page=tmp_path / "page.html")
    with working_in(out), pytest.raises(OutputError, match="is at work in this folder"):
        compare_videos(CompareRequest(held, held), page=out, force=True)
    with working_in(out), pytest.raises(OutputError, match="is at work in this folder"):
        restore_batch([str(held)], out, BatchOptions(RunSettings(), ReferenceChoice()))
    with working_in(out), pytest.raises(OutputError, match="is at work in this folder"):
        find_people(held, out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "tape.mp4"]
