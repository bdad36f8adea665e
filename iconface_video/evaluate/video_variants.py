"""Variants of a restoration that a report compares: words for what differs from the settings of the run.

A variant is written as words joined by "+": a noise model, ``raw`` (crop windows from raw landmarks), ``no-filter`` (no
temporal filter), ``per-frame`` (independent noise, raw, no filter, and a window of one frame where the model's settings have a window of
several), or NAME=VALUE for any setting of a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

import yaml

from iconface_video.errors import UsageError
from iconface_video.restore.noise import NoiseKind
from iconface_video.settings import RunSettings, from_mapping, nearest

_SECTIONS = ("survey", "restore", "render")
NOISES: tuple[str, ...] = get_args(NoiseKind)
_WORDS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "raw": {"survey": {"smoothing": 0.0}},
    "no-filter": {"render": {"temporal_filter": False}},
    "per-frame": {
        "restore": {"noise": "independent", "window": 1},
        "survey": {"smoothing": 0.0},
        "render": {"temporal_filter": False},
    },
    **{noise: {"restore": {"noise": noise}} for noise in NOISES},
}
_WHERE_THERE = frozenset({("restore", "window")})
"""Settings that a word names for models that look at several frames at once; for settings without it one frame is all there is."""
PER_FRAME, INDEPENDENT, RAW = "per-frame", "independent", "raw"
"""What the aims are compared with."""
USUAL = ("default", *NOISES, "no-filter", RAW, PER_FRAME)
"""Compared when nothing else is asked for."""
GRID = (
    "default",
    *(f"{noise}{window}{blend}" for noise in NOISES for window in ("", "+raw") for blend in ("", "+no-filter")),
    RAW,
    PER_FRAME,
)
"""All noise models, with and without smoothing and filter."""


@dataclass(frozen=True)
class Variant:
    """One way to restore."""

    name: str
    """As it was written, for people."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Section -> setting -> value."""

    def settings(self, base: RunSettings) -> RunSettings:
        """The base settings with the variant's changes. Raises UsageError for a value out of range."""
        changed = {}
        for section, values in self.changes.items():
            old = getattr(base, section)
            whole = {item.name: getattr(old, item.name) for item in fields(old)}
            asked = {name: value for name, value in values.items() if name in whole or (section, name) not in _WHERE_THERE}
            changed[section] = from_mapping(type(old), {**whole, **asked}, f"variant '{self.name}'")
        return replace(base, **changed)


def parse_variant(text: str) -> Variant:
    """From its words. Raises UsageError for a word or setting that is not known."""
    changes: dict[str, dict[str, Any]] = {}
    for word in text.split("+"):
        name, equals, value = word.strip().partition("=")
        found = {_section_of(name, text): {name: yaml.safe_load(value)}} if equals else _WORDS.get(name)
        if found is None:
            raise UsageError(
                f"variant '{text}': '{name}' is not known.{nearest(name, _WORDS)} Words: {', '.join(_WORDS)}; or SETTING=VALUE"
            )
        for section, values in found.items():
            changes.setdefault(section, {}).update(values)
    variant = Variant(text, changes)
    variant.settings(RunSettings())
    return variant


def _section_of(name: str, text: str) -> str:
    known = {item.name: section for section in _SECTIONS for item in fields(getattr(RunSettings(), section))}
    if name not in known:
        raise UsageError(f"variant '{text}': there is no setting '{name}'.{nearest(name, known)}")
    return known[name]


def parse_variants(texts: Sequence[str]) -> tuple[Variant, ...]:
    """Each once, in the order given. Raises UsageError for two of one name in a report's files."""
    variants = tuple(parse_variant(text) for text in dict.fromkeys(texts))
    slugs = [slug(variant.name) for variant in variants]
    for name in slugs:
        if slugs.count(name) > 1:
            raise UsageError(f"two variants would be called '{name}'; leave one out")
    return variants


def slug(text: str) -> str:
    """A file name of it: lower-case words joined by "-"."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
