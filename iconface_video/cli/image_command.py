"""`iconface-video image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iconface_video.cli.options import Overrides, settings_options
from iconface_video.configs import DEFAULTS, load_preset
from iconface_video.errors import OutputError, UsageError


@settings_options("restore", "render")
def image(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo whose faces are restored.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write (.png, .jpg, .webp, .tif).")],
    references: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference", "-r", metavar="PHOTO", help="A good photo of the same person; may be given more than once."
        ),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The whole picture already is one face in the FFHQ frame, of any size.")
    ] = False,
    preset: Annotated[str, typer.Option("--preset", "-p", metavar="NAME", help="Settings to start from.")] = DEFAULTS.name,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output if it exists.")] = False,
    *,
    overrides: Overrides,
) -> None:
    """Restore the faces of one photo.

    Examples:

      iconface-video image grandma.jpg -o grandma-restored.png

      iconface-video image grandma.jpg -o out.png --reference grandma-1990.jpg
    """
    if output.exists() and not force:
        raise OutputError(f"{output}: exists already. Give another name, or --force to replace it.")
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent}: there is no such folder to write to")
    for given in (photo, *(references or ())):
        if output.exists() and given.exists() and output.samefile(given):
            raise UsageError(f"{output}: the output would overwrite an input; inputs are never touched")
    settings = load_preset(preset).settings(overrides)

    from iconface_video.pipelines.image import restore_faces, write_picture

    found = restore_faces(photo, references or (), aligned=aligned, settings=settings)
    write_picture(output, found.image)
    what = "no face was found: the picture is as it was" if not found.faces else f"faces restored: {found.faces}"
    typer.echo(f"{what}\noutput: {output}")
