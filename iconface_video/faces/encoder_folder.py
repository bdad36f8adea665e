"""Where the identity encoder of this package lies: known without loading it, and torch with it."""

from __future__ import annotations

from pathlib import Path

EMBEDDED_FOLDER = Path(__file__).resolve().parent.parent / "weights" / "identity_encoder"
