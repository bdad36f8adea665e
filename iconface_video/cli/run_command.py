"""`iconface-video run`."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iconface_video.cli.display import counted, duration, make_display, print_json, print_rows
from iconface_video.cli.options import (
    AsJson,
    Overrides,
    PersonFolders,
    PresetOrLook,
    Quiet,
    optional_seconds,
    people,
    present,
    seconds,
    settings_options,
)
from iconface_video.cli.preset_choice import preset_for
from iconface_video.cli.stopping import stoppable
from iconface_video.errors import UsageError

if TYPE_CHECKING:
    from iconface_video.pipelines.estimate import Estimate
    from iconface_video.pipelines.finding import ReferenceChoice
    from iconface_video.run.report import RunReport
    from iconface_video.settings import RunSettings
    from iconface_video.types import VideoInfo

_WHAT = "video"
SECTIONS = ("render", "encode", "restore", "anchors", "survey", "read", "engine")
"""Of the settings that a run obeys."""


@settings_options(*SECTIONS)
def run(
    context: typer.Context,
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="The video.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write; NAME.restored.mp4 beside the input when not given."
        ),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference", "-r", metavar="PHOTO", help="A photo of a person in the video; may be given more than once."
        ),
    ] = None,
    person: PersonFolders = None,
    people_file: Annotated[
        Path | None,
        typer.Option(
            "--people", metavar="FILE", help="A people.yaml that `people` wrote and you edited: who is who, who is skipped."
        ),
    ] = None,
    preset: PresetOrLook = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Begin here: seconds or h:mm:ss.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Stop here: seconds or h:mm:ss.")] = None,
    preview: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only so many seconds, from --start or from the middle, into NAME.preview.mp4."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output if it exists.")] = False,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="Keep the restored faces, so that `render` can use them again.")
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the restored faces lie meanwhile; beside the output if not given."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over: forget what an unfinished run of this output left behind.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Also write a page about the run: people, quality before and after, what was skipped, pictures. "
            "NAME.report.html beside the output, or `--report FILE.html`.",
        ),
    ] = False,
    report_to: Annotated[Path | None, typer.Option("--report-to", metavar="FILE", help="As --report FILE.html.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check input and options, say what would be written, stop.")
    ] = False,
    *,
    overrides: Overrides,
) -> None:
    """Restore the faces in a video.

    Sound, subtitles, chapters, timing and all of the picture outside the faces stay as they are. When a run was stopped or
    killed, the same command goes on where it was.

    Examples:

      iconface-video run tape.mp4

      iconface-video run tape.mp4 -o better.mp4 --reference anna.jpg --strength 0.8

      iconface-video run party.mkv --person anna=photos/anna --person ben=photos/ben

      iconface-video run party.mkv --people party.people/people.yaml

      iconface-video run film.mov --preset film --codec prores --preview 5

      iconface-video run tape.mp4 --report
    """
    part = Part(optional_seconds(start), optional_seconds(end), None if preview is None else seconds(preview))
    named = people(person or [])
    photos = tuple(present(path, "reference photo") for path in reference or [])
    present(input, _WHAT)
    if people_file is not None:
        present(people_file, "people file")
    settings = preset_for(input, preset, quiet or as_json).settings(overrides)

    from iconface_video.pipelines.finding import ReferenceChoice
    from iconface_video.video.output_plan import plan_output, usual_suffix
    from iconface_video.video.probe import probe

    if part.preview is not None:
        part, output = part.around(probe(input)), output or input.with_name(f"{input.stem}.preview{usual_suffix(input)}")
    if dry_run:
        return _dry_run(input, output, settings, ReferenceChoice(photos, named, people_file), part, force, work, as_json)

    from iconface_video.pipelines.report import FaceObserver, check_page, page_of, write_page
    from iconface_video.pipelines.restore import restore_video

    observer = FaceObserver() if report or report_to is not None else None
    page = report_to
    if observer is not None:
        page = page or page_of(plan_output(probe(input), output, settings.encode, force=True).path)
        check_page(page, force)
    with stoppable(), make_display(quiet=quiet, as_json=as_json) as display:
        done = restore_video(
            input,
            output,
            settings=settings,
            references=ReferenceChoice(photos, named, people_file),
            start=part.start,
            end=part.end,
            force=force,
            work=work,
            keep_work=keep_work,
            fresh=fresh,
            observer=observer,
            on_progress=display,
        )
    if observer is not None and page is not None:
        write_page(page, done, observer, settings, shlex.join(["iconface-video", *(context.obj or [])]))
    if as_json:
        print_json({**done.to_dict(), "page": page})
    elif not quiet:
        print_rows([*summary(done), *([("report", str(page))] if page else [])])


def _dry_run(
    input: Path,
    output: Path | None,
    settings: RunSettings,
    references: ReferenceChoice,
    part: Part,
    force: bool,
    work: Path | None,
    as_json: bool,
) -> None:
    from iconface_video.pipelines.checks import dry_run

    found = dry_run(
        input, output, settings=settings, references=references, start=part.start, end=part.end, force=force, work=work
    )
    if as_json:
        estimate = None if found.estimate is None else asdict(found.estimate)
        return print_json({"output": found.output.path, "notes": list(found.notes), "estimate": estimate})
    print_rows([("would write", str(found.output.path)), *_expected(found.estimate), *(("note", note) for note in found.notes)])


def _expected(estimate: Estimate | None) -> list[tuple[str, str]]:
    if estimate is None:
        return [("expected", "not known: the file does not say how long it is")]
    return [
        ("expected", f"about {counted(estimate.frames, 'frame')}, {counted(estimate.faces, 'face')} to restore"),
        ("time", f"about {duration(estimate.seconds)} on this machine"),
        ("disk", f"about {max(1, round(estimate.disk_bytes / 1e6))} MB for the output and what is kept meanwhile"),
        ("memory", f"about {estimate.memory_bytes / 2**30:.1f} GB"),
    ]


def with_report_file(arguments: list[str]) -> list[str]:
    """`--report FILE.html` as `--report-to=FILE.html`: --report may stand alone, too, which no option parser here can do."""
    found: list[str] = []
    for item in arguments:
        if found and found[-1] == "--report" and item.lower().endswith((".html", ".htm")):
            found[-1] = f"--report-to={item}"
        else:
            found.append(item.replace("--report=", "--report-to=", 1) if item.startswith("--report=") else item)
    return found


@dataclass(frozen=True)
class Part:
    """What --start, --end and --preview ask for, in seconds."""

    start: Fraction | None
    end: Fraction | None
    preview: Fraction | None

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
        return Part(start, start + wanted, None)


def summary(report: RunReport) -> list[tuple[str, str]]:
    """What a person wants to know at the end."""
    rows = [("output", str(report.output))]
    if report.tracks:
        found = f"{counted(report.faces, 'face')} in {counted(report.tracks, 'track')}, {counted(report.people, 'person', 'people')}"
    else:
        found = "no face"
    rows.append(("found", found))
    restored = f"{counted(report.faces_restored, 'face')} in {report.frames_restored} of {counted(report.frames, 'frame')}"
    repeated = f" ({report.faces_repeated} of them repeats of the frame before)" if report.faces_repeated else ""
    rows.append(("restored", restored + repeated))
    skipped = {**report.left_alone, **report.not_tracked}
    rows += [("left alone", f"{counted(number, 'face')}: {reason}") for reason, number in sorted(skipped.items())]
    stages = ", ".join(f"{name} {duration(spent)}" for name, spent in report.seconds.items())
    rows.append(("time", f"{duration(sum(report.seconds.values()))} ({stages})"))
    if report.work is not None:
        rows.append(("kept", f"{report.work} (make another output with: iconface-video render {report.work} -o FILE)"))
    return [*rows, *(("note", note) for note in report.notes)]
