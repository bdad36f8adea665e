"""Reading the YAML files that people write: presets and training configs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from iconface_video.errors import InputError, UsageError


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `deinterlace: on` is the word "on", as a person means it."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML reads it from the class)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tTfF"))


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The settings in a file. what: "a preset", for messages. Raises InputError where it cannot be read, UsageError where it is none."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        raise InputError(f"{path}: cannot be read ({reason}); {what} is wanted") from error
    except RecursionError:
        raise UsageError(f"{path}: nested far too deep for {what}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: {what} holds settings by name, got {content!r}")
    return content
