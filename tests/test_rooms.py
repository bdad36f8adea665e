"""The house's order: a module imports only from rooms left of its own, no two modules import each other, and a look stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
USERS_HALF = (
    "core",
    "video",
    "faces",
    "tracking",
    "identity",
    "models",
    "degrade",
    "learn",
    "personalize",
    "restore",
    "render",
    "session",
    "pages",
    "configs",
    "pipelines",
    "cli",
    "web",
)
ROOMS = (*USERS_HALF, "lab")
DOORS = {"iconface_video", "iconface_video.__main__", "iconface_video.cli.main"}
"""Where everything is handed out: the library's front, and the command line that registers all commands."""


def modules() -> dict[str, Path]:
    found = {}
    for folder, package in (
        ("iconface_video", "iconface_video"),
        ("pipelines", "iconface_video.pipelines"),
        ("configs", "iconface_video.configs"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [part for part in path.relative_to(ROOT / folder).with_suffix("").parts if part != "__init__"]
            found[".".join([package, *parts])] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "core"


def imported(module: str, at_once: bool = False) -> set[str]:
    """Our modules that one imports, anywhere in it or (`at_once`) while it is loaded itself."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("iconface_video"):
            for item in node.names:
                name = f"{node.module}.{item.name}"
                found.add(name if name in MODULES else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {item.name for item in node.names if item.name in MODULES}
    return found


def test_a_room_knows_only_the_rooms_left_of_it() -> None:
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if module not in DOORS
        for other in sorted(imported(module))
        if ROOMS.index(room(other)) > ROOMS.index(room(module))
    ]
    assert not wrong, wrong


def test_no_module_is_loaded_by_what_it_loads() -> None:
    graph = {module: imported(module, at_once=True) & set(MODULES) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_every_room_says_what_it_is_for() -> None:
    silent = [
        name
        for name, path in MODULES.items()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, silent


def test_looking_at_the_library_loads_nothing_heavy() -> None:
    heavy = ["torch", "av", "cv2", "scipy", "diffusers"]
    code = f"import sys, iconface_video; sys.exit(', '.join(name for name in {heavy} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
