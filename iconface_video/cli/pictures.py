"""`iconface-video compare`.

`iconface-video render`.

`iconface-video degrade`: damage a clip or a folder of pictures, to make paired data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.display import counted, duration, make_display, print_json, print_rows
from iconface_video.cli.options import AsJson, Overrides, Quiet, optional_seconds, present, seconds, settings_options
from iconface_video.configs import DEFAULTS, load_preset, settings_from
from iconface_video.errors import UsageError


@settings_options("encode")
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The first video; its sound, times and size are kept.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The second video, shown at A's times and in A's size.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The film; A.compare.mp4 beside A when neither it nor --html is given."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="A page with sliders: a folder (stills and both films), or a file NAME.html (stills inside)."
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", "-m", metavar="side|stack|wipe|blink", help="How both are shown in the film.")
    ] = "side",
    divider: Annotated[
        float | None,
        typer.Option(metavar="X", help="Where a wipe's divider stands, 0 (left) to 1; it moves to and fro when not given."),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long the divider takes to go and return (4 when not given), or A and B are shown once each (2).",
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="A,B", help="Names on the pictures; the files' names when not given.")
    ] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="No names on the film's pictures.")] = False,
    offset: Annotated[
        str | None, typer.Option(metavar="TIME", help="Where in A the video B begins, when B was made from a part of A.")
    ] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Begin here in A: seconds or h:mm:ss.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Stop here in A: seconds or h:mm:ss.")] = None,
    moments: Annotated[
        int | None, typer.Option(metavar="N", help="Stills in the page, where A and B differ most (6 when not given).")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="TIME", help="A still of this moment of A in the page; may be given more than once."),
    ] = None,
    crop_to_face: Annotated[bool, typer.Option("--crop-to-face", help="Show only where the largest face of A is.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what exists.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    overrides: Overrides,
) -> None:
    """Show two videos together: before and after, or two settings.

    Examples:

      iconface-video compare tape.mp4 tape.restored.mp4 -o side.mp4

      iconface-video compare tape.mp4 tape.restored.mp4 -o wipe.mp4 --mode wipe --labels before,after

      iconface-video compare tape.mp4 tape.restored.mp4 --html look.html --moments 9

      iconface-video compare tape.mp4 tape.preview.mp4 -o side.mp4 --offset 1:05 --crop-to-face
    """
    encode = settings_from(overrides, "options").encode
    present(a, "video")
    present(b, "video")
    names = _labels(labels)

    from iconface_video.pipelines.compare import CompareRequest, compare_videos
    from iconface_video.render.compare import CompareSettings
    from iconface_video.video.output_plan import usual_suffix

    chosen = {"mode": mode, "divider": divider, "period": period, "moments": moments}
    if period is None and mode == "blink":
        chosen["period"] = 2.0
    settings = CompareSettings(**{name: value for name, value in chosen.items() if value is not None})  # type: ignore[arg-type]
    request = CompareRequest(
        a,
        b,
        names,
        optional_seconds(offset),
        optional_seconds(start),
        optional_seconds(end),
        tuple(seconds(text) for text in at or []),
        crop_to_face,
        show_labels=not no_labels,
    )
    if output is None and html is None:
        output = a.with_name(f"{a.stem}.compare{usual_suffix(a)}")
    with make_display(quiet=quiet, as_json=as_json) as display:
        report = compare_videos(request, output, html, settings=settings, encode=encode, force=force, on_progress=display)
    if as_json:
        print_json({"output": report.output, "page": report.page, "frames": report.frames, "seconds": report.seconds,
                    "notes": list(report.notes)})  # fmt: skip
    elif not quiet:
        rows = [("output", str(report.output))] if report.output else []
        rows += [("page", str(report.page))] if report.page else []
        rows += [("shown", counted(report.frames, "frame")), ("time", duration(report.seconds))]
        print_rows([*rows, *(("note", note) for note in report.notes)])


def _labels(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    first, comma, second = (part.strip() for part in text.partition(","))
    if not comma or not first or not second or "," in second:
        raise UsageError(f"--labels is '{text}', must be two names with a comma between them, for example before,after")
    return first, second


@settings_options("render", "encode")
def render(
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
    preset: Annotated[
        str, typer.Option("--preset", "-p", metavar="NAME", help="Settings to start from; only blending and output are used.")
    ] = DEFAULTS.name,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output if it exists.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    overrides: Overrides,
) -> None:
    """Make another output from a kept work folder, without running the model again.

    Examples:

      iconface-video run tape.mp4 -o tape-full.mp4 --keep-work

      iconface-video render tape-full.mp4.iconface-work -o tape-half.mp4 --strength 0.5

      iconface-video render tape-full.mp4.iconface-work -o tape.mov --codec prores
    """
    settings = load_preset(preset).settings(overrides)
    present(work, "work folder")

    from iconface_video.pipelines.render import render_store

    with make_display(quiet=quiet, as_json=as_json) as display:
        report = render_store(
            work, output, render=settings.render, encode=settings.encode, input=input, force=force, on_progress=display
        )
    if as_json:
        print_json({"input": report.input, "output": report.output, "frames": report.frames, "seconds": report.seconds,
                    "notes": list(report.notes)})  # fmt: skip
    elif not quiet:
        spent = duration(sum(report.seconds.values()))
        rows = [("output", str(report.output)), ("written", counted(report.frames, "frame")), ("time", spent)]
        print_rows([*rows, *(("note", note) for note in report.notes)])


def degrade(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A clip, or a folder of pictures.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The damaged clip, or a folder for the damaged pictures.")],
    preset: Annotated[str | None, typer.Option("--preset", help="light, medium, heavy, vhs or film.")] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option("--effect", help="One more effect on top; may be given several times. An unknown name lists all."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option("--strength", min=0, max=20, help="Pictures only: the trainers' mix of blur, shrinking, noise and JPEG."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same damage.")] = 42,
    crf: Annotated[
        int, typer.Option("--crf", min=0, max=51, help="Quality of the written clip; the damage is what effects do.")
    ] = 12,
    force: Annotated[bool, typer.Option("--force/--no-force", help="Write over what is there.")] = False,
) -> None:
    """Damage a clip or a folder of pictures as old tapes, films and poor compression do.

    Example: iconface-video degrade clip.mp4 -o clip-vhs.mp4 --preset vhs
    """
    from iconface_video.degrade.files import degrade_clip, degrade_pictures
    from iconface_video.degrade.presets import effects_named
    from iconface_video.errors import UsageError

    if source.is_dir():
        effects = effects_named(preset, effect or []) if preset or effect else ()
        count = degrade_pictures(source, out, seed, strength=strength, effects=effects, force=force)
        typer.echo(f"{out}: {count} pictures")
        return
    if strength is not None:
        raise UsageError("--strength is for folders of pictures; a clip takes --preset or --effect")
    written = degrade_clip(source, out, effects_named(preset, effect or []), seed, crf=crf, force=force)
    typer.echo(str(written))
