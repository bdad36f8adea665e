"""The command line as it is, but with stand-ins for the two networks: for tests that start it very often."""

from __future__ import annotations

import os
import signal
import sys

from iconface_video.cli.main import main
from iconface_video.session import networks
from tests.pipelines.conftest import Sharpener, grey_embed

DIES_AFTER = "ICONFACE_DIES_AFTER"
"""Environment: after how many restored faces the process is killed, as by SIGKILL from outside, but at the same face every time."""


class Dying(Sharpener):
    def restore(self, crops, contexts, noise):
        if self.faces >= int(os.environ[DIES_AFTER]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().restore(crops, contexts, noise)


networks.load_embedder = lambda: grey_embed
networks.load_restorer = lambda settings: Dying() if DIES_AFTER in os.environ else Sharpener()

if __name__ == "__main__":
    sys.exit(main())
