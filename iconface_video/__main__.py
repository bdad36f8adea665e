"""`python -m iconface_video`."""

from __future__ import annotations

import sys

from iconface_video.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
