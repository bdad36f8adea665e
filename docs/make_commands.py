"""Writes docs/commands.md from the help of every command. Run it after a change of options: `make docs`; a test compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from iconface_video.cli.main import app

PAGE = Path(__file__).parent / "commands.md"
HEADER = "# Commands\n\nMade from the program's own help by `make docs`; `iconface-video COMMAND --help` says the same.\n"


def command_page() -> str:
    """The page's text."""
    root = typer.main.get_command(app)
    return HEADER + "".join(f"\n{_section(path, command)}" for path, command in walk(root, ("iconface-video",)))


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from walk(child, (*path, name))


def _section(path: tuple[str, ...], command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    usage = " ".join([*path, *(_argument(item) for item in arguments), "[OPTIONS]"])
    lines = [f"## {' '.join(path[1:])}", "", "```text", usage, "```", "", _prose(command.help or ""), ""]
    panels: dict[str, list[Any]] = {}
    for item in command.params:
        if item.name != "help" and not item.hidden:
            panels.setdefault(item.rich_help_panel or "", []).append(item)
    for title, items in panels.items():
        lines += [f"### {title}", ""] if title else []
        lines += ["| option | value | meaning |", "| --- | --- | --- |", *(_row(item) for item in items), ""]
    return "\n".join(lines)


def _argument(item: Any) -> str:
    name = item.metavar or item.name.upper()
    return name if item.required else f"[{name.strip('[]')}]"


def _prose(help: str) -> str:
    """The docstring, with its indented examples as code."""
    lines = []
    for paragraph in help.replace("\\[", "[").strip().split("\n\n"):
        is_example = paragraph.startswith("  ") or paragraph.lstrip().startswith("iconface-video ")
        if paragraph.startswith("Example: "):
            lines += ["Example:", _code(paragraph.removeprefix("Example: "))]
        else:
            lines.append(_code(paragraph) if is_example else " ".join(paragraph.split()))
    return "\n\n".join(lines)


def _code(text: str) -> str:
    return f"```sh\n{' '.join(text.split())}\n```"


def _row(item: Any) -> str:
    if item.param_type_name == "argument":
        return f"| `{(item.metavar or item.name.upper()).strip('[]')}` | | {_cell(item.help)} |"
    names = ", ".join(f"`{name}`" for name in (*item.opts, *item.secondary_opts))
    value = "" if getattr(item, "is_flag", False) else (item.metavar or "")
    needed = " (required)" if item.required else ""
    return f"| {names} | {_cell(value)} | {_cell(item.help)}{needed} |"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(command_page(), encoding="utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
