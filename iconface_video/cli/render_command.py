"""`iconface-video render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.display import counted, duration, make_display, print_json, print_rows
from iconface_video.cli.options import AsJson, Overrides, Quiet, present, settings_options
from iconface_video.configs import DEFAULTS, load_preset


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
