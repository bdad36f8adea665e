"""Options are made from the settings: same defaults, ranges and names."""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import pytest
import typer

from iconface_video.cli.main import app
from iconface_video.cli.options import seconds, with_options
from iconface_video.cli.shared_options import Part
from iconface_video.configs import load_preset, section_types
from iconface_video.errors import UsageError
from iconface_video.settings import EncodeSettings, OptionForm, RunSettings, setting

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", Fraction(12)),
        ("12.5", Fraction(25, 2)),
        ("0.04", Fraction(1, 25)),
        ("1:02", Fraction(62)),
        ("01:02:03.5", Fraction(7447, 2)),
        ("90:00", Fraction(5400)),
    ],
)
def test_times_are_exact(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1:-2", "1:60", "1:2:3:4", "1e3", "1.5:00", "x", "1/2", "1..2", "\u00b2"])
def test_other_times_are_refused(text):
    with pytest.raises(UsageError, match="is no time"):
        seconds(text)


def test_no_time_stays_none():
    assert Part() == Part(start=None, end=None, preview=None)


def test_run_offers_every_setting_with_its_help_and_range():
    command = typer.main.get_command(app).commands["run"]
    for section, kind in section_types().items():
        for item in fields(kind):
            flag = "--encoder-preset" if (section, item.name) == ("encode", "preset") else "--" + item.name.replace("_", "-")
            (option,) = (found for found in command.params if flag in found.opts)
            assert item.metadata["help"] in option.help
            if item.metadata["high"] is not None and item.name != "seed":
                assert f"to {item.metadata['high']:g}" in option.help


NAMES = OptionForm(("--name", "-n"), "NAME", read=str.upper)


@dataclass(frozen=True)
class Wanted:
    """Of every kind one."""

    first: Path = setting(form=OptionForm(metavar="FIRST", is_argument=True), help="An argument.")
    names: tuple[str, ...] = setting(("NOBODY",), form=NAMES, help="Several.")
    words: frozenset[str] = setting(frozenset(), help="A set.")
    when: Fraction = setting(Fraction(3), form=OptionForm(read=seconds, written="3"), help="A time.")
    many: int = setting(2, low=1, high=5, help="A number.")
    shows: bool = setting(True, form=OptionForm(("--hide",), read=operator.not_), help="An option that takes something away.")


def called(*words: str) -> list:
    """What a command got for these words."""
    found: list = []

    @with_options("restore")
    def command(wanted: Wanted, settings: RunSettings, encode: EncodeSettings, plain: int = 7) -> None:
        found.extend([wanted, settings, encode, plain])

    app = typer.Typer()
    app.command()(command)
    typer.main.get_command(app).main(list(words), standalone_mode=False)
    return found


def test_a_command_gets_its_records_with_their_own_defaults():
    wanted, settings, encode, plain = called("a.mp4")
    assert wanted == Wanted(Path("a.mp4"))
    assert (settings, encode, plain) == (RunSettings(), EncodeSettings(), 7)


def test_a_command_gets_what_was_typed():
    words = "a.mp4 -n ann --name ben --words x --words y --when 1:02 --many 5 --hide --plain 8 --crf 30 --seed 9 --preset film"
    wanted, settings, encode, plain = called(*words.split())
    assert wanted == Wanted(Path("a.mp4"), ("ANN", "BEN"), frozenset("xy"), Fraction(62), 5, False)
    assert settings == load_preset("film").settings({"restore": {"seed": 9}})
    assert (encode, plain) == (EncodeSettings(crf=30), 8)


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        ("a.mp4 --when soon", UsageError, "'soon' is no time"),
        ("a.mp4 --crf 99", UsageError, "crf is 99"),
        ("a.mp4 --steps 0", UsageError, "steps is 0"),
        ("a.mp4 --preset nosuch", UsageError, "there is no preset 'nosuch'"),
        ("a.mp4 --many 9", typer.TyperException, "Invalid value for '--many'"),
        ("", typer.TyperException, "Missing argument 'FIRST'"),
    ],
)
def test_what_is_wrong_is_refused(words, error, sentence):
    with pytest.raises(error) as caught:
        called(*words.split())
    text = caught.value.format_message() if isinstance(caught.value, typer.TyperException) else str(caught.value)
    assert sentence in text


def test_two_options_of_one_name_are_a_mistake_in_the_program():
    with pytest.raises(AssertionError, match="two options of one name"):

        @with_options("encode")
        def command(encode: EncodeSettings, settings: RunSettings) -> None: ...


def test_no_command_has_a_long_list_of_parameters():
    """What a command asks for is declared in dataclasses; a function that takes it apart again would be a second list."""
    rooms = [ROOT / "iconface_video" / "cli", ROOT / "iconface_video" / "lab"]
    functions = [
        (path.name, node.name, len(node.args.args) + len(node.args.kwonlyargs))
        for room in rooms
        for path in room.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 300
    assert [found for found in functions if found[2] > 8] == []  # eight, where the first is self
