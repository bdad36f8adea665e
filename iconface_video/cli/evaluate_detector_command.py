"""`iconface-video evaluate detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.evaluate_faces_command import ForceOption, OutputOption, SeedOption, command_line


def detector(
    output: OutputOption,
    yunet: Annotated[Path, typer.Option(metavar="FILE", help="YuNet's ONNX file (face_detection_yunet_*.onnx).")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FOLDER", help="Aligned faces with an index.csv; clean and damaged ones."),
    ] = None,
    pictures: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Instead: a folder of whole pictures.")] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Faces, or pictures.")] = 64,
    size: Annotated[int, typer.Option(metavar="PX", help="Size of the aligned faces.")] = 256,
    strengths: Annotated[str, typer.Option(metavar="LIST", help="Of the degradation of aligned faces.")] = "6,12",
    seed: SeedOption = 7,
    force: ForceOption = False,
) -> None:
    """Compare our face detector with YuNet: faces that both find, overlap of the boxes, distance of the landmarks.

    Example: iconface-video evaluate detector --yunet yunet.onnx --pictures frames/ -o report/
    """
    from iconface_video.errors import UsageError
    from iconface_video.evaluate.face_settings import FaceEvaluation, parse_levels
    from iconface_video.evaluate.report import check_folder, write_report

    if (not data) == (pictures is None):
        raise UsageError("give either --data with aligned faces, or --pictures with whole ones")
    folders = tuple(str(folder) for folder in data or ())
    settings = FaceEvaluation(folders, count=count, size=size, levels=parse_levels(strengths), references=(), seed=seed)
    check_folder(output, force)

    from iconface_video.pipelines.evaluate_parts import evaluate_detector

    report = evaluate_detector(settings, yunet, pictures, command=command_line())
    typer.echo(f"report: {write_report(report, output, force)}")
