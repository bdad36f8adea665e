"""`iconface-video run`, killed (SIGKILL) at random moments: the same command goes on, and the file is the undisturbed one.

Three moments in the usual run, with a stand-in for the model, whose loading takes longer than all the rest;
``make kill-test`` kills at twenty (ICONFACE_KILLS), with the real model where ICONFACE_KILL_MODEL=1 is set, too.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

KILLS = int(os.environ.get("ICONFACE_KILLS", "3"))
SEED = int(os.environ.get("ICONFACE_KILL_SEED", "20"))
PROGRAM = "iconface_video" if os.environ.get("ICONFACE_KILL_MODEL") else "tests.session.swapped_model"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


@dataclass(frozen=True)
class Ended:
    """How one process ended."""

    code: int
    said: str
    """stderr"""
    seconds: float
    """From its first word to its end: loading programs is not counted."""
    stages: tuple[str, ...]
    """With progress, in order."""


def start(clip: Path, output: Path, kill_after: float | None = None) -> Ended:
    """Run the command; kill it so many seconds after its first word."""
    command = [sys.executable, "-m", PROGRAM, "run", str(clip), "-o", str(output), "--json"]
    command += ["--detection-size", "256", "--segment-seconds", "0.4", "--crop-size", "128", "--encoder-preset", "superfast"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        begun = time.monotonic()
        timer = threading.Timer(3600 if kill_after is None else kill_after, process.kill)
        timer.start()
        lines += process.stderr.readlines()
        code = process.wait()
        timer.cancel()
        seconds = time.monotonic() - begun
    stages = [
        line.partition('"stage": "')[2].partition('"')[0] for line in lines if '"stage": "' in line and '"done": 0' not in line
    ]
    return Ended(code, "".join(lines), seconds, tuple(dict.fromkeys(stages)))


@dataclass(frozen=True)
class Undisturbed:
    content: bytes
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(face_clip, tmp_path_factory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = start(face_clip, folder / "out.mp4")
    assert ended.code == 0, ended.said
    assert ended.stages == ("survey", "anchors", "restore", "render")
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    return Undisturbed((folder / "out.mp4").read_bytes(), ended.seconds)


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment_and_started_again(number, undisturbed, face_clip, tmp_path):
    chance = random.Random(SEED + number)
    output = tmp_path / "out.mp4"
    killed = []
    for attempt in range(10):
        # Every moment of the run has its turn; then, half of the times, the restarted one is killed as well.
        moment = undisturbed.seconds * ((number + chance.random()) / KILLS if attempt == 0 else chance.random())
        ended = start(face_clip, output, moment if attempt == 0 or chance.random() < 0.5 else None)
        if ended.code == 0:
            break
        assert ended.code == -9, ended.said
        killed.append((round(ended.seconds, 2), ended.stages))
        # It may have been killed between the renaming and its end: then the output is whole.
        assert not output.exists() or output.read_bytes() == undisturbed.content, killed
        if [path.name for path in tmp_path.iterdir()] == ["out.mp4"]:
            break  # killed when all was done and tidied up
    else:
        pytest.fail(f"never came to its end: {killed}")
    print(f"killed {killed}, then {ended.stages}")
    assert output.read_bytes() == undisturbed.content, killed
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"], killed
