"""The catalogue of messages: what the page says in English it says in German, too."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from iconface_video.configs import DEFAULTS, load_preset, preset_names
from iconface_video.identity.evidence import describe_matches
from iconface_video.identity.references import Match, ReferencePhoto
from iconface_video.session.clip_session import GOING_ON
from iconface_video.video.kind import KIND_NAMES
from iconface_video.video.kind_signs import REASONS
from iconface_video.web.app import STATIC

_TEXT = r'("(?:[^"\\]|\\.)*")'
_NAMES = ("aria-label", "alt", "placeholder", "title")
_AS_THEY_ARE = {"iconface-video", "1", "2", "3", "4", "5"}


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.found += [value for name, value in attrs if name in _NAMES and value]

    def handle_data(self, data) -> None:
        self.found.append(" ".join(data.split()))


@pytest.fixture(scope="module")
def german() -> dict[str, str]:
    lines = (STATIC / "german.js").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(f"{{{line.strip().rstrip(',')}}}") for line in lines if line.startswith("  ")]
    return {key: value for pair in pairs for key, value in pair.items()}


def english() -> set[str]:
    page = _Texts()
    page.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    said = set(page.found) - {""} - _AS_THEY_ARE
    for path in STATIC.glob("*.js"):
        if path.name not in ("german.js", "messages.js"):
            text = path.read_text(encoding="utf-8")
            said |= {json.loads(item) for item in re.findall(rf"\bt\(\s*{_TEXT}", text)}
            said |= {json.loads(item) for pair in re.findall(rf"\bcounted\([^,]+,\s*{_TEXT},\s*{_TEXT}", text) for item in pair}
    presets = [DEFAULTS, *map(load_preset, preset_names())]
    said |= {item.description for item in presets} | {item.name.capitalize() for item in presets}
    recordings = {name for kind, name in KIND_NAMES.items() if kind != "unknown"}
    return said | recordings | {reason.replace("{v:.1f}", "{v}") for reason in REASONS}


def test_all_of_it_is_translated_and_nothing_else(german):
    said = english()
    assert len(said) > 150
    assert sorted(said - set(german)) == []
    assert sorted(set(german) - said) == []


def test_what_is_filled_in_stands_in_both(german):
    def holes(text: str) -> list[str]:
        return sorted(re.findall(r"\{\w+\}", text))

    assert [key for key, value in german.items() if holes(key) != holes(value)] == []


def test_no_message_is_put_together_around_the_catalogue():
    """Texts that the page's scripts show without asking it."""
    for path in (path for path in Path(STATIC).glob("*.js") if path.name not in ("german.js", "messages.js")):
        for shown in re.findall(r'(?:textContent|placeholder|alt|title) = "([^"]*)"', path.read_text(encoding="utf-8")):
            assert shown == "", f"{path.name}: {shown}"


def test_the_programs_commonest_notes_are_known_to_the_page():
    photo = ReferencePhoto(Path("a.jpg"), np.zeros((8, 8, 3), np.uint8), np.ones(512, np.float32))
    notes = [
        f"{GOING_ON}: 1 of 2 segments are restored",
        *describe_matches([Match(photos=(photo,), person=0, score=0.8, name="Anna")], {}),
    ]
    script = (STATIC / "kinds.js").read_text(encoding="utf-8")
    patterns = re.findall(r"= /(\^.+?\$)/\.exec\(note\)", script)
    assert [sum(bool(re.match(pattern, note)) for pattern in patterns) for note in notes] == [1, 1]
