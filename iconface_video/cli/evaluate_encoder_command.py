"""`iconface-video evaluate encoder`."""

from __future__ import annotations

from typing import Annotated

import typer

from iconface_video.cli.evaluate_faces_command import DataOption, ForceOption, OutputOption, SeedOption, command_line


def encoder(
    data: DataOption,
    output: OutputOption,
    encoder: Annotated[str, typer.Option(metavar="TEXT", help="embedded, or a folder of an identity encoder.")] = "embedded",
    photos: Annotated[int, typer.Option(metavar="N", min=4, help="At most so many photos of each set.")] = 400,
    seed: SeedOption = 7,
    force: ForceOption = False,
) -> None:
    """Measure how well the identity encoder tells held-out people apart, and whether its norm falls with the damage.

    Example: iconface-video evaluate encoder --data faces/ -o report/
    """
    from iconface_video.evaluate.report import check_folder, write_report

    check_folder(output, force)

    from iconface_video.pipelines.evaluate_parts import evaluate_encoder

    report = evaluate_encoder(data, encoder, photos, seed, command_line())
    typer.echo(f"report: {write_report(report, output, force)}")
