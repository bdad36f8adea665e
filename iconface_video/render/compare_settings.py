"""How two videos are shown together, as the user asks for it. Light: the command line makes its options of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from iconface_video.settings import OptionForm, Validated, setting


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
