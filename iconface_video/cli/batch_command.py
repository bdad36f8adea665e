"""`iconface-video batch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.display import print_json
from iconface_video.cli.options import (
    AsJson,
    Overrides,
    PersonFolders,
    PresetName,
    Quiet,
    optional_seconds,
    people,
    present,
    seconds,
    settings_options,
)
from iconface_video.cli.run_command import SECTIONS, Part
from iconface_video.configs import DEFAULTS, load_preset


@settings_options(*SECTIONS)
def batch(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE|FOLDER|PATTERN...", help="Videos, folders of videos, or patterns in quotes.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the outputs; made where it is missing.")
    ],
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference", "-r", metavar="PHOTO", help="A photo of a person who is in each video; may be given more than once."
        ),
    ] = None,
    person: PersonFolders = None,
    preset: PresetName = DEFAULTS.name,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Begin each video here: seconds or h:mm:ss.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Stop each video here: seconds or h:mm:ss.")] = None,
    preview: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only so many seconds of each, from --start or from the middle.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Make finished outputs again, and replace files that are in the way.")
    ] = False,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="Keep the restored faces, so that `render` can use them again.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: forget what unfinished runs left behind.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Also take the videos in folders below.")] = False,
    obey_people: Annotated[
        bool,
        typer.Option(
            "--people", help="Obey the people.yaml that `people` wrote in NAME.people beside a video, where there is one."
        ),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also write a page about each file: NAME.report.html beside its output.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check files and options, say what would be written and what is finished, stop.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    overrides: Overrides,
) -> None:
    """Restore the faces in many videos.

    Goes on with the next file when one fails. Called again, it skips what is finished: outputs that were made from the same
    file with the same settings. Ends with 0 when all is well, 1 when a file failed, 130 when it was stopped; what is finished
    stays. batch.json and batch.csv in the output folder say what became of each file.

    Examples:

      iconface-video batch tapes -o restored

      iconface-video batch "tapes/**/*.avi" more.mp4 -o restored --preset family

      iconface-video batch tapes -o look --preview 5 --preset fast

      iconface-video batch tapes -o restored --recursive --dry-run
    """
    settings = load_preset(preset).settings(overrides)
    part = Part(optional_seconds(start), optional_seconds(end), None if preview is None else seconds(preview))
    named = people(person or [])
    photos = tuple(present(path, "reference photo") for path in reference or [])

    from iconface_video.cli.batch_table import make_batch_display, print_summary
    from iconface_video.identity.people import ReferenceChoice
    from iconface_video.pipelines.batch import BatchOptions, restore_batch
    from iconface_video.session.batch import BatchRow, count_below
    from iconface_video.video.probe import probe

    def stretch(path: Path) -> tuple[Fraction | None, Fraction | None]:
        chosen = part if part.preview is None else part.around(probe(path))
        return chosen.start, chosen.end

    options = BatchOptions(
        settings, ReferenceChoice(photos, named), stretch, force, keep_work, fresh, recursive, obey_people, report
    )
    for folder in [] if recursive or quiet or as_json else [Path(name) for name in inputs if Path(name).is_dir()]:
        below = count_below(folder)
        if below:
            many = f"{below} videos" if below > 1 else "a video"
            print(f"note: {folder}: {many} in folders below it left out; --recursive takes them", file=sys.stderr, flush=True)
    rows: Sequence[BatchRow]
    with make_batch_display(quiet=quiet, as_json=as_json) as display:
        rows = restore_batch(
            inputs,
            output,
            options,
            on_start=display.start,
            on_row=display.row,
            on_progress=display.progress,
            dry_run=dry_run,
        )
    failed = [row for row in rows if row.state == "failed"]
    if as_json:
        print_json({"files": [row.to_dict() for row in rows], "failed": len(failed)})
    elif not quiet:
        print_summary(rows, None if dry_run else output)
    if failed:
        raise typer.Exit(1)
