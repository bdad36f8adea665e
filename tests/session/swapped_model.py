"""The command line as it is, but with stand-ins for the two networks: for tests that start it very often."""

from __future__ import annotations

import sys

from iconface_video.cli.main import main
from iconface_video.session import networks
from tests.pipelines.conftest import Sharpener, grey_embed

networks.load_embedder = lambda: grey_embed
networks.load_restorer = lambda settings: Sharpener()

if __name__ == "__main__":
    sys.exit(main())
