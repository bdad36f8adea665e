"""`iconface-video evaluate --video`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.display import make_display, print_json, print_rows
from iconface_video.cli.options import Quiet, present, seconds
from iconface_video.configs import DEFAULTS, load_preset
from iconface_video.errors import UsageError


def video(
    clips: Annotated[
        list[Path], typer.Option("--video", metavar="CLEAN", help="A clean clip, with faces; may be given more than once.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the report goes.")],
    damage: Annotated[
        list[str] | None,
        typer.Option(
            "--damage",
            metavar="NAME",
            help="A preset of `degrade`: light, medium, heavy, vhs-sp, super8 ...; may be given more than once. (medium, heavy)",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="WORDS",
            help="A way to restore: words joined by '+': default, a noise model, raw, no-filter, per-frame, or SETTING=VALUE. "
            "May be given more than once; what is asked is asked of the first.",
        ),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="All noise models, each with and without temporal filter and smoothing.")
    ] = False,
    start: Annotated[str, typer.Option(metavar="TIME", help="Where in the clips to begin: seconds or h:mm:ss.")] = "0",
    length: Annotated[str, typer.Option("--seconds", metavar="TIME", help="How much of each clip.")] = "3",
    still: Annotated[
        bool, typer.Option("--still", help="Repeat the stretch's first frame: a face that does not move at all.")
    ] = False,
    preset: Annotated[
        str, typer.Option("--preset", "-p", metavar="NAME", help="Settings that the variants change; see `config list`.")
    ] = DEFAULTS.name,
    model: Annotated[str | None, typer.Option(metavar="TEXT", help="embedded, a checkpoint folder, or hub:owner/name.")] = None,
    size: Annotated[int, typer.Option(metavar="N", min=64, max=1024, help="px of the face crops that are measured.")] = 256,
    identity: Annotated[str, typer.Option(metavar="auto|dlib|embedded", help="Who tells people apart.")] = "auto",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, same damage.")] = 42,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="An earlier report of the same clips, by another release perhaps: ratios to it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an earlier report.")] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report's figures as one JSON object.")] = False,
) -> None:
    """Measure how steady restored videos are: damage clean clips, restore them in several ways, compare.

    Examples:

      iconface-video evaluate --video talk.mp4 --seconds 2 -o steadiness

      iconface-video evaluate --video a.mp4 --video b.mp4 --damage heavy --damage vhs --grid -o noise-models

      iconface-video evaluate --video talk.mp4 --variant default --variant steps=2 --variant start_sigma=0.6 -o warm-starts

      iconface-video evaluate --video talk.mp4 --seconds 2 -o new --against steadiness
    """
    from iconface_video.evaluate.video_variants import GRID, USUAL, parse_variants
    from iconface_video.pipelines.evaluate_video import VideoChoice, evaluate_video

    if identity not in ("auto", "dlib", "embedded"):
        raise UsageError(f"--identity is '{identity}', must be auto, dlib or embedded")
    if grid and variant:
        raise UsageError("--grid and --variant cannot be given together")
    choice = VideoChoice(
        clips=tuple(present(path, "clip") for path in clips),
        damages=tuple(dict.fromkeys(damage or ("medium", "heavy"))),
        variants=parse_variants(GRID if grid else variant or USUAL),
        start=seconds(start),
        seconds=seconds(length),
        still=still,
        size=size,
        seed=seed,
        identity=identity,  # type: ignore[arg-type]
    )
    settings = load_preset(preset).settings({"restore": {"model": model}} if model else None)
    command = " ".join(["iconface-video", *sys.argv[1:]])
    with make_display(quiet=quiet, as_json=as_json) as display:
        report = evaluate_video(
            choice, out, settings=settings, command=command, force=force, against=against, on_progress=display
        )
    if as_json:
        print_json({name: value if math.isfinite(value) else None for name, value in report.figures.items()})
    elif not quiet:
        aims = [
            (name.removeprefix("aim."), f"{value:.3f}") for name, value in report.figures.items() if name.startswith("aim.")
        ]
        print_rows([("report", str(out / "report.html")), *aims])
