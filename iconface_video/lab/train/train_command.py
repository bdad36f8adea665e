"""`iconface-video train restorer|encoder|export-run|import-run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train the embedded weights. Interrupted runs go on from their last checkpoint.", no_args_is_help=True)

DataOption = Annotated[
    list[Path], typer.Option("--data", help="Folder of aligned faces with an index.csv; may be given more than once.")
]

ConfigOption = Annotated[Path, typer.Option("--config", help="Training config (YAML), see configs/training/.")]
RunOption = Annotated[Path, typer.Option("--out", help="Run folder: config, curve, checkpoints.")]
ExportOption = Annotated[Path | None, typer.Option("--export", help="Write the averaged weights here at the end.")]
FileOption = Annotated[Path | None, typer.Option("--export", help="Write the averaged weights to this file at the end.")]

MinutesOption = Annotated[
    float,
    typer.Option(
        "--minutes",
        "--max-minutes",
        help="Stop after so many minutes, all stages together; go on another time. 0: no limit.",
        min=0,
    ),
]


def _log(step: int, figures: dict[str, float]) -> None:
    typer.echo(f"{step}: " + "  ".join(f"{name} {value:.4g}" for name, value in sorted(figures.items())))


@app.command()
def restorer(
    config: ConfigOption,
    out: Annotated[Path, typer.Option("--out", help="Run folder: config, curve, sheets, checkpoints.")],
    data: DataOption,
    start_from: Annotated[
        str | None, typer.Option("--start-from", help="Run folder, model folder, or 'embedded', to start from.")
    ] = None,
    minutes: MinutesOption = 0,
    export: ExportOption = None,
    workers: Annotated[int | None, typer.Option(help="Loader processes; the config's number when not given.")] = None,
) -> None:
    """Train the restorer: one stage, or several in a row where the config has a list `stages`.

    Examples:

      iconface-video train restorer --config configs/training/embedded-autoencoder.yaml --data faces/ --out runs/a

      iconface-video train restorer --config my-stages.yaml --data faces/ --out runs/b --minutes 90
    """
    from iconface_video.lab.train.config import read_stages
    from iconface_video.lab.train.training import export_restorer, train_stages
    from iconface_video.models.saving import check_model_folder

    stages = [stage.with_data(tuple(str(folder) for folder in data)) for stage in read_stages(config)]
    stages[0] = replace(stages[0], start_from=start_from or stages[0].start_from)
    if workers is not None:
        stages = [replace(stage, workers=workers) for stage in stages]
    if export:
        check_model_folder(export, overwrite=True)  # said before hours of training
    figures = train_stages(stages, out, _log, minutes, lambda number, count: typer.echo(f"stage {number} of {count}"))
    _log(0, figures)
    typer.echo(f"run: {out}")
    if export:
        typer.echo(f"weights: {export_restorer(out, export)}")


@app.command("export-run")
def export_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to carry (.safetensors).")],
    moments: Annotated[
        bool, typer.Option("--moments/--no-moments", help="With the optimizer's moments; without them the file is smaller.")
    ] = True,
) -> None:
    """Pack a run's newest checkpoint (weights, average, judge, moments, curves) into one small file, to go on with elsewhere.

    Example: iconface-video train export-run runs/a -o a.safetensors
    """
    from iconface_video.lab.train.run_export import export_run

    typer.echo(f"{out}: {export_run(run, out, moments) / 1e6:.1f} MB")


@app.command("import-run")
def import_run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export-run wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The new run folder; must be empty or not be there.")],
) -> None:
    """Make a run folder of an exported run; the same `train` command with this folder as --out goes on with it.

    Example: iconface-video train import-run a.safetensors --out runs/a
    """
    from iconface_video.lab.train.run_export import import_run

    typer.echo(f"checkpoint: {import_run(file, out)}")


@app.command("encoder")
def encoder(
    config: ConfigOption,
    out: RunOption,
    data: DataOption,
    teacher: Annotated[Path | None, typer.Option("--teacher", help="Folder where the teacher's vectors are kept.")] = None,
    minutes: MinutesOption = 0,
    export: ExportOption = None,
) -> None:
    """Train the identity encoder; an interrupted run goes on from its last checkpoint.

    Example: iconface-video train encoder --config configs/training/identity-encoder.yaml --data faces/ --teacher vectors/ --out runs/encoder
    """
    from iconface_video.lab.train.config import EncoderConfig, read_config
    from iconface_video.lab.train.encoder_and_full_size import export_encoder, train_encoder

    settings = read_config(EncoderConfig, config)
    settings = replace(settings, folders=tuple(str(folder) for folder in data), teacher=str(teacher) if teacher else None)
    train_encoder(settings, out, _log, minutes)
    if export:
        typer.echo(str(export_encoder(out, export)))


@app.command("landmarks")
def landmarks(
    config: ConfigOption,
    out: RunOption,
    data: DataOption,
    labels: Annotated[Path, typer.Option("--labels", help="Folder where the teacher's points are kept.")],
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="MediaPipe's face mesh (.tflite), where photos are still to be labelled.")
    ] = None,
    minutes: MinutesOption = 0,
    export: FileOption = None,
) -> None:
    """Train the landmark network; an interrupted run goes on from its last checkpoint.

    Example: iconface-video train landmarks --config configs/training/landmarks.yaml --data faces/ --teacher face_landmark.tflite --labels points/ --out runs/points
    """
    from iconface_video.lab.train.config import read_config
    from iconface_video.lab.train.landmarks import LandmarkConfig, export_landmarks, train_landmarks

    settings = read_config(LandmarkConfig, config)
    named = replace(settings, folders=tuple(map(str, data)), labels=str(labels), teacher=str(teacher or ""))
    train_landmarks(named, out, _log, minutes)
    if export:
        typer.echo(str(export_landmarks(out, export)))


@app.command("fusion")
def fusion(
    config: ConfigOption,
    out: RunOption,
    data: DataOption,
    clips: Annotated[Path, typer.Option("--clips", help="Folder of crops of people talking, with an index.csv.")],
    pool: Annotated[Path, typer.Option("--pool", help="Folder where damaged windows are kept (about 6 MB a clip).")],
    minutes: MinutesOption = 0,
    export: FileOption = None,
) -> None:
    """Train the network that brings neighbouring frames together; an interrupted run goes on from its last checkpoint.

    Example: iconface-video train fusion --config configs/training/frame-fusion.yaml --data faces/ --clips talking/ --pool windows/ --out runs/fusion
    """
    from iconface_video.lab.train.config import read_config
    from iconface_video.lab.train.fusion import FusionConfig, export_fusion, train_fusion

    settings = read_config(FusionConfig, config)
    named = replace(settings, folders=tuple(map(str, data)), clips=str(clips), pool=str(pool))
    train_fusion(named, out, _log, minutes)
    if export:
        typer.echo(str(export_fusion(out, export)))
