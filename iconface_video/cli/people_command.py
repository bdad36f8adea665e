"""`iconface-video people`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iconface_video.cli.display import counted, make_display, print_json, print_rows
from iconface_video.cli.options import AsJson, Overrides, PresetName, Quiet, present, settings_options
from iconface_video.configs import DEFAULTS, load_preset

if TYPE_CHECKING:
    from iconface_video.pipelines.people import FoundPeople


@settings_options("anchors", "survey", "read")
def people(
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="The video.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where to write; NAME.people beside the input when not given."),
    ] = None,
    preset: PresetName = DEFAULTS.name,
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Start over. A people.yaml that is there is kept as people.before.yaml."),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    overrides: Overrides,
) -> None:
    """Show who is in a video, and let you say who is who.

    Writes a folder with people.html and people.png (pictures of everybody, with times) and people.yaml, in which you name,
    merge, split and skip people and give them photos. `run --people` obeys that file. Run it again at any time: what you
    wrote stays, and the pictures show it.

    Examples:

      iconface-video people tape.mp4

      iconface-video people tape.mp4 -o who

      iconface-video run tape.mp4 --people tape.people/people.yaml

      iconface-video people film.mov --preset film --same-person-similarity 0.7
    """
    settings = load_preset(preset).settings(overrides)
    present(input, "video")

    from iconface_video.pipelines.people import find_people

    with make_display(quiet=quiet, as_json=as_json) as display:
        found = find_people(input, output, settings=settings, force=force, on_progress=display)
    if as_json:
        print_json(_to_dict(found))
    elif not quiet:
        print_rows(_rows(found, input))


def _rows(found: FoundPeople, input: Path) -> list[tuple[str, str]]:
    count = sum(person.person is not None for person in found.people)
    rows = [("found", counted(count, "person", "people") if count else "no face")]
    rows += [(person.title + (" (skipped)" if person.is_skipped else ""), person.facts) for person in found.people]
    rows += [("look at", str(found.page)), ("edit", str(found.file))]
    rows.append(("then", f"iconface-video run {input} --people {found.file}"))
    return [*rows, *(("note", note) for note in found.notes)]


def _to_dict(found: FoundPeople) -> dict[str, Any]:
    people = [
        {
            "person": None if item.person is None else item.person + 1,
            "name": item.name,
            "skipped": item.is_skipped,
            "tracks": list(item.tracks),
            "shots": item.shot_count,
            "seconds": round(item.seconds, 3),
            "first_seconds": round(item.first_seconds, 3),
            "last_seconds": round(item.last_seconds, 3),
            "quality": round(item.quality, 3),
            "face_px": round(item.face_px, 1),
        }
        for item in found.people
    ]
    files = {"folder": str(found.folder), "file": str(found.file), "page": str(found.page)}
    return {**files, "people": people, "notes": list(found.notes)}
