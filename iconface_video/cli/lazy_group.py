"""A group of commands whose modules are loaded when one is called: the list of them costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer


@dataclass(frozen=True)
class Place:
    """Where a command, or a group of them, is defined."""

    module: str
    name: str
    """Of its function, or of its `typer.Typer`."""
    help: str
    """Its line in the list: how its own help begins."""


class LazyCommands(dict[str, Any]):
    """Name -> command, made when it is looked up. All names are there from the start, in the order in which they are listed."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        super().__init__(dict.fromkeys(places))
        self._places = places

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            self[name] = _load(name, self._places[name])
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return default if name not in self else self.__getitem__(name)

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return ((name, self[name]) for name in self)


class LazyGroup(typer.core.TyperGroup):
    """Lists its commands without loading them; in plain text, because loading what draws frames takes longer than all else."""

    places: ClassVar[Mapping[str, Place]] = {}
    """Of a subclass's commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": LazyCommands(self.places), "rich_markup_mode": None})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in self.places.items()])


def _load(name: str, place: Place) -> Any:
    """The command as typer makes it."""
    found = getattr(import_module(place.module), place.name)
    holder = typer.Typer(add_completion=False)
    holder.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    group: Any = typer.main.get_group(holder)
    return group.commands[name]
