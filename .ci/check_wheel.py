"""Run in an environment that has only the wheel, from another folder: is everything there, and nothing too much?"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path


def main(checkout: Path) -> None:
    import iconface_video

    home = Path(iconface_video.__file__).resolve().parent
    if checkout.resolve() in home.parents:
        raise SystemExit(f"{home}: this is the checkout, not the installed wheel")
    for stray in ("pipelines", "configs", "tests", "samples"):
        if importlib.util.find_spec(stray) is not None:
            raise SystemExit(f"the wheel brought a top-level module '{stray}'")
    for room in ("pipelines", "configs"):
        package = importlib.import_module(f"iconface_video.{room}")
        for item in pkgutil.iter_modules(package.__path__, f"iconface_video.{room}."):
            importlib.import_module(item.name)
            print("imported", item.name)
    configs = importlib.import_module("iconface_video.configs")
    print("presets", ", ".join(configs.preset_names()))
    if not configs.preset_names() or not (home / "py.typed").is_file():
        raise SystemExit("the wheel lacks the presets or py.typed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
