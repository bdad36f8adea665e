"""Ctrl-C: exit code 130, one sentence, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def long_clip(face_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes, so that the run is under way for long enough."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "119", "-i", str(face_clip), "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_writing(number, long_clip, tmp_path):
    command = [sys.executable, "-m", "iconface_video", "run", str(long_clip), "-o", str(tmp_path / "out.mp4")]
    command += ["--strength", "0", "--json", "--encoder-preset", "slow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("stage") == "render" and list(tmp_path.glob(".*.partial")):
                process.send_signal(number)
                break
        rest, output = process.stderr.read(), process.stdout.read() if process.stdout else ""
        code = process.wait(timeout=60)
    assert code == 130, (seen[-3:], rest)
    assert "error: stopped; nothing was written under the output's name" in rest
    assert "Traceback" not in rest
    assert output == ""
    assert list(tmp_path.iterdir()) == []
