"""Names in messages as a person types them: the library says `max_memory`, the command line --max-memory."""

from __future__ import annotations

import re
from functools import cache

from iconface_video.configs import section_types

_ARGUMENTS = (
    "start", "end", "force", "work", "fresh", "output", "input", "preview", "people", "person", "reference", "keep_work",
    "offset", "html",
)  # fmt: skip
"""Of the library's functions, beside the settings."""
_QUOTED = re.compile(r"`([a-z][a-z0-9_]*)`")


def spelled(text: str) -> str:
    """A message of the library with its settings and arguments as options."""
    return _QUOTED.sub(lambda found: _option(found[1]) if found[1] in _names() else found[0], text)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@cache
def _names() -> frozenset[str]:
    settings = {name for kind in section_types().values() for name in kind.__dataclass_fields__}
    return frozenset({*_ARGUMENTS, *settings})
