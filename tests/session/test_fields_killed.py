"""`iconface-video run` over fields, killed (SIGKILL) in the middle of the restoring: the same command goes on to the same bytes.

`tests/session/test_killed.py` kills at random moments, over whole frames; here each `--fields` has its turn, killed at a face that is known.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from iconface_video.restore.crop_store import is_finished, read_header
from iconface_video.session.work import CROPS
from tests.pipelines.test_fields import interlaced

DIES_AFTER = "ICONFACE_DIES_AFTER"
"""As in `swapped_model`, which must not be imported here: it puts stand-ins in place of this process's networks."""
MODES = ("keep", "double", "half", "weave")
OPTIONS = (
    *("--detection-size", "256", "--min-track-seconds", "0.1", "--crop-size", "64", "--segment-seconds", "0.2", "--batch", "4"),
    *("--codec", "ffv1", "--encoder-threads", "1", "--preset", "default", "--json"),
)
SEGMENTS = 3

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


@pytest.fixture(scope="module")
def tape(astronaut_png, tmp_path_factory) -> Path:
    mpeg2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-g", "6", "-pix_fmt", "yuv420p", "-top", "1")
    return interlaced(astronaut_png, tmp_path_factory.mktemp("tape") / "top.mpg", "tff", *mpeg2, size="320:256")


def run(tape: Path, output: Path, mode: str, dies_after: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if dies_after is not None:
        environment[DIES_AFTER] = str(dies_after)
    command = [
        sys.executable,
        "-m",
        "tests.session.swapped_model",
        "run",
        str(tape),
        "-o",
        str(output),
        "--fields",
        mode,
        *OPTIONS,
    ]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def segments_kept(work: Path) -> int:
    """How many segments' faces a killed run has left whole."""
    segments = read_header(work / CROPS).segments
    assert len(segments) == SEGMENTS
    return sum(is_finished(work / CROPS, segment.index) for segment in segments)


@pytest.mark.parametrize("mode", MODES)
def test_killed_while_it_restores_it_goes_on_to_the_same_bytes(mode, tape, tmp_path):
    whole = run(tape, tmp_path / "whole.mkv", mode)
    assert whole.returncode == 0, whole.stderr
    faces = json.loads(whole.stdout)["faces_restored"]
    assert faces >= (13 if mode in ("half", "weave") else 28)
    output = tmp_path / "out.mkv"
    killed = run(tape, output, mode, dies_after=faces // 2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not output.exists()
    assert 0 < segments_kept(tmp_path / "out.mkv.iconface-work") < SEGMENTS
    resumed = run(tape, output, mode)
    assert resumed.returncode == 0, resumed.stderr
    assert output.read_bytes() == (tmp_path / "whole.mkv").read_bytes()
