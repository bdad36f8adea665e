"""Which preset a run's settings started from: the one that the user named, or the one that suits the recording.

What was found once holds: an unfinished run's work folder keeps it, so that who goes on from there decides nothing again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from iconface_video.errors import StoreError
from iconface_video.files import SteadyFile
from iconface_video.session.journal import JOURNAL, KIND, Journal


@dataclass(frozen=True)
class ChosenPreset:
    """A preset, and why."""

    name: str
    kind: str | None = None
    """Of recording, as `video.kind` tells it; None: it was not looked at, the user named the preset."""
    looks_like: str = ""
    """The same with its reasons, for people: "a tape: lines tremble sideways"."""

    @property
    def sentence(self) -> str:
        """For the user, where the recording was looked at; else empty."""
        if self.kind is None:
            return ""
        what = (
            f"the recording looks like {self.looks_like}"
            if self.kind != "unknown"
            else f"what is recorded is {self.looks_like}"
        )
        return f"preset {self.name}, as {what}; name another with `preset`"


def kept_choice(work: Path, file: SteadyFile) -> ChosenPreset | None:
    """What an unfinished run found of this file; None where none did. Takes no lock: nothing is written."""
    if not (work / JOURNAL).is_file():
        return None
    try:
        facts = Journal(work).find(KIND, {"input": file.identity()})
    except StoreError:
        return None
    return None if facts is None else ChosenPreset(**facts)


def keep_choice(journal: Journal, chosen: ChosenPreset, file: SteadyFile) -> None:
    """For whoever goes on from this work folder."""
    made_from = {"input": file.identity()}
    if journal.find(KIND, made_from) != asdict(chosen):
        journal.finish(KIND, made_from, [], **asdict(chosen))
