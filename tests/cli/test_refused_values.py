"""Values on the command line and in settings files that cannot be: refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from iconface_video.cli.options import person, present
from iconface_video.configs import load_preset, settings_from
from iconface_video.errors import InputError, UsageError


@pytest.mark.parametrize("name", ["a" * 400, f"{'a' * 400}/b.mp4"], ids=["a long name", "below a long name"])
def test_a_path_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.\.\.: there can be no such video \(File name too long\)"):
        present(tmp_path / name, "video")


def test_a_path_with_a_slip_of_the_finger(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(InputError, match=r"hoilday\.mp4: there is no such video\. Did you mean 'holiday\.mp4'\?"):
        present(tmp_path / "hoilday.mp4", "video")


def test_a_path_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"the folder {tmp_path / 'none'} does not exist either"):
        present(tmp_path / "none" / "a.mp4", "video")


@pytest.mark.parametrize("pair", ["anna", "=photos", "anna=", " =photos", ""], ids=repr)
def test_a_person_without_a_name_or_a_folder(pair: str) -> None:
    with pytest.raises(UsageError, match="must be NAME=FOLDER, for example anna=photos/anna"):
        person(pair)


@pytest.mark.parametrize("text", ["3", "[a, b]", "{a: b}", "true"], ids=["number", "list", "mapping", "yes"])
def test_a_preset_whose_description_is_no_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"description: {text}\n")
    with pytest.raises(UsageError, match=r"mine\.yaml: description must be a text, got"):
        load_preset(str(path))


@pytest.mark.parametrize("content", [3, "fast", [1], None], ids=["number", "text", "list", "nothing"])
def test_a_section_that_holds_no_settings(content: object) -> None:
    with pytest.raises(UsageError, match=r"mine: section 'render' must hold settings, got"):
        settings_from({"render": content}, "mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "mine.yaml", id="torn"),
        pytest.param("- a\n- b\n", "mine.yaml", id="a list"),
        pytest.param("render: {strength: 1}\nrender: {strength: 2}\n", "mine.yaml", id="twice"),
    ],
)
def test_a_preset_that_is_no_preset(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises((UsageError, InputError), match=message):
        load_preset(str(path))


def test_a_preset_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        load_preset(str(tmp_path / "none.yaml"))
