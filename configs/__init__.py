"""Presets: named, typed sets of settings, one YAML file each beside this module, or a file of the user's own.

A preset holds only what differs from the defaults in `iconface_video.settings`, grouped as in `RunSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from iconface_video.errors import UsageError
from iconface_video.files import read_mapping
from iconface_video.settings import RunSettings, declared, from_mapping, nearest

SettingValues = Mapping[str, Mapping[str, Any]]
"""Section of RunSettings -> setting -> value."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Preset:
    """A named set of settings."""

    name: str
    description: str
    """One sentence for people."""
    values: dict[str, dict[str, Any]]
    """What differs from the defaults; validated."""

    def settings(self, overrides: SettingValues | None = None) -> RunSettings:
        """Full settings: the defaults, then the preset, then `overrides`. Raises UsageError for a value out of range."""
        merged = {section: dict(values) for section, values in self.values.items()}
        for section, values in (overrides or {}).items():
            earlier = _earlier_names(section)
            for name in values:
                for old, new in earlier.items():
                    if name in (old, new):
                        merged.get(section, {}).pop(new if name == old else old, None)
            merged.setdefault(section, {}).update(values)
        return settings_from(merged, "options")


def _earlier_names(section: str) -> dict[str, str]:
    """Earlier name of a setting -> its name."""
    kind = section_types().get(section)
    found = {} if kind is None else {item.name: item.metadata.get("earlier_name_of") for item in fields(kind)}
    return {old: new for old, new in found.items() if new is not None}


DEFAULTS = Preset("default", "All settings at their defaults.", {})


@dataclass(frozen=True)
class SettingsChoice:
    """What a user set of a run's settings, before they are looked up: a preset and what differs from it."""

    preset: str | None = None
    """Name or .yaml file; None: one that suits the recording, which has to be looked at first (`pipelines.choosing`)."""
    overrides: SettingValues = field(default_factory=dict)

    def settings(self, suits: str = DEFAULTS.name) -> RunSettings:
        """suits: the preset where none was named. Raises as `load_preset` and `Preset.settings` do."""
        return load_preset(self.preset or suits).settings(self.overrides)


def section_types() -> dict[str, type[Any]]:
    """Sections of `RunSettings` and their dataclasses, in order."""
    hints = get_type_hints(RunSettings)
    return {item.name: hints[item.name] for item in fields(RunSettings)}


def settings_from(values: SettingValues, where: str) -> RunSettings:
    """Typed settings of nested values. Raises UsageError, naming `where`, for an unknown section, setting or wrong value."""
    sections = section_types()
    for name, content in values.items():
        if name not in sections:
            raise UsageError(f"{where}: unknown section '{name}'.{nearest(name, sections) or _where_it_belongs(name)}")
        if not isinstance(content, Mapping):
            raise UsageError(f"{where}: section '{name}' must hold settings, got {content!r}")
    return RunSettings(**{name: from_mapping(sections[name], dict(content), where) for name, content in values.items()})


def _where_it_belongs(name: str) -> str:
    """Help for a setting that stands outside its section."""
    owners = [section for section, kind in section_types().items() if name in {item.name for item in fields(kind)}]
    return f" '{name}' belongs under '{owners[0]}:'." if owners else ""


def preset_names() -> tuple[str, ...]:
    """Presets that come with the program."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_preset(name: str) -> Preset:
    """A preset by name, or from a file of the user's (a path that ends in .yaml or .yml).

    Raises UsageError for an unknown name or a wrong setting, InputError where a file cannot be read.
    """
    if name == DEFAULTS.name:
        return DEFAULTS
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml"):
        if name not in preset_names():
            known = (DEFAULTS.name, *preset_names())
            raise UsageError(
                f"there is no preset '{name}'.{nearest(name, known)} Presets: {', '.join(known)}; or a .yaml file."
            )
        path = _FOLDER / f"{name}.yaml"
    return _read(path)


def _read(path: Path) -> Preset:
    content = read_mapping(path, "a preset")
    description = content.pop("description", "")
    if not isinstance(description, str):
        raise UsageError(f"{path}: description must be a text, got {description!r}")
    settings_from(content, str(path))
    return Preset(path.stem, description, content)


def to_yaml(settings: RunSettings, description: str = "") -> str:
    """Settings as a preset file, with the help of each as a comment. `load_preset` reads it back."""
    lines = [f"description: {_scalar(description)}"] if description else []
    for section, kind in section_types().items():
        lines.append(f"{section}:")
        values = asdict(getattr(settings, section))
        for item in declared(kind):
            if item.metadata.get("earlier_name_of"):
                continue
            lines += [f"  # {item.metadata.get('help', '')}", f"  {item.name}: {_scalar(values[item.name])}"]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
