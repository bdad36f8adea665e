"""`iconface-video train restorer|encoder`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train the embedded weights. Interrupted runs go on from their last checkpoint.", no_args_is_help=True)

DataOption = Annotated[
    list[Path], typer.Option("--data", help="Folder of aligned faces with an index.csv; may be given more than once.")
]


def _log(step: int, figures: dict[str, float]) -> None:
    typer.echo(f"{step}: " + "  ".join(f"{name} {value:.4g}" for name, value in sorted(figures.items())))


@app.command()
def restorer(
    config: Annotated[Path, typer.Option("--config", help="Training config (YAML), see configs/training/.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder: config, curve, sheets, checkpoints.")],
    data: DataOption,
    start_from: Annotated[
        str | None, typer.Option("--start-from", help="Run folder, model folder, or 'embedded', to start from.")
    ] = None,
    max_minutes: Annotated[float, typer.Option(help="Stop after so many minutes; 0: no limit.", min=0)] = 0,
    export: Annotated[Path | None, typer.Option("--export", help="Write the averaged weights here at the end.")] = None,
    workers: Annotated[int | None, typer.Option(help="Loader processes; the config's number when not given.")] = None,
) -> None:
    """Train one stage of the restorer.

    Example: iconface-video train restorer --config configs/training/embedded-autoencoder.yaml --data faces/ --out runs/a
    """
    from iconface_video.pipelines.train import export_restorer, train_restorer
    from iconface_video.train.config import RestorerConfig, read_config

    settings = read_config(RestorerConfig, config).with_data(tuple(str(folder) for folder in data))
    settings = replace(settings, start_from=start_from or settings.start_from)
    if max_minutes:
        settings = replace(settings, trainer=replace(settings.trainer, max_minutes=max_minutes))
    if workers is not None:
        settings = replace(settings, workers=workers)
    figures = train_restorer(settings, out, _log)
    _log(0, figures)
    typer.echo(f"run: {out}")
    if export:
        typer.echo(f"weights: {export_restorer(out, export)}")
