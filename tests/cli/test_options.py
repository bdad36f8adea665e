"""Options are made from the settings: same defaults, ranges and names."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction

import pytest
import typer

from iconface_video.cli.main import app
from iconface_video.cli.options import seconds
from iconface_video.cli.shared_options import Part
from iconface_video.configs import section_types
from iconface_video.errors import UsageError


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
