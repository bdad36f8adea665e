"""Settings of single commands that their rooms share with the command line: `compare` and `serve`. Light, like `settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from iconface_video.settings import OptionForm, Validated, setting

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class CompareSettings(Validated):
    """How two videos are shown together."""

    mode: Literal["side", "stack", "wipe", "blink"] = setting(
        "side", form=OptionForm(("--mode", "-m"), "side|stack|wipe|blink"), help="How both are shown in the film."
    )
    divider: float | None = setting(
        None,
        low=0,
        high=1,
        form=OptionForm(metavar="X"),
        help="Where a wipe's divider stands, 0 (left) to 1; it moves to and fro when not given.",
    )
    period: float | None = setting(
        None,
        low=0.1,
        high=600,
        form=OptionForm(metavar="SECONDS"),
        help="How long the divider takes to go and return (4 when not given), or A and B are shown once each (2).",
    )
    moments: int = setting(
        6,
        low=1,
        high=60,
        form=OptionForm(metavar="N", shows_default=False),
        help="Stills in the page, where A and B differ most (6 when not given).",
    )

    @property
    def period_seconds(self) -> float:
        """What holds where none is given."""
        return self.period if self.period is not None else 2.0 if self.mode == "blink" else 4.0


@dataclass(frozen=True)
class ServeSettings:
    """How and for whom the page of `serve` is served."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback lets other machines in."""
    port: int = 8765
    """0: any that is free."""
    max_upload_bytes: int = 8000 * 10**6
    """Of one clip."""
    max_photo_bytes: int = 50 * 10**6
    keep_seconds: float = 60 * 60
    """Files of a page that has not been heard of for so long are removed; not while it has a job."""
    max_workspaces: int = 32
    """Pages that can be at work at once; each may hold a clip on the disk."""

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK
