"""What a project's file says: all that the user decided, and what is still to be done. It is written whole at each change.

PROJECTS/ID/project.json    this record
PROJECTS/ID/clip/NAME       the clip, where it came through the browser; else the record names its path
PROJECTS/ID/survey/         which faces are where
PROJECTS/ID/faces/N.jpg     a picture of each track
PROJECTS/ID/photos/ID/      a photo that was dropped on a person, and the face in it
PROJECTS/ID/work/           what is restored, with its journal (`session.work`)
PROJECTS/ID/preview/        the latest preview
PROJECTS/ID/previewed/      faces of all previews since the last run, which takes them (`remembering`)
PROJECTS/ID/results/ID/     finished videos, each with the settings that it was made with
PROJECTS/ID/log.txt         what was done when
"""

from __future__ import annotations

import json
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from iconface_video.configs import DEFAULTS, load_preset, preset_names
from iconface_video.errors import StoreError, UsageError
from iconface_video.files import write_whole
from iconface_video.session.chosen_preset import ChosenPreset
from iconface_video.settings import RunSettings, nearest
from iconface_video.web.jobs import Kind

FORMAT = 1
FILE = "project.json"
CONTAINERS = ("", ".mp4", ".mov", ".mkv")
"""Of the result; empty: as the clip's."""
LEARN = {"": None, "yes": True, "no": False}
"""What the user may say of learning one person; empty: as the settings say."""
_HARDER = {
    "detection_size": 1600,
    "min_face_px": 12.0,
    "min_score": 0.3,
    "low_score": 0.1,
    "detect_every": 1,
    "min_track_seconds": 0.1,
}
"""For faces that are too small or too dim to be found otherwise; it takes several times as long."""


@dataclass(frozen=True)
class ClipRecord:
    """Which file the project is about."""

    name: str
    path: str
    """Relative to the project's folder where it lies in there."""
    bytes: int
    modified_ns: int
    identity: str = ""
    """`hash_file` of it, once it was read through."""
    seconds: float | None = None
    is_interlaced: bool = False
    """Whether it holds fields, marked or not."""


@dataclass(frozen=True)
class Options:
    """How to restore, as far as it differs from the preset (None: as the preset says)."""

    preset: str = DEFAULTS.name
    strength: float | None = None
    mask: str | None = None
    codec: str | None = None
    crf: int | None = None
    container: str = ""
    harder: bool = False
    """Look harder for faces."""
    begin: float | None = None
    """Seconds after the clip's first frame; None: its own begin."""
    end: float | None = None
    fields: str | None = None
    scale: float | None = None
    device: str | None = None
    """Changes no more than last bits, as `workers`."""
    workers: int | None = None
    personalize: str | None = None
    folder: str = ""
    """Of this machine, into which finished videos are saved as well; empty: they stay with the project alone."""

    def changed(self, values: dict[str, Any]) -> Options:
        """With other values. Raises UsageError for what cannot be."""
        for name in values:
            if name not in asdict(self):
                raise UsageError(f"there is no setting '{name[:40]}'.{nearest(name, asdict(self))}")
        other = replace(self, **values)
        known = (DEFAULTS.name, *preset_names())
        if not isinstance(other.preset, str) or other.preset not in known:  # also a path to a file of this machine
            raise UsageError(f"there is no preset '{str(other.preset)[:40]}'.{nearest(str(other.preset), known)}")
        if not isinstance(other.container, str) or other.container not in CONTAINERS:
            raise UsageError(
                f"container is {str(other.container)[:40]!r}, must be one of {', '.join(filter(None, CONTAINERS))}"
            )
        if not isinstance(other.folder, str):
            raise UsageError("folder must be a text")
        if not isinstance(other.harder, bool):
            raise UsageError("harder must be true or false")
        for name in ("begin", "end"):
            value = getattr(other, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10**9):
                raise UsageError(f"{name} is {str(value)[:40]}, which is no time within the clip")
        if other.end is not None and other.end <= (other.begin or 0.0):
            raise UsageError(
                f"the part ends at {other.end:.2f} s, which does not lie after its begin at {other.begin or 0.0:.2f} s"
            )
        for name in _PLACES:
            if isinstance(getattr(other, name), bool) or not isinstance(getattr(other, name), (int, float, str, type(None))):
                raise UsageError(f"{name} must be a number or a text")
        _settings_of.__wrapped__(other)  # raises for values out of range; what is remembered takes True for 1
        return other

    @property
    def settings(self) -> RunSettings:
        return _settings_of(self)

    @property
    def used(self) -> dict[str, Any]:
        """All of it, with the settings' own values where nothing else is chosen."""
        settings = self.settings
        own = {name: getattr(getattr(settings, section), name) for name, section in _PLACES.items()}
        return {**asdict(self), **own}

    @property
    def part(self) -> tuple[Fraction | None, Fraction | None]:
        """(start, end) as a run takes them."""
        return tuple(None if time is None else Fraction(time).limit_denominator(10**6) for time in (self.begin, self.end))  # type: ignore[return-value]


_PLACES = {
    "strength": "render",
    "mask": "render",
    "codec": "encode",
    "crf": "encode",
    "fields": "read",
    "scale": "render",
    "device": "restore",
    "workers": "engine",
    "personalize": "restore",
}
"""Option -> the section of the settings that holds it under the same name."""


@lru_cache(64)  # the page asks several times a second
def _settings_of(options: Options) -> RunSettings:
    overrides: dict[str, dict[str, Any]] = {}
    for name, section in _PLACES.items():
        value = getattr(options, name)
        if value is not None:
            overrides.setdefault(section, {})[name] = value
    if options.harder:
        overrides["survey"] = dict(_HARDER)
    return load_preset(options.preset).settings(overrides)


@dataclass
class PhotoRecord:
    id: str
    file: str
    likeness: float
    notes: list[str] = field(default_factory=list)


@dataclass(eq=False)
class PersonChoices:
    """One person: tracks of the survey, and what the user decided but for the photos."""

    index: int
    """Stays the same whoever is joined or taken apart."""
    tracks: list[int]
    """Ids."""
    name: str = ""
    skip: bool = False
    strength: float = 1.0
    """Share of the whole strength."""
    recognise: bool = True
    """Whether it may be somebody whom the user keeps."""
    learn: str = ""
    """Whether the model learns the person from the photos, one of `LEARN`."""

    def choices(self) -> dict[str, Any]:
        """By name, to make the same choices of."""
        return {item.name: copy(getattr(self, item.name)) for item in fields(PersonChoices)}


@dataclass
class PersonRecord(PersonChoices):
    """As the project's file holds it."""

    photos: list[PhotoRecord] = field(default_factory=list)


@dataclass
class Todo:
    """A job that was asked for and has not ended."""

    kind: Literal["survey", "run"]
    number: int
    """Its place in line, lower first."""
    then_run: bool = False
    """Of a survey: restore the video as soon as its people are found."""
    before: Options | None = None
    """Of a survey that other options ask for: those that the survey before it was made with, which hold again unless it ends well."""


@dataclass
class Record:
    """All of it."""

    name: str
    created: float
    """Seconds since 1970."""
    clip: ClipRecord
    options: Options = field(default_factory=Options)
    people: list[PersonRecord] | None = None
    """None: not surveyed yet."""
    pace: dict[str, Any] | None = None
    """`work.Pace`, measured with the survey."""
    todo: Todo | None = None
    failed_kind: Kind | None = None
    failed: str = ""
    """The sentence of the job that failed last."""
    failed_options: Options | None = None
    """That a failed survey was to have, where an earlier one stands: for another try."""
    kept_with: dict[str, Any] | None = None
    """Recipe of the run whose faces are kept, all of them; None: there is none."""
    looked: ChosenPreset | None = None
    """What the recording looks like, and so which preset suits it; None: it was not looked at."""
    may_choose: bool = False
    """Whether the preset is to be what suits the recording: nobody has named one yet."""

    @property
    def chosen(self) -> ChosenPreset:
        """The preset that is used, and why."""
        if self.looked is not None and self.looked.name == self.options.preset:
            return self.looked
        return ChosenPreset(self.options.preset)

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Raises StoreError."""
        file = folder / FILE
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise StoreError(f"{file}: of another release of this program")
            people = values.pop("people")
            todo = values.pop("todo")
            looked = values.pop("looked", None)
            failed_options = values.pop("failed_options", None)
            return cls(
                clip=ClipRecord(**values.pop("clip")),
                options=Options(**values.pop("options")),
                people=None if people is None else [_person(item) for item in people],
                todo=None if todo is None else _todo(todo),
                looked=None if looked is None else ChosenPreset(**looked),
                failed_options=None if failed_options is None else Options(**failed_options),
                **values,
            )
        except StoreError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{file}: missing or damaged ({type(error).__name__}: {error}); nothing in its folder is touched"
            ) from error

    def write(self, folder: Path) -> None:
        """Raises StoreError."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        try:
            write_whole(folder / FILE, lambda file: file.write(text.encode()))
        except OSError as error:
            raise StoreError(f"{folder / FILE}: cannot be written ({error.strerror}); free some space") from error


def _todo(values: dict[str, Any]) -> Todo:
    before = values.pop("before", None)
    return Todo(**values, before=None if before is None else Options(**before))


def _person(values: dict[str, Any]) -> PersonRecord:
    photos = [PhotoRecord(**item) for item in values.pop("photos")]
    return PersonRecord(**values, photos=photos)
