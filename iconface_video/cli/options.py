"""Command-line options made from the settings dataclasses, so that default, range and help stand in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from iconface_video.configs import section_types
from iconface_video.errors import InputError, UsageError
from iconface_video.settings import nearest, plain_type

PANELS = {
    "read": "Reading",
    "survey": "Finding and following faces",
    "anchors": "Who is who",
    "restore": "The model",
    "render": "Blending",
    "encode": "Output video",
    "engine": "Who does the work",
}
_NAMES = {("encode", "preset"): "encoder-preset"}
"""Where the setting's own name means something else on the command line."""

Overrides = dict[str, dict[str, Any]]
"""Section -> setting -> the value that the user gave."""

# Options that several commands share, word for word.
PresetName = Annotated[
    str,
    typer.Option("--preset", "-p", metavar="NAME", help="Settings to start from; `config list` shows all, or a .yaml file."),
]
PresetOrLook = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="NAME",
        help="Settings to start from; `config list` shows all, or a .yaml file. Without it the recording is looked at "
        "(`probe --kind`), and the preset that suits it is taken.",
    ),
]
PersonFolders = Annotated[
    list[str] | None,
    typer.Option("--person", metavar="NAME=FOLDER", help="A folder of photos of one person; once for each person."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="For programs: one JSON object at the end, progress as JSON lines on stderr.")
]


def settings_options(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: adds an option for each setting of the given sections. The command gets those that were given as `overrides`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        made: dict[str, tuple[str, str]] = {}
        parameters = [item for name, item in own.parameters.items() if name != "overrides"]
        for section in sections:
            kind = section_types()[section]
            hints = get_type_hints(kind)
            for item in fields(kind):
                flag = _NAMES.get((section, item.name), item.name.replace("_", "-"))
                argument = flag.replace("-", "_")
                made[argument] = (section, item.name)
                parameters.append(_parameter(argument, flag, item, hints[item.name], PANELS[section]))

        def call(*positional: Any, **named: Any) -> None:
            overrides: Overrides = {}
            for argument, (section, name) in made.items():
                value = named.pop(argument)
                if value is not None:
                    overrides.setdefault(section, {})[name] = value
            command(*positional, **named, overrides=overrides)

        call.__name__, call.__doc__, call.__module__ = command.__name__, command.__doc__, command.__module__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {item.name: item.annotation for item in parameters}
        return call

    return decorate


def _parameter(argument: str, flag: str, item: Field[Any], hint: Any, panel: str) -> inspect.Parameter:
    kind = plain_type(hint)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    kind = str if choices else kind
    declaration = f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}"
    option = typer.Option(
        declaration,
        help=f"{item.metadata['help']} {_bounds(item, choices)}",
        metavar=None if kind is bool else {int: "N", float: "X"}.get(kind, "|".join(choices) if choices else "TEXT"),
        show_default=False,
        rich_help_panel=panel,
    )
    return inspect.Parameter(argument, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])


def _bounds(item: Field[Any], choices: tuple[str, ...]) -> str:
    """ "(0 to 1, default 1)"."""
    low, high, default = item.metadata["low"], item.metadata["high"], item.default
    parts = []
    if not choices and low is not None and high is not None:
        parts.append(f"{_short(low)} to {_short(high)}")
    if isinstance(default, bool):
        parts.append(f"default {'on' if default else 'off'}")
    elif default is not None:
        parts.append(f"default {_short(default)}")
    return f"({', '.join(parts)})" if parts else ""


def _short(value: Any) -> str:
    if value == 2**63 - 1:
        return "2^63-1"
    return f"{value:g}" if isinstance(value, float) else str(value)


def seconds(text: str) -> Fraction:
    """Seconds from "12.5", "1:02" or "01:02:03.5", exact. Raises UsageError."""
    parts = text.strip().split(":")
    try:
        if not 1 <= len(parts) <= 3 or any(part.strip() != part or part[:1] in "+-" for part in parts):
            raise ValueError
        if not all(part.isdigit() for part in parts[:-1]) or not all(c.isdigit() or c == "." for c in parts[-1]):
            raise ValueError
        total = Fraction(0)
        for part in parts:
            total = total * 60 + Fraction(part)
    except ValueError:
        raise UsageError(f"'{text}' is no time: give seconds (12.5) or h:mm:ss (1:02:03.5)") from None
    if len(parts) > 1 and any(Fraction(part) >= 60 for part in parts[1:]):
        raise UsageError(f"'{text}' is no time: minutes and seconds after a colon must be below 60")
    return total


def optional_seconds(text: str | None) -> Fraction | None:
    """As `seconds`; None stays None."""
    return None if text is None else seconds(text)


def people(pairs: list[str]) -> tuple[tuple[str, Path], ...]:
    """(name, folder) of each --person NAME=FOLDER. Raises UsageError or, for a folder that is not there, InputError."""
    found = []
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not equals or not name.strip() or not folder:
            raise UsageError(f"--person is '{pair}', must be NAME=FOLDER, for example anna=photos/anna")
        found.append((name.strip(), present(Path(folder), f"folder of photos (person '{name.strip()}')")))
    return tuple(found)


def present(path: Path, what: str) -> Path:
    """The path, if something is there. Raises InputError that names the nearest neighbour, for slips of the finger."""
    try:
        if path.exists():
            return path
    except OSError as error:
        raise InputError(f"{str(path)[:100]}...: there can be no such {what} ({error.strerror})") from None
    try:
        neighbours = [item.name for item in path.parent.iterdir()]
    except OSError:
        raise InputError(f"{path}: there is no such {what}: the folder {path.parent} does not exist either") from None
    raise InputError(f"{path}: there is no such {what}.{nearest(path.name, neighbours)}")
