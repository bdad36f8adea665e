"""The commands' options, made from declarations: settings and the frozen dataclasses in which a command says what it asks for.

A command's function names the dataclasses that it wants; `with_options` gives it an option for each of their fields and calls it
with what the user gave. Name, type, range, default and help of an option stand in its field (`settings.setting`), nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from iconface_video.configs import DEFAULTS, SettingsChoice, section_types, settings_from
from iconface_video.errors import InputError, UsageError
from iconface_video.settings import OptionForm, RunSettings, Validated, declared, nearest, plain_type

Command = Callable[..., None]
_SECTIONS: dict[str, Any] = dict(section_types())
_PRESET = "preset"
_PRESET_HELP = "Settings to start from; `config list` shows all, or a .yaml file."
_LOOKS_HELP = f"{_PRESET_HELP} The one that suits the recording, which is looked at, when not given."


def with_options(*sections: str, preset_help: str = _PRESET_HELP) -> Callable[[Command], Command]:
    """Decorator of a command. Of its parameters,

    - one that is `RunSettings` becomes --preset and an option for each setting of `sections`, which change the preset,
    - one that is `SettingsChoice` the same, but that no preset is chosen for the user,
    - one that is a section's class (such as `EncodeSettings`) becomes an option for each of its settings,
    - one that is another dataclass becomes an option or argument for each field,
    - any other is left to typer.
    """

    def decorate(command: Command) -> Command:
        taken = inspect.signature(command, eval_str=True).parameters
        kinds = {kind: name for name, kind in _SECTIONS.items()}
        records = {name: item.annotation for name, item in taken.items() if is_dataclass(item.annotation)}
        parameters: list[inspect.Parameter] = []
        behind: list[inspect.Parameter] = []  # in panels of their own
        for name, item in taken.items():
            if item.annotation in (RunSettings, SettingsChoice):
                looks = item.annotation is SettingsChoice
                parameters.append(_preset(_LOOKS_HELP if looks else preset_help, None if looks else DEFAULTS.name))
                behind += [_settings_parameter(section, field) for section in sections for field in _fields_of(section)]
            elif item.annotation in kinds:
                behind += [_settings_parameter(kinds[item.annotation], field) for field in declared(item.annotation)]
            elif name in records:
                parameters += [_record_parameter(item.annotation, field) for field in fields(item.annotation)]
            else:
                parameters.append(item.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        parameters += behind
        names = [item.name for item in parameters]
        assert len(set(names)) == len(names), f"{command.__name__}: two options of one name"

        def call(**given: Any) -> None:
            command(**{name: _value(name, records.get(name), sections, given) for name in taken})

        call.__name__, call.__doc__, call.__module__ = command.__name__, command.__doc__, command.__module__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {item.name: item.annotation for item in parameters}
        return call

    return decorate


def _fields_of(section: str) -> tuple[Field[Any], ...]:
    return declared(_SECTIONS[section])


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Types of a dataclass's fields: reading them is most of what the help costs."""
    return get_type_hints(kind)


def _value(name: str, record: Any, sections: tuple[str, ...], given: dict[str, Any]) -> Any:
    """What a command gets for one of its parameters."""
    if record is None:
        return given[name]
    if record in (RunSettings, SettingsChoice):
        chosen = SettingsChoice(given[_PRESET], _overrides(sections, given))
        settings = chosen.settings()  # what is wrong is refused before anything is looked at
        return settings if record is RunSettings else chosen
    for section, kind in _SECTIONS.items():
        if record is kind:
            return getattr(settings_from(_overrides((section,), given), "options"), section)
    values = {item.name: _read(item, given[item.name]) for item in fields(record)}
    return record(**{name: value for name, value in values.items() if value is not MISSING})


def _overrides(sections: tuple[str, ...], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Section -> setting -> the value that the user gave."""
    found = {section: {item.name: given[_word(item).replace("-", "_")] for item in _fields_of(section)} for section in sections}
    chosen = {section: {n: value for n, value in values.items() if value is not None} for section, values in found.items()}
    return {section: values for section, values in chosen.items() if values}


def _read(item: Field[Any], value: Any) -> Any:
    """A field's value of what typer found; MISSING where the field's default holds."""
    read = _form(item).read or (lambda typed: typed)
    if isinstance(value, (list, tuple)):
        kind: Any = frozenset if isinstance(item.default, frozenset) else tuple
        return kind(read(one) for one in value) if value else MISSING
    return MISSING if value is None else read(value)


def _form(item: Field[Any]) -> OptionForm:
    form = item.metadata["form"]
    assert isinstance(form, OptionForm)
    return form


def _word(item: Field[Any]) -> str:
    """The name of a setting's option, without dashes before it."""
    flags = _form(item).flags
    return flags[0].removeprefix("--") if flags else item.name.replace("_", "-")


def _preset(text: str, default: str | None) -> inspect.Parameter:
    option = typer.Option("--preset", "-p", metavar="NAME", help=text)
    kind = Annotated[str, option] if default is not None else Annotated[str | None, option]
    return inspect.Parameter(_PRESET, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _settings_parameter(section: str, item: Field[Any]) -> inspect.Parameter:
    """None where it is not given: the preset's value holds. Its range is checked with the preset's."""
    kind = plain_type(_hints(_SECTIONS[section])[item.name])
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    kind, word = str if choices else kind, _word(item)
    option = typer.Option(
        f"--{word}/--no-{word}" if kind is bool else f"--{word}",
        help=f"{item.metadata['help']} {_bounds(item, choices)}",
        metavar=None if kind is bool else {int: "N", float: "X"}.get(kind, "|".join(choices) if choices else "TEXT"),
        show_default=False,
        rich_help_panel=next(found.metadata["panel"] for found in fields(RunSettings) if found.name == section),
    )
    name = word.replace("-", "_")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])


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


def _record_parameter(record: Any, item: Field[Any]) -> inspect.Parameter:
    """A field as typer wants it: type, flags, help, range."""
    form, hint = _form(item), _hints(record)[item.name]
    is_several = get_origin(hint) in (tuple, frozenset) and form.written is None  # else one text makes them all
    kind = plain_type(get_args(hint)[0] if is_several else hint)
    if (form.read and kind not in (Path, bool)) or (form.metavar and get_origin(kind) is Literal):
        kind = str
    described: dict[str, Any] = {"help": item.metadata["help"], "metavar": form.metavar}
    if kind in (int, float) and not issubclass(record, Validated):  # else its own check says more
        described.update(min=item.metadata["low"], max=item.metadata["high"])
    flags = form.flags or ((f"--{item.name.replace('_', '-')}",) if kind is bool else ())
    option = typer.Argument(**described) if form.is_argument else typer.Option(*flags, **described)
    default = inspect.Parameter.empty if item.default is MISSING else _default(item, form, is_several)
    kind = list[kind] if is_several else kind  # type: ignore[valid-type]
    annotation = Annotated[kind | None, option] if default is None else Annotated[kind, option]
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(item: Field[Any], form: OptionForm, is_several: bool) -> Any:
    """What typer shows and gives where nothing was typed; None: the field's own default holds."""
    if form.written is not None:
        return form.written
    if is_several or not form.shows_default:
        return None
    return form.read(item.default) if form.read and isinstance(item.default, bool) else item.default


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


def person(pair: str) -> tuple[str, Path]:
    """(name, folder) of --person NAME=FOLDER. Raises UsageError or, for a folder that is not there, InputError."""
    name, equals, folder = pair.partition("=")
    if not equals or not name.strip() or not folder:
        raise UsageError(f"--person is '{pair}', must be NAME=FOLDER, for example anna=photos/anna")
    return name.strip(), present(Path(folder), f"folder of photos (person '{name.strip()}')")


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


def existing(what: str) -> Callable[[Path], Path]:
    """`present` for an option."""
    return partial(present, what=what)
