"""`iconface-video config`."""

from __future__ import annotations

from typing import Annotated

import typer

from iconface_video.cli.display import print_rows
from iconface_video.configs import DEFAULTS, load_preset, preset_names, to_yaml

app = typer.Typer(help="Presets: see them, and make your own.", no_args_is_help=True)


@app.command("list")
def list_presets() -> None:
    """List the presets.

    Example: iconface-video config list
    """
    presets = [DEFAULTS, *(load_preset(name) for name in preset_names())]
    print_rows([(preset.name, preset.description) for preset in presets])


@app.command()
def show(
    preset: Annotated[str, typer.Argument(metavar="[PRESET]", help="Name of a preset, or a .yaml file.")] = DEFAULTS.name,
) -> None:
    """Show all settings of a preset as YAML, each with its help. Saved to a file and changed, it is a preset of your own.

    Examples:

      iconface-video config show film

      iconface-video config show family > mine.yaml && iconface-video run tape.mp4 --preset mine.yaml
    """
    chosen = load_preset(preset)
    print(to_yaml(chosen.settings(), chosen.description), end="")
