"""`iconface-video run --personalize on`, killed (SIGKILL) while a person is learnt, and just after: the same command goes on, and
the file is the undisturbed one; two workers make the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


def run(clip: Path, photo: Path, output: Path, *more: str, die: str = "") -> int:
    command = [sys.executable, "-m", "tests.personalize.quick_program", "run", clip, "-o", output, "--reference", photo, "-q"]
    command += [
        "--personalize",
        "on",
        "--end",
        "0.3",
        "--crop-size",
        "128",
        "--detection-size",
        "256",
        "--min-track-seconds",
        "0.1",
    ]
    command += more
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ICONFACE_DIE": die}
    return subprocess.run([str(word) for word in command], env=environment, check=False).returncode


def test_killed_while_learning_and_again_when_it_was_learnt(face_clip, other_photo, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = tmp_path / "whole" / "out.mp4", tmp_path / "killed" / "out.mp4"
    people = tmp_path / "killed" / "out.mp4.iconface-work" / "people"
    assert run(face_clip, other_photo, whole) == 0
    assert run(face_clip, other_photo, killed, die="1") == -9
    assert not list(people.iterdir())
    assert run(face_clip, other_photo, killed, die="learnt") == -9
    assert len(list(people.iterdir())) == 1
    assert run(face_clip, other_photo, killed) == 0
    assert killed.read_bytes() == whole.read_bytes()
    assert [path.name for path in killed.parent.iterdir()] == ["out.mp4"]
    (tmp_path / "shared").mkdir()
    shared = tmp_path / "shared" / "out.mp4"
    assert run(face_clip, other_photo, shared, "--workers", "2", "--threads", "1") == 0
    assert shared.read_bytes() == whole.read_bytes()
