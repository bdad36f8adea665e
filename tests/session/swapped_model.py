"""The command line as it is, but with stand-ins for the two networks: for tests that start it very often."""

from __future__ import annotations

import sys

from iconface_video.cli.main import main
from iconface_video.pipelines import finding, restore
from tests.pipelines.conftest import Sharpener, grey_embed

finding.load_embedder = restore.load_embedder = lambda: grey_embed
restore.load_restorer = lambda settings: Sharpener()
restore._weights = lambda settings: "none"

if __name__ == "__main__":
    sys.exit(main())
