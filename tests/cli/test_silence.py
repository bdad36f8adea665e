"""Nothing is sent anywhere: no library keeps a record of its use for its maker."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, time
import numpy as np
from iconface_video.faces.detector import CenterFace
CenterFace().detect(np.zeros((96, 96, 3), np.uint8))
time.sleep(1)
links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
print([os.readlink(link) for link in links if os.path.lexists(link)])
print(sorted(name for name in os.environ if "TELEMETRY" in name or "USAGE" in name))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_telemetry(tmp_path):
    told = {"ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED"}
    environment = {name: value for name, value in os.environ.items() if name not in told} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    files, names = done.stdout.splitlines()
    assert "onnxruntime.db" not in files
    assert told <= set(eval(names))
    assert not list(tmp_path.rglob("*onnxruntime.db*"))
