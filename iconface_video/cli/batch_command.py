"""`iconface-video batch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.display import print_json
from iconface_video.cli.options import with_options
from iconface_video.cli.run_command import SECTIONS
from iconface_video.cli.shared_options import FORCE, REFERENCE, TIME, Messages, Part, Photos
from iconface_video.configs import SettingsChoice
from iconface_video.settings import OptionForm, setting


@dataclass(frozen=True)
class PhotosOfEach(Photos):
    """Photos of people who are in every video."""

    reference: tuple[Path, ...] = setting(
        (), form=REFERENCE, help="A photo of a person who is in each video; may be given more than once."
    )


@dataclass(frozen=True)
class PartOfEach(Part):
    """The part of every video."""

    start: Fraction | None = setting(None, form=TIME, help="Begin each video here: seconds or h:mm:ss.")
    end: Fraction | None = setting(None, form=TIME, help="Stop each video here: seconds or h:mm:ss.")
    preview: Fraction | None = setting(None, form=TIME, help="Only so many seconds of each, from --start or from the middle.")


@dataclass(frozen=True)
class BatchWork:
    """What is done with which files."""

    force: bool = setting(False, form=FORCE, help="Make finished outputs again, and replace files that are in the way.")
    keep_work: bool = setting(False, help="Keep the restored faces, so that `render` can use them again.")
    fresh: bool = setting(False, help="Start over: forget what unfinished runs left behind.")
    recursive: bool = setting(False, form=OptionForm(("--recursive", "-R")), help="Also take the videos in folders below.")
    apply_people: bool = setting(
        False,
        form=OptionForm(("--people",)),
        help="Apply the people.yaml that `people` wrote in NAME.people beside a video, where there is one.",
    )
    report: bool = setting(False, help="Also write a page about each file: NAME.report.html beside its output.")
    dry_run: bool = setting(False, help="Check files and options, say what would be written and what is finished, stop.")


@with_options(*SECTIONS)
def batch(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE|FOLDER|PATTERN...", help="Videos, folders of videos, or patterns in quotes.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the outputs; made where it is missing.")
    ],
    photos: PhotosOfEach,
    settings: SettingsChoice,
    part: PartOfEach,
    work: BatchWork,
    messages: Messages,
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
    from iconface_video.cli.batch_table import make_batch_display, print_summary
    from iconface_video.identity.grouping import ReferenceChoice
    from iconface_video.pipelines.batch import BatchOptions, restore_batch
    from iconface_video.session.clip_batch import BatchRow, count_below
    from iconface_video.video.probe import probe

    def stretch(path: Path) -> tuple[Fraction | None, Fraction | None]:
        chosen = part if part.preview is None else part.around(probe(path))
        return chosen.start, chosen.end

    options = BatchOptions(
        settings,
        ReferenceChoice(photos.reference, photos.person),
        stretch,
        work.force,
        work.keep_work,
        work.fresh,
        work.recursive,
        work.apply_people,
        work.report,
    )
    for folder in (
        [] if work.recursive or messages.quiet or messages.as_json else [Path(name) for name in inputs if Path(name).is_dir()]
    ):
        below = count_below(folder)
        if below:
            many = f"{below} videos" if below > 1 else "a video"
            print(f"note: {folder}: {many} in folders below it left out; --recursive takes them", file=sys.stderr, flush=True)
    rows: Sequence[BatchRow]
    with make_batch_display(quiet=messages.quiet, as_json=messages.as_json) as display:
        rows = restore_batch(
            inputs,
            output,
            options,
            on_start=display.start,
            on_row=display.row,
            on_progress=display.progress,
            dry_run=work.dry_run,
        )
    failed = [row for row in rows if row.state == "failed"]
    if messages.as_json:
        print_json({"files": [row.to_dict() for row in rows], "failed": len(failed)})
    elif not messages.quiet:
        print_summary(rows, None if work.dry_run else output)
    if failed:
        raise typer.Exit(1)
