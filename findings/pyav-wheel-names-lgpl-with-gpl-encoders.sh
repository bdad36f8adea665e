#!/usr/bin/env bash
# Found with: PyAV 18.1.0 from PyPI (manylinux x86-64 wheel, FFmpeg 8's libavcodec 62.28.102).
# Expected: FFmpeg built with libx264 and libx265 reports "GPL version 2 or later", since its own configure script lets these two in
#           only together with --enable-gpl.
# Seen:     the wheel's libavcodec answers "LGPL version 3 or later", its two encoders work, and the wheel carries both libraries. Who asks
#           FFmpeg (or reads the package's licence field: BSD-3-Clause) for the licence of what he passes on is told less than what is inside.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'av==18.1.0'
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes
import importlib.metadata
from pathlib import Path

import av

carried = sorted(Path(av.__file__).parents[1].joinpath("av.libs").iterdir())
avcodec = ctypes.CDLL(str(next(path for path in carried if path.name.startswith("libavcodec"))))
avcodec.avcodec_license.restype = ctypes.c_char_p
licence = avcodec.avcodec_license().decode()
gpl = [path.name for path in carried if path.name.startswith(("libx264", "libx265"))]
for name in ("libx264", "libx265"):
    av.codec.Codec(name, "w")  # raises where the encoder is not built in
stated = importlib.metadata.metadata("av")["License-Expression"]
print(f"PyAV {av.__version__}: the package says {stated}, its FFmpeg says {licence}; inside are {', '.join(gpl)}")
assert licence == "LGPL version 3 or later", licence
assert len(gpl) == 2, gpl
PYTHON
