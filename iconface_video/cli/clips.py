"""`iconface-video probe`, `people FILE` and `image`: commands that look at a file, and the one for photos."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iconface_video.cli.display import counted, make_display, print_json, print_rows
from iconface_video.cli.options import present, with_options
from iconface_video.cli.shared_options import JsonFlag, Messages
from iconface_video.configs import SettingsChoice
from iconface_video.errors import OutputError, UsageError
from iconface_video.settings import RunSettings

if TYPE_CHECKING:
    from iconface_video.pipelines.people import FoundPeople
    from iconface_video.types import VideoInfo

_RANGES = {0: "not stated", 1: "limited", 2: "full"}
_SCANS = {"tt": "interlaced, top field first", "bb": "interlaced, bottom field first", "progressive": "progressive"}


def probe_file(
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="The video.")],
    kind: Annotated[
        bool,
        typer.Option(
            "--kind", help="Also look at the picture: tape, film, a camera or phone, broadcast; and why; which preset."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what is in a video file, and whether its faces were restored before.

    Examples:

      iconface-video probe tape.mp4

      iconface-video probe --kind tape.mp4

      iconface-video probe --json tape.mp4
    """
    from iconface_video.session.fingerprint import read_restoration_marks
    from iconface_video.video.kind import kind_of
    from iconface_video.video.probe import probe

    info = probe(present(input, "video"))
    marks = read_restoration_marks(info.metadata)
    verdict = kind_of(info) if kind else None
    if as_json:
        looks = {} if verdict is None else {"kind": {**asdict(verdict), "preset": verdict.preset}}
        print_json({**_plain(asdict(info)), "restorations": marks, **looks})
    else:
        looks_like = [] if verdict is None else [("looks like", verdict.sentence), ("preset", verdict.preset)]
        print_rows([*_clip_rows(info, marks), *looks_like], title=str(input))


def _clip_rows(info: VideoInfo, marks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    width, height = info.display_size
    shown = f", shown as {width}x{height}" if (width, height) != (info.width, info.height) else ""
    turned = f", turned by {info.rotation} degrees" if info.rotation else ""
    turned += ", mirrored" if info.is_mirrored else ""
    rate = "not stated" if info.average_rate is None else f"{float(info.average_rate):.3f} a second"
    count = "" if info.frame_count_declared is None else f", {info.frame_count_declared} according to the header"
    color = info.color
    rows = [
        ("container", info.container),
        ("video", f"{info.codec}, {info.width}x{info.height} {info.pix_fmt} ({info.bit_depth} bit){shown}{turned}"),
        ("frames", f"{rate}{' on average (variable rate)' if info.is_vfr else ''}{count}"),
        ("length", "not stated" if info.duration_seconds is None else f"{info.duration_seconds:.3f} s"),
        ("scan", _SCANS.get(info.field_order, f"interlaced ({info.field_order})" if info.field_order != "unknown" else "not stated")),
        ("color", f"range {_RANGES.get(color.range, str(color.range))}, matrix {color.space}, primaries {color.primaries}, "
                  f"transfer {color.transfer} (codes of ITU-T H.273)"),
    ]  # fmt: skip
    for stream in info.streams:
        parts = [stream.codec, stream.detail, stream.language or ""]
        rows.append((stream.kind, ", ".join(part for part in parts if part)))
    if info.chapter_count:
        rows.append(("chapters", counted(info.chapter_count, "chapter")))
    for mark in marks:
        facts = ", ".join(f"{name} {value}" for name, value in mark.items() if name != "version" and value is not None)
        rows.append(("restored", f"faces were restored by a generative model: iconface-video {mark['version']} ({facts})"))
    return rows


def _plain(value: Any) -> Any:
    """Fractions as "25/1", paths as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


@with_options("anchors", "survey", "read")
def people(
    *,
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="The video.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where to write; NAME.people beside the input when not given."),
    ] = None,
    settings: SettingsChoice,
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Start over. A people.yaml that is there is kept as people.before.yaml."),
    ] = False,
    messages: Messages,
) -> None:
    """Show who is in a video, and let you say who is who.

    Writes a folder with people.html and people.png (pictures of everybody, with times) and people.yaml, in which you name,
    merge, split and skip people and give them photos. `run --people` applies that file. Run it again at any time: what you
    wrote stays, and the pictures show it.

    Examples:

      iconface-video people tape.mp4

      iconface-video people tape.mp4 -o who

      iconface-video run tape.mp4 --people tape.people/people.yaml

      iconface-video people film.mov --preset film --same-person-similarity 0.7
    """
    present(input, "video")

    from iconface_video.pipelines.people import find_people

    with make_display(quiet=messages.quiet, as_json=messages.as_json) as display:
        found = find_people(input, output, settings=settings, force=force, on_progress=display)
    if messages.as_json:
        print_json(_to_dict(found))
    elif not messages.quiet:
        print_rows(_people_rows(found, input))


def _people_rows(found: FoundPeople, input: Path) -> list[tuple[str, str]]:
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


@with_options("restore", "render", preset_help="Settings to start from.")
def image(
    *,
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo whose faces are restored.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write (.png, .jpg, .webp, .tif).")],
    references: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference", "-r", metavar="PHOTO", help="A good photo of the same person; may be given more than once."
        ),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The whole picture already is one face in the FFHQ frame, of any size.")
    ] = False,
    settings: RunSettings,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output if it exists.")] = False,
) -> None:
    """Restore the faces of one photo.

    Examples:

      iconface-video image grandma.jpg -o grandma-restored.png

      iconface-video image grandma.jpg -o out.png --reference grandma-1990.jpg
    """
    if output.exists() and not force:
        raise OutputError(f"{output}: exists already. Give another name, or --force to replace it.")
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent}: there is no such folder to write to")
    for given in (photo, *(references or ())):
        if output.exists() and given.exists() and output.samefile(given):
            raise UsageError(f"{output}: the output would overwrite an input; inputs are never touched")

    from iconface_video.pipelines.image import restore_faces, write_picture

    with make_display(quiet=False, as_json=False) as display:
        found = restore_faces(photo, references or (), aligned=aligned, settings=settings, on_progress=display)
    write_picture(output, found.image)
    what = "no face was found: the picture is as it was" if not found.faces else f"faces restored: {found.faces}"
    typer.echo("\n".join([what, f"output: {output}", *(f"note: {note}" for note in found.notes)]))
