"""`iconface-video evaluate faces|video|detector|encoder`; main.py registers them.

Without a command's name it means `faces`, or `video` where --video is among the options: `evaluate --data F -o OUT` is
`evaluate faces --data F -o OUT`, and `evaluate --video CLIP ...` is `evaluate video --video CLIP ...`.
"""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from iconface_video.cli.display import make_display, print_json, print_rows
from iconface_video.cli.options import Quiet, present, seconds
from iconface_video.configs import DEFAULTS, load_preset
from iconface_video.errors import UsageError


class DefaultingGroup(TyperGroup):
    """A group that fills in the command's name when the first word is an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.filled_in(args))

    @staticmethod
    def filled_in(words: list[str]) -> list[str]:
        """The words with the command's name before them, where it was left out."""
        if not words or not words[0].startswith("-") or words[0] in ("-h", "--help"):
            return words
        is_video = any(word == "--video" or word.startswith("--video=") for word in words)
        return ["video" if is_video else "faces", *words]


app = typer.Typer(
    cls=DefaultingGroup,
    help="Measure the restorer, the identity encoder, the detector, or a restored video. Without a command: faces, or video with --video.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Measure the restorer, the identity encoder, the detector, or a restored video.

    Without a command's name: faces, or video where --video is given.
    """


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
    from iconface_video.lab.evaluate.face_protocol import FaceEvaluation, parse_levels, parse_references
    from iconface_video.pages.tables import check_folder, write_report

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

    from iconface_video.lab.evaluate.pipeline import evaluate_faces

    with make_display(quiet=quiet, as_json=False) as display:
        report = evaluate_faces(settings, yunet, command_line(), display)
    typer.echo(f"report: {write_report(report, output, force)}")


def command_line() -> str:
    """What was typed, for the report."""
    return shlex.join(["iconface-video", *sys.argv[1:]])


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
    from iconface_video.lab.evaluate.face_protocol import FaceEvaluation, parse_levels
    from iconface_video.pages.tables import check_folder, write_report

    if (not data) == (pictures is None):
        raise UsageError("give either --data with aligned faces, or --pictures with whole ones")
    folders = tuple(str(folder) for folder in data or ())
    settings = FaceEvaluation(folders, count=count, size=size, levels=parse_levels(strengths), references=(), seed=seed)
    check_folder(output, force)

    from iconface_video.lab.evaluate.pipeline import evaluate_detector

    report = evaluate_detector(settings, yunet, pictures, command=command_line())
    typer.echo(f"report: {write_report(report, output, force)}")


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
    from iconface_video.pages.tables import check_folder, write_report

    check_folder(output, force)

    from iconface_video.lab.evaluate.pipeline import evaluate_encoder

    report = evaluate_encoder(data, encoder, photos, seed, command_line())
    typer.echo(f"report: {write_report(report, output, force)}")


def video(
    clips: Annotated[
        list[Path], typer.Option("--video", metavar="CLEAN", help="A clean clip, with faces; may be given more than once.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the report goes.")],
    damage: Annotated[
        list[str] | None,
        typer.Option(
            "--damage", metavar="NAME", help="light, medium, heavy, vhs or film; may be given more than once. (medium, heavy)"
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
    from iconface_video.lab.evaluate.video_pipeline import VideoChoice, evaluate_video
    from iconface_video.lab.evaluate.video_variants import GRID, USUAL, parse_variants

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
