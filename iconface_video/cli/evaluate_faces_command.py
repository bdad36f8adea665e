"""`iconface-video evaluate faces`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="Folder of aligned faces with an index.csv (file, split, identity); may be given more than once.",
    ),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where report.html and report.json go.")]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace the report in that folder.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Same seed, same faces, damage and noise.")]


def faces(
    data: DataOption,
    output: OutputOption,
    split: Annotated[str, typer.Option(metavar="val|train", help="Which rows of the index.")] = "val",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Faces, spread over the people.")] = 32,
    size: Annotated[int, typer.Option(metavar="PX", help="Size of the crops; smaller pictures are left out.")] = 256,
    strengths: Annotated[
        str,
        typer.Option(metavar="LIST", help="Of the degradation, 0 to 20: numbers, or ranges over which the faces are spread."),
    ] = "4,6,8,10,12,14,16",
    references: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Rows: numbers of photos of the person; 3of10: the best three of ten, as the program chooses them; "
            "wrong: another person's; truth: the truth's own.",
        ),
    ] = "0,1,3,5,wrong,truth",
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="embedded, a model folder, hub:owner/name, or none.")
    ] = "embedded",
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=100, help="Sampler steps; the model's own number when not given.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="TEXT", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="TEXT", help="auto, float32, bfloat16 or float16.")] = "auto",
    baseline_onnx: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE", help="A restorer exported to ONNX (CodeFormer, GFPGAN ...); may be given more than once."
        ),
    ] = None,
    onnx_weight: Annotated[
        float, typer.Option(metavar="X", help="Second input of CodeFormer exports: 0 quality, 1 fidelity.")
    ] = 0.7,
    identity: Annotated[
        str, typer.Option(metavar="TEXT", help="Who judges the likeness: dlib, embedded, or a folder of an identity encoder.")
    ] = "dlib",
    yunet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YuNet's ONNX file: also compare our detector with it.")
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Leave out: ssim, lpips, niqe, identity, landmarks, unsharp, sheets or encoder; may be repeated.",
        ),
    ] = None,
    sheet_rows: Annotated[int, typer.Option(metavar="N", min=1, help="Faces on each sheet of pictures.")] = 12,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Faces per model call.")] = 8,
    seed: SeedOption = 7,
    force: ForceOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure the restorer on held-out faces, beside the input as it is, unsharp masking and any ONNX restorer.

    Examples:

      iconface-video evaluate faces --data faces/ -o report/

      iconface-video evaluate faces --data faces/ -o report/ --size 128 --strengths 4-8,9-16 --references 0,3,wrong --count 64

      iconface-video evaluate faces --data faces/ -o report/ --baseline-onnx codeformer.onnx --model runs/mine/model
    """
    from iconface_video.cli.display import make_display
    from iconface_video.errors import UsageError
    from iconface_video.evaluate.face_settings import FaceEvaluation, parse_levels, parse_references
    from iconface_video.evaluate.report import check_folder, write_report

    if split not in ("val", "train"):
        raise UsageError(f"split is '{split}', must be val or train")
    settings = FaceEvaluation(
        folders=tuple(str(folder) for folder in data),
        split=split,  # type: ignore[arg-type]
        count=count,
        size=size,
        levels=parse_levels(strengths),
        references=parse_references(references),
        model=None if model == "none" else model,
        steps=steps,
        device=device,
        dtype=dtype,
        onnx=tuple(baseline_onnx or ()),
        onnx_weight=onnx_weight,
        identity=identity,
        skip=frozenset(skip or ()),
        seed=seed,
        sheet_rows=sheet_rows,
        batch=batch,
    )
    check_folder(output, force)

    from iconface_video.pipelines.evaluate import evaluate_faces

    with make_display(quiet=quiet, as_json=False) as display:
        report = evaluate_faces(settings, yunet, command_line(), display)
    typer.echo(f"report: {write_report(report, output, force)}")


def command_line() -> str:
    """What was typed, for the report."""
    return shlex.join(["iconface-video", *sys.argv[1:]])
