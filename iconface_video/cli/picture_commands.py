"""`iconface-video compare`, `render` and `degrade` (a clip or a folder of pictures, to make paired data)."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.display import counted, duration, make_display, print_json, print_rows
from iconface_video.cli.options import existing, present, with_options
from iconface_video.cli.shared_options import FORCE, TIME, Messages
from iconface_video.errors import UsageError
from iconface_video.render.compare_settings import CompareSettings
from iconface_video.settings import MAX_STRENGTH, EncodeSettings, OptionForm, RunSettings, setting


def _labels(text: str) -> tuple[str, str]:
    first, comma, second = (part.strip() for part in text.partition(","))
    if not comma or not first or not second or "," in second:
        raise UsageError(f"--labels is '{text}', must be two names with a comma between them, for example before,after")
    return first, second


@dataclass(frozen=True)
class CompareOptions:
    """Which videos, what is written, and what of them."""

    a: Path = setting(
        form=OptionForm(metavar="A", is_argument=True, read=existing("video")),
        help="The first video; its sound, times and size are kept.",
    )
    b: Path = setting(
        form=OptionForm(metavar="B", is_argument=True, read=existing("video")),
        help="The second video, shown at A's times and in A's size.",
    )
    output: Path | None = setting(
        None,
        form=OptionForm(("--output", "-o"), "FILE"),
        help="The film; A.compare.mp4 beside A when neither it nor --html is given.",
    )
    html: Path | None = setting(
        None,
        form=OptionForm(metavar="PATH"),
        help="A page with sliders: a folder (stills and both films), or a file NAME.html (stills inside).",
    )
    labels: tuple[str, str] | None = setting(
        None,
        form=OptionForm(metavar="A,B", read=_labels),
        help="Names on the pictures; the files' names when not given.",
    )
    show_labels: bool = setting(
        True, form=OptionForm(("--no-labels",), read=operator.not_), help="No names on the film's pictures."
    )
    offset: Fraction | None = setting(None, form=TIME, help="Where in A the video B begins, when B was made from a part of A.")
    start: Fraction | None = setting(None, form=TIME, help="Begin here in A: seconds or h:mm:ss.")
    end: Fraction | None = setting(None, form=TIME, help="Stop here in A: seconds or h:mm:ss.")
    at: tuple[Fraction, ...] = setting(
        (), form=TIME, help="A still of this moment of A in the page; may be given more than once."
    )
    crop_to_face: bool = setting(False, help="Show only where the largest face of A is.")
    force: bool = setting(False, form=FORCE, help="Replace what exists.")


@with_options()
def compare(options: CompareOptions, settings: CompareSettings, encode: EncodeSettings, messages: Messages) -> None:
    """Show two videos together: before and after, or two settings.

    Examples:

      iconface-video compare tape.mp4 tape.restored.mp4 -o side.mp4

      iconface-video compare tape.mp4 tape.restored.mp4 -o wipe.mp4 --mode wipe --labels before,after

      iconface-video compare tape.mp4 tape.restored.mp4 --html look.html --moments 9

      iconface-video compare tape.mp4 tape.preview.mp4 -o side.mp4 --offset 1:05 --crop-to-face
    """
    from iconface_video.pipelines.compare import CompareRequest, compare_videos
    from iconface_video.video.output_plan import usual_suffix

    request = CompareRequest(
        options.a,
        options.b,
        options.labels,
        options.offset,
        options.start,
        options.end,
        options.at,
        options.crop_to_face,
        options.show_labels,
    )
    output = options.output
    if output is None and options.html is None:
        output = options.a.with_name(f"{options.a.stem}.compare{usual_suffix(options.a)}")
    with make_display(quiet=messages.quiet, as_json=messages.as_json) as display:
        report = compare_videos(
            request, output, options.html, settings=settings, encode=encode, force=options.force, on_progress=display
        )
    if messages.as_json:
        print_json({"output": report.output, "page": report.page, "frames": report.frames, "seconds": report.seconds,
                    "notes": list(report.notes)})  # fmt: skip
    elif not messages.quiet:
        rows = [("output", str(report.output))] if report.output else []
        rows += [("page", str(report.page))] if report.page else []
        rows += [("shown", counted(report.frames, "frame")), ("time", duration(report.seconds))]
        print_rows([*rows, *(("note", note) for note in report.notes)])


@with_options("render", "encode", preset_help="Settings to start from; only blending and output are used.")
def render(
    *,
    work: Annotated[Path, typer.Argument(metavar="WORK", help="Work folder that `run --keep-work` left.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write; NAME.restored.mp4 beside the input when not given."
        ),
    ] = None,
    input: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="Where the video is now, if it was moved since.")
    ] = None,
    settings: RunSettings,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output if it exists.")] = False,
    messages: Messages,
) -> None:
    """Make another output from a kept work folder, without running the model again.

    Examples:

      iconface-video run tape.mp4 -o tape-full.mp4 --keep-work

      iconface-video render tape-full.mp4.iconface-work -o tape-half.mp4 --strength 0.5

      iconface-video render tape-full.mp4.iconface-work -o tape.mov --codec prores
    """
    present(work, "work folder")

    from iconface_video.pipelines.render import render_store

    with make_display(quiet=messages.quiet, as_json=messages.as_json) as display:
        report = render_store(
            work, output, render=settings.render, encode=settings.encode, input=input, force=force, on_progress=display
        )
    if messages.as_json:
        print_json({"input": report.input, "output": report.output, "frames": report.frames, "seconds": report.seconds,
                    "notes": list(report.notes)})  # fmt: skip
    elif not messages.quiet:
        spent = duration(sum(report.seconds.values()))
        rows = [("output", str(report.output)), ("written", counted(report.frames, "frame")), ("time", spent)]
        print_rows([*rows, *(("note", note) for note in report.notes)])


@dataclass(frozen=True)
class Damage:
    """What is damaged, and how."""

    source: Path = setting(form=OptionForm(metavar="INPUT", is_argument=True), help="A clip, or a folder of pictures.")
    out: Path = setting(form=OptionForm(("--output", "-o")), help="The damaged clip, or a folder for the damaged pictures.")
    preset: str | None = setting(
        None,
        form=OptionForm(("--preset",)),
        help="light, medium, heavy, vhs, film, or a medium: hi8, video8, vhs-sp, vhs-lp, vhs-ep, vhs-copy, 16mm, 16mm-bw, super8, 8mm, super8-faded, dv, phone, broadcast.",
    )
    effect: tuple[str, ...] = setting((), help="One more effect on top; may be given several times. An unknown name lists all.")
    strength: float | None = setting(
        None, low=0, high=round(MAX_STRENGTH), help="Pictures only: the trainers' mix of blur, shrinking, noise and JPEG."
    )
    seed: int = setting(42, low=0, help="Same seed, same damage.")
    crf: int = setting(12, low=0, high=51, help="Quality of the written clip; the damage is what effects do.")
    force: bool = setting(False, form=OptionForm(("--force/--no-force",)), help="Write over what is there.")


@with_options()
def degrade(options: Damage) -> None:
    """Damage a clip or a folder of pictures as old tapes, films and poor compression do.

    Example: iconface-video degrade clip.mp4 -o clip-vhs.mp4 --preset vhs
    """
    from iconface_video.degrade.damaged_files import degrade_clip, degrade_pictures
    from iconface_video.degrade.presets import effects_named

    if options.source.is_dir():
        chosen = effects_named(options.preset, list(options.effect)) if options.preset or options.effect else ()
        count = degrade_pictures(
            options.source, options.out, options.seed, strength=options.strength, effects=chosen, force=options.force
        )
        typer.echo(f"{options.out}: {count} pictures")
        return
    if options.strength is not None:
        raise UsageError("--strength is for folders of pictures; a clip takes --preset or --effect")
    effects = effects_named(options.preset, list(options.effect))
    typer.echo(str(degrade_clip(options.source, options.out, effects, options.seed, crf=options.crf, force=options.force)))
