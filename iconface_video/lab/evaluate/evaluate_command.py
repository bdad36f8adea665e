"""`iconface-video evaluate faces|video|detector|encoder`; main.py registers them.

Without a command's name it means `faces`, or `video` where --video is among the options: `evaluate --data F -o OUT` is
`evaluate faces --data F -o OUT`, and `evaluate --video CLIP ...` is `evaluate video --video CLIP ...`.
"""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from iconface_video.cli.display import make_display, print_json, print_rows
from iconface_video.cli.options import existing, seconds, with_options
from iconface_video.errors import UsageError
from iconface_video.lab.evaluate.face_settings import DATA, DATA_HELP, FaceEvaluation, Level, parse_levels
from iconface_video.settings import OptionForm, RunSettings, setting


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


OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where report.html and report.json go.")]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace the report in that folder.")]
_COUNT = OptionForm(metavar="N")


@app.command("faces")
@with_options()
def faces(
    *,
    settings: FaceEvaluation,
    output: OutputOption,
    yunet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YuNet's ONNX file: also compare our detector with it.")
    ] = None,
    force: ForceOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure the restorer on held-out faces, beside the input as it is, unsharp masking and any ONNX restorer.

    Examples:

      iconface-video evaluate faces --data faces/ -o report/

      iconface-video evaluate faces --data faces/ -o report/ --size 128 --strengths 4-8,9-16 --references 0,3,wrong --count 64

      iconface-video evaluate faces --data faces/ -o report/ --baseline-onnx codeformer.onnx --model runs/mine/model
    """
    from iconface_video.pages.tables import check_folder, write_report

    check_folder(output, force)

    from iconface_video.lab.evaluate.face_pipeline import evaluate_faces

    with make_display(quiet=quiet, as_json=False) as display:
        report = evaluate_faces(settings, yunet, command_line(), display)
    typer.echo(f"report: {write_report(report, output, force)}")


def command_line() -> str:
    """What was typed, for the report."""
    return shlex.join(["iconface-video", *sys.argv[1:]])


@dataclass(frozen=True)
class DetectorOptions:
    """On which faces two detectors are compared."""

    yunet: Path = setting(form=OptionForm(metavar="FILE"), help="YuNet's ONNX file (face_detection_yunet_*.onnx).")
    data: tuple[str, ...] = setting((), form=DATA, help="Aligned faces with an index.csv; clean and damaged ones.")
    pictures: Path | None = setting(None, form=OptionForm(metavar="FOLDER"), help="Instead: a folder of whole pictures.")
    count: int = setting(64, low=1, form=_COUNT, help="Faces, or pictures.")
    size: int = setting(256, form=OptionForm(metavar="PX"), help="Size of the aligned faces.")
    strengths: tuple[Level, ...] = setting(
        parse_levels("6,12"),
        form=OptionForm(metavar="LIST", read=parse_levels, written="6,12"),
        help="Of the degradation of aligned faces.",
    )
    seed: int = setting(7, low=0, form=_COUNT, help="Same seed, same faces, damage and noise.")

    def __post_init__(self) -> None:
        if (not self.data) == (self.pictures is None):
            raise UsageError("give either --data with aligned faces, or --pictures with whole ones")


@app.command("detector")
@with_options()
def detector(output: OutputOption, options: DetectorOptions, force: ForceOption = False) -> None:
    """Compare our face detector with YuNet: faces that both find, overlap of the boxes, distance of the landmarks.

    Example: iconface-video evaluate detector --yunet yunet.onnx --pictures frames/ -o report/
    """
    from iconface_video.pages.tables import check_folder, write_report

    settings = FaceEvaluation(
        options.data, count=options.count, size=options.size, levels=options.strengths, references=(), seed=options.seed
    )
    check_folder(output, force)

    from iconface_video.lab.evaluate.face_pipeline import evaluate_detector

    report = evaluate_detector(settings, options.yunet, options.pictures, command=command_line())
    typer.echo(f"report: {write_report(report, output, force)}")


@app.command("encoder")
def encoder(
    data: Annotated[list[Path], typer.Option("--data", metavar="FOLDER", help=DATA_HELP)],
    output: OutputOption,
    encoder: Annotated[str, typer.Option(metavar="TEXT", help="embedded, or a folder of an identity encoder.")] = "embedded",
    photos: Annotated[int, typer.Option(metavar="N", min=4, help="At most so many photos of each set.")] = 400,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Same seed, same faces, damage and noise.")] = 7,
    force: ForceOption = False,
) -> None:
    """Measure how well the identity encoder tells held-out people apart, and whether its norm falls with the damage.

    Example: iconface-video evaluate encoder --data faces/ -o report/
    """
    from iconface_video.pages.tables import check_folder, write_report

    check_folder(output, force)

    from iconface_video.lab.evaluate.face_pipeline import evaluate_encoder

    report = evaluate_encoder(data, encoder, photos, seed, command_line())
    typer.echo(f"report: {write_report(report, output, force)}")


@dataclass(frozen=True)
class VideoOptions:
    """Which clips, damaged how, restored in which ways."""

    clips: tuple[Path, ...] = setting(
        form=OptionForm(("--video",), "CLEAN", read=existing("clip")),
        help="A clean clip, with faces; may be given more than once.",
    )
    damage: tuple[str, ...] = setting(
        ("medium", "heavy"),
        form=OptionForm(("--damage",), "NAME"),
        help="A preset of `degrade`: light, medium, heavy, vhs-sp, super8 ...; may be given more than once. (medium, heavy)",
    )
    variant: tuple[str, ...] = setting(
        (),
        form=OptionForm(("--variant",), "WORDS"),
        help="A way to restore: words joined by '+': default, a noise model, raw, no-filter, alone, per-frame, or SETTING=VALUE. "
        "May be given more than once; what is asked is asked of the first.",
    )
    grid: bool = setting(False, help="All noise models, each with and without temporal filter and smoothing.")
    start: Fraction = setting(
        Fraction(0),
        form=OptionForm(metavar="TIME", read=seconds, written="0"),
        help="Where in the clips to begin: seconds or h:mm:ss.",
    )
    length: Fraction = setting(
        Fraction(3), form=OptionForm(("--seconds",), "TIME", read=seconds, written="3"), help="How much of each clip."
    )
    still: bool = setting(False, help="Repeat the stretch's first frame: a face that does not move at all.")
    model: str | None = setting(None, form=OptionForm(metavar="TEXT"), help="embedded, a checkpoint folder, or hub:owner/name.")
    size: int = setting(256, low=64, high=1024, form=_COUNT, help="px of the face crops that are measured.")
    identity: Literal["auto", "dlib", "embedded"] = setting(
        "auto", form=OptionForm(metavar="auto|dlib|embedded"), help="Who tells people apart."
    )
    seed: int = setting(42, low=0, form=_COUNT, help="Same seed, same damage.")
    against: Path | None = setting(
        None,
        form=OptionForm(metavar="FOLDER"),
        help="An earlier report of the same clips, by another release perhaps: ratios to it.",
    )

    def __post_init__(self) -> None:
        if self.identity not in ("auto", "dlib", "embedded"):
            raise UsageError(f"--identity is '{self.identity}', must be auto, dlib or embedded")
        if self.grid and self.variant:
            raise UsageError("--grid and --variant cannot be given together")


@app.command("video")
@with_options(preset_help="Settings that the variants change; see `config list`.")
def video(
    *,
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the report goes.")],
    options: VideoOptions,
    settings: RunSettings,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an earlier report.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
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

    if options.model:
        settings = replace(settings, restore=replace(settings.restore, model=options.model))
    choice = VideoChoice(
        clips=options.clips,
        damages=tuple(dict.fromkeys(options.damage)),
        variants=parse_variants(GRID if options.grid else options.variant or USUAL),
        start=options.start,
        seconds=options.length,
        settings=settings,
        against=options.against,
        still=options.still,
        size=options.size,
        seed=options.seed,
        identity=options.identity,
    )
    command = " ".join(["iconface-video", *sys.argv[1:]])
    with make_display(quiet=quiet, as_json=as_json) as display:
        report = evaluate_video(choice, out, command=command, force=force, on_progress=display)
    if as_json:
        print_json({name: value if math.isfinite(value) else None for name, value in report.figures.items()})
    elif not quiet:
        aims = [
            (name.removeprefix("aim."), f"{value:.3f}") for name, value in report.figures.items() if name.startswith("aim.")
        ]
        print_rows([("report", str(out / "report.html")), *aims])
