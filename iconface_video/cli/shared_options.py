"""What several commands ask for, word for word: photos of people, a part of the video, what is said meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iconface_video.cli.options import existing, person, seconds
from iconface_video.errors import UsageError
from iconface_video.settings import OptionForm, setting

if TYPE_CHECKING:
    from iconface_video.types import VideoInfo

REFERENCE = OptionForm(("--reference", "-r"), "PHOTO", read=existing("reference photo"))
TIME = OptionForm(metavar="TIME", read=seconds)
FORCE = OptionForm(("--force", "-f"))

QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]


@dataclass(frozen=True)
class Messages:
    """What is said while a command works."""

    quiet: bool = setting(False, form=OptionForm(("--quiet", "-q")), help="Say nothing but errors.")
    as_json: bool = setting(
        False,
        form=OptionForm(("--json",)),
        help="For programs: one JSON object at the end, progress as JSON lines on stderr.",
    )


@dataclass(frozen=True)
class Photos:
    """Photos of the people in a video."""

    reference: tuple[Path, ...] = setting(
        (), form=REFERENCE, help="A photo of a person in the video; may be given more than once."
    )
    person: tuple[tuple[str, Path], ...] = setting(
        (),
        form=OptionForm(metavar="NAME=FOLDER", read=person),
        help="A folder of photos of one person; once for each person.",
    )


@dataclass(frozen=True)
class Part:
    """The part of a video that is worked on, in seconds."""

    start: Fraction | None = setting(None, form=TIME, help="Begin here: seconds or h:mm:ss.")
    end: Fraction | None = setting(None, form=TIME, help="Stop here: seconds or h:mm:ss.")
    preview: Fraction | None = setting(
        None, form=TIME, help="Only so many seconds, from --start or from the middle, into NAME.preview.mp4."
    )

    def __post_init__(self) -> None:
        if self.preview is not None and self.end is not None:
            raise UsageError("--preview and --end cannot be given together; use --start with either of them")
        if self.preview is not None and self.preview <= 0:
            raise UsageError("--preview must be more than 0 seconds")

    def around(self, info: VideoInfo) -> Part:
        """The previewed stretch, as start and end."""
        wanted = self.preview or Fraction(0)
        length = Fraction(info.duration_seconds or 0).limit_denominator(1000)
        start = max(Fraction(0), (length - wanted) / 2) if self.start is None else self.start
        return Part(start, start + wanted)
