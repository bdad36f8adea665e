"""`iconface-video train encoder`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.train_command import MinutesOption


def encoder(
    config: Annotated[Path, typer.Option("--config", help="Training config (YAML), see configs/training/.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder: config, curve, checkpoints.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder of aligned faces with an index.csv; may be given more than once.")
    ],
    teacher: Annotated[Path | None, typer.Option("--teacher", help="Folder where the teacher's vectors are kept.")] = None,
    minutes: MinutesOption = 0,
    export: Annotated[Path | None, typer.Option("--export", help="Write the averaged weights here at the end.")] = None,
) -> None:
    """Train the identity encoder; an interrupted run goes on from its last checkpoint.

    Example: iconface-video train encoder --config configs/training/identity-encoder.yaml --data faces/ --teacher vectors/ --out runs/encoder
    """
    from iconface_video.pipelines.train_encoder import export_encoder, train_encoder
    from iconface_video.train.config import read_config
    from iconface_video.train.encoder_config import EncoderConfig

    settings = read_config(EncoderConfig, config)
    settings = replace(settings, folders=tuple(str(folder) for folder in data), teacher=str(teacher) if teacher else None)
    train_encoder(settings, out, _log, minutes)
    if export:
        typer.echo(str(export_encoder(out, export)))


def _log(step: int, figures: dict[str, float]) -> None:
    typer.echo(f"{step}: " + "  ".join(f"{name} {value:.4g}" for name, value in sorted(figures.items())))
