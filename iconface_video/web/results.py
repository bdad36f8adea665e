"""Finished videos of a project, each with the settings that it was made with: what has changed since then is said, and nothing is thrown away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from iconface_video.files import write_whole
from iconface_video.session.fingerprint import fingerprint
from iconface_video.session.run_report import RunReport
from iconface_video.web.people import Person
from iconface_video.web.record import Options
from iconface_video.web.saving import Saved

OUT, FILM, SIDES, FACTS = "out", "film.mp4", "sides.mp4", "result.json"
"""In a result's folder: the folder of the video itself, a film to compare, both at full size in one film, all else."""
UNFINISHED = "unfinished"
"""The folder of the result that is being made; it gets its own name when it is whole."""

Recipe = Mapping[str, Any]
"""What a result is made with, in plain values."""
WITH_MODEL = frozenset({"preset", "harder", "part", "people", "photos", "known", "personalize", "learn", "fields", "scale"})
"""What of a recipe takes the model's work when it changes; the rest is written anew from the faces that are kept."""


_EARLIER: Recipe = {"fields": "keep", "scale": 1.0, "known": [], "personalize": "auto", "learn": []}
"""What results were made with whose recipes do not say it."""


def recipe_of(options: Options, people: Sequence[Person]) -> dict[str, Any]:
    """As things stand now. Names change nothing in the picture."""
    used = options.settings
    return {
        "preset": options.preset,
        "harder": options.harder,
        "part": [options.begin, options.end],
        "people": fingerprint(people=sorted([sorted(person.tracks), person.skip] for person in people)),
        "photos": fingerprint(
            photos=sorted([min(one.tracks), sorted(photo.id for photo in one.photos)] for one in people if one.photos)
        ),
        "strength": used.render.strength,
        "strengths": fingerprint(of=sorted([min(person.tracks), person.strength] for person in people)),
        "mask": used.render.mask,
        "codec": used.encode.codec,
        "crf": used.encode.crf,
        "container": options.container,
        "fields": used.read.fields,
        "scale": used.render.scale,
        "known": sorted(
            [min(one.tracks), one.recognised.found.name, one.recognised.photos_hash] for one in people if one.recognised
        ),
        "personalize": used.restore.personalize,
        "learn": sorted([min(one.tracks), one.learn] for one in people if one.learn),
    }


def changed(made_with: Recipe, now: Recipe) -> list[str]:
    """Names of what is otherwise now, in order."""
    before = {**_EARLIER, **made_with}
    return [name for name in now if before.get(name) != now[name]]


_SHOWN = ("preset", "harder", "strength", "mask", "codec", "crf", "container", "part", "fields", "scale", "personalize")


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run."""

    id: str
    folder: Path
    report: RunReport
    recipe: Recipe
    size: int
    """Of the output, bytes."""
    close_ups: list[list[float]]
    made: float
    """When, in seconds since 1970."""
    saved: Saved = field(default_factory=Saved)

    @property
    def has_sides(self) -> bool:
        return (self.folder / SIDES).is_file()

    @property
    def is_in_vain(self) -> bool:
        """No face was restored: the video is as it was."""
        return self.report.faces_restored == 0

    @property
    def made_with(self) -> Recipe:
        """The recipe, with what earlier releases did not write into it."""
        return {**_EARLIER, **self.recipe}

    def to_dict(self, now: Recipe) -> dict[str, Any]:
        """For the page."""
        report, outdated = self.report, changed(self.recipe, now)
        made_with = self.made_with
        return {
            "id": self.id,
            "name": report.output.name,
            "path": str(report.output.absolute()),
            "saved": self.saved.path if Path(self.saved.path).is_file() else "",
            "save_error": self.saved.error,
            "bytes": self.size,
            "made": self.made,
            "frames": report.frames,
            "frames_restored": report.frames_restored,
            "faces_restored": report.faces_restored,
            "left_alone": report.left_alone,
            "seconds": sum(report.seconds.values()),
            "notes": list(report.notes),
            "looked": None
            if report.kind is None
            else {"name": report.preset, "kind": report.kind, "looks_like": report.looks_like},
            "settings": {name: made_with[name] for name in _SHOWN},
            "close_ups": self.close_ups,
            "changed": outdated,
            "has_sides": self.has_sides,
            "against": sorted(path.stem.partition("-")[2] for path in self.folder.glob("against-*.mp4")),
        }


def finish(
    unfinished: Path, number: str, report: RunReport, recipe: Recipe, close_ups: list[list[float]], made: float, saved: Saved
) -> Result:
    """The folder gets its name once all that belongs to it is written."""
    facts = {
        "report": report.to_dict(),
        "recipe": dict(recipe),
        "close_ups": close_ups,
        "made": made,
        "saved": asdict(saved),
    }
    _write_facts(unfinished, facts)
    folder = unfinished.with_name(number)
    unfinished.rename(folder)
    return _read(folder)


def with_saved(result: Result, saved: Saved) -> Result:
    """Written down, too. Raises OSError."""
    facts = {**json.loads((result.folder / FACTS).read_text(encoding="utf-8")), "saved": asdict(saved)}
    _write_facts(result.folder, facts)
    return replace(result, saved=saved)


def _write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    write_whole(folder / FACTS, lambda file: file.write(json.dumps(facts).encode()))


def load_results(folder: Path) -> list[Result]:
    """Oldest first; folders that were never finished are passed over."""
    found = []
    for item in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            found.append(_read(item))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda result: result.made)


def _read(folder: Path) -> Result:
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    report = RunReport.from_dict(facts["report"])
    output = folder / OUT / report.output.name
    return Result(
        folder.name,
        folder,
        replace(report, output=output),
        facts["recipe"],
        output.stat().st_size,
        facts["close_ups"],
        facts["made"],
        Saved(**facts.get("saved", {})),
    )


def remove(result: Result) -> None:
    shutil.rmtree(result.folder, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Preview:
    """A frame or a stretch, before and after at full strength."""

    id: str
    kind: str
    seconds: float
    """After the clip's first frame."""
    length: float
    """Seconds; 0 for a frame."""
    close_ups: list[list[float]]
    recipe: Recipe
    folder: Path

    def save(self) -> None:
        values = {**asdict(self), "folder": ""}
        _write_facts(self.folder, values)

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        names = ("id", "kind", "seconds", "length", "close_ups")
        return {name: getattr(self, name) for name in names}


def load_preview(folder: Path) -> Preview | None:
    """None where there is none, or it is not whole."""
    try:
        return Preview(**{**json.loads((folder / FACTS).read_text(encoding="utf-8")), "folder": folder})
    except (OSError, ValueError, TypeError):
        return None
