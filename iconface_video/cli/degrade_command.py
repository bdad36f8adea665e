"""`iconface-video degrade`: damage a clip or a folder of pictures, to make paired data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def degrade(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A clip, or a folder of pictures.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The damaged clip, or a folder for the damaged pictures.")],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="light, medium, heavy, vhs, film, or a medium: hi8, video8, vhs-sp, vhs-lp, vhs-ep, vhs-copy, 16mm, 16mm-bw, super8, 8mm, super8-faded, dv, phone, broadcast.",
        ),
    ] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option("--effect", help="One more effect on top; may be given several times. An unknown name lists all."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option("--strength", min=0, max=20, help="Pictures only: the trainers' mix of blur, shrinking, noise and JPEG."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same damage.")] = 42,
    crf: Annotated[
        int, typer.Option("--crf", min=0, max=51, help="Quality of the written clip; the damage is what effects do.")
    ] = 12,
    force: Annotated[bool, typer.Option("--force/--no-force", help="Write over what is there.")] = False,
) -> None:
    """Damage a clip or a folder of pictures as old tapes, films and poor compression do.

    Example: iconface-video degrade clip.mp4 -o clip-vhs.mp4 --preset vhs
    """
    from iconface_video.errors import UsageError
    from iconface_video.train.degradations.files import degrade_clip, degrade_pictures
    from iconface_video.train.degradations.presets import effects_named

    if source.is_dir():
        effects = effects_named(preset, effect or []) if preset or effect else ()
        count = degrade_pictures(source, out, seed, strength=strength, effects=effects, force=force)
        typer.echo(f"{out}: {count} pictures")
        return
    if strength is not None:
        raise UsageError("--strength is for folders of pictures; a clip takes --preset or --effect")
    written = degrade_clip(source, out, effects_named(preset, effect or []), seed, crf=crf, force=force)
    typer.echo(str(written))
