"""`iconface-video run`."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from iconface_video.cli.display import counted, duration, make_display, print_json, print_rows, stoppable
from iconface_video.cli.options import existing, with_options
from iconface_video.cli.shared_options import FORCE, Messages, Part, Photos
from iconface_video.configs import SettingsChoice
from iconface_video.settings import OptionForm, setting

if TYPE_CHECKING:
    from iconface_video.pipelines.estimate import Estimate
    from iconface_video.session.clip_faces import ClipRequest
    from iconface_video.session.run_report import RunReport

SECTIONS = ("render", "encode", "restore", "anchors", "survey", "read", "engine")
"""Of the settings that a run takes."""


@dataclass(frozen=True)
class Files:
    """What is read and what is written."""

    input: Path = setting(form=OptionForm(metavar="INPUT", is_argument=True, read=existing("video")), help="The video.")
    output: Path | None = setting(
        None,
        form=OptionForm(("--output", "-o"), "FILE"),
        help="Where to write; NAME.restored.mp4 beside the input when not given.",
    )


@dataclass(frozen=True)
class People(Photos):
    """Who is in the video."""

    people_file: Path | None = setting(
        None,
        form=OptionForm(("--people",), "FILE", read=existing("people file")),
        help="A people.yaml that `people` wrote and you edited: who is who, who is skipped.",
    )


@dataclass(frozen=True)
class Work:
    """What may be replaced, and what is kept or written beside the output."""

    force: bool = setting(False, form=FORCE, help="Replace the output if it exists.")
    keep_work: bool = setting(False, help="Keep the restored faces, so that `render` can use them again.")
    work: Path | None = setting(
        None,
        form=OptionForm(metavar="FOLDER"),
        help="Where the restored faces lie meanwhile; beside the output if not given.",
    )
    fresh: bool = setting(False, help="Start over: forget what an unfinished run of this output left behind.")
    report: bool = setting(
        False,
        help="Also write a page about the run: people, quality before and after, what was skipped, pictures. "
        "NAME.report.html beside the output, or `--report FILE.html`.",
    )
    report_to: Path | None = setting(None, form=OptionForm(metavar="FILE"), help="As --report FILE.html.")


@dataclass(frozen=True)
class RunMessages(Messages):
    """What is said; and whether more than that is done."""

    dry_run: bool = setting(False, help="Check input and options, say what would be written, stop.")


@with_options(*SECTIONS)
def run(
    context: typer.Context, files: Files, people: People, choice: SettingsChoice, part: Part, work: Work, messages: RunMessages
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
    from iconface_video.identity.grouping import ReferenceChoice
    from iconface_video.pipelines.choosing import choose_settings
    from iconface_video.session.clip_faces import ClipRequest
    from iconface_video.video.output_plan import usual_suffix
    from iconface_video.video.output_size import plan_enlarged
    from iconface_video.video.probe import probe

    references = ReferenceChoice(people.reference, people.person, people.people_file)
    if part.preview is not None:
        part = part.around(probe(files.input))
        preview = files.input.with_name(f"{files.input.stem}.preview{usual_suffix(files.input)}")
        files = replace(files, output=files.output or preview)
    with stoppable():
        chosen = choose_settings(files.input, choice, files.output, work.work, fresh=work.fresh)
    settings = chosen.settings
    if messages.dry_run:
        places = (part.start, part.end, work.force, work.work)
        request = ClipRequest(files.input, files.output, settings, references, *places, chosen=chosen.preset)
        return _dry_run(request, messages.as_json)

    from iconface_video.pipelines.report import FaceObserver, check_page, page_of, write_page
    from iconface_video.pipelines.restore import restore_video

    observer = FaceObserver() if work.report or work.report_to is not None else None
    page = work.report_to
    if observer is not None:
        page = page or page_of(
            plan_enlarged(probe(files.input), files.output, settings.encode, settings.render, force=True).path
        )
        check_page(page, work.force)
    with stoppable(), make_display(quiet=messages.quiet, as_json=messages.as_json) as display:
        done = restore_video(
            files.input,
            files.output,
            settings=chosen,
            references=references,
            start=part.start,
            end=part.end,
            force=work.force,
            work=work.work,
            keep_work=work.keep_work,
            fresh=work.fresh,
            observer=observer,
            on_progress=display,
        )
    if observer is not None and page is not None:
        write_page(page, done, observer, settings, shlex.join(["iconface-video", *(context.obj or [])]))
    if messages.as_json:
        print_json({**done.to_dict(), "page": page})
    elif not messages.quiet:
        print_rows([*summary(done), *([("report", str(page))] if page else [])])


def _dry_run(request: ClipRequest, as_json: bool) -> None:
    from iconface_video.pipelines.estimate import dry_run

    found = dry_run(request)
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
        *(
            [
                (
                    "learning",
                    f"about {duration(estimate.learn_seconds)} of that: people from their photos, before the first face is restored",
                )
            ]
            if estimate.learn_seconds
            else []
        ),
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
