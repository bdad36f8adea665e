"""A slip of the finger is answered with the word that was meant: walks over all commands, options, choices and names."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import huggingface_hub
import pytest
import typer

from iconface_video.cli.main import _one_line, app, main
from iconface_video.configs import preset_names, section_types
from iconface_video.degrade.presets import PRESETS
from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models.hub import check_source, fetch
from iconface_video.settings import plain_type
from tests.cli.test_help_and_docs import COMMANDS

ROOT = typer.main.get_command(app)


def slip(word: str) -> str:
    """Two letters in the middle change places."""
    middle = len(word) // 2
    for at in (*range(middle, len(word) - 1), *range(middle - 1, 0, -1)):
        if word[at] != word[at + 1] and "-" not in word[at : at + 2]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    raise AssertionError(f"'{word}' cannot be mistyped")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The sentence on stderr, of a call that is refused."""
    code = main(list(words))
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def parsed(command: Any, *words: str) -> str:
    """The sentence with which a command answers words that it does not know; nothing is run."""
    with pytest.raises(typer.TyperException) as caught:
        command.main(list(words), prog_name="iconface-video", standalone_mode=False)
    return _one_line(caught.value)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_recognised_when_mistyped(words):
    flags = [flag for item in COMMANDS[words].params for flag in item.opts if flag.startswith("--") and len(flag) > 5]
    for flag in flags:
        assert f"Did you mean '{flag}'?" in parsed(COMMANDS[words], slip(flag)), flag


def groups(command: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None) or {}
    return [(words, command)] * bool(children) + [
        found for name, child in children.items() for found in groups(child, (*words, name))
    ]


@pytest.mark.parametrize(
    ("words", "group"), groups(ROOT), ids=lambda item: " ".join(item) or "top" if isinstance(item, tuple) else ""
)
def test_every_command_is_recognised_when_mistyped(words, group):
    for name in (name for name in group.commands if len(name) > 3):
        # Another command may be as near: then both are named.
        assert f"'{name}'" in parsed(group, slip(name)).partition("Did you mean")[2], name


def choices() -> list[tuple[type, str, str]]:
    """(settings class, setting, choice) of every setting that takes one of a few words."""
    found = []
    for kind in section_types().values():
        hints = get_type_hints(kind)
        for item in fields(kind):
            hint = plain_type(hints[item.name])
            if get_origin(hint) is not None:
                found += [(kind, item.name, choice) for choice in get_args(hint) if len(choice) > 3]
    return found


@pytest.mark.parametrize(
    ("kind", "name", "choice"), choices(), ids=lambda item: item if isinstance(item, str) else item.__name__
)
def test_every_choice_is_recognised_when_mistyped(kind, name, choice):
    with pytest.raises(UsageError, match=rf"must be one of .*\. Did you mean '{choice}'\?"):
        kind(**{name: slip(choice)})


def with_option(flag: str) -> list[tuple[str, ...]]:
    return [words for words, command in COMMANDS.items() if any(flag in item.opts for item in command.params)]


@pytest.mark.parametrize("words", with_option("--preset"), ids=" ".join)
def test_every_preset_is_recognised_when_mistyped(words, face_clip, tmp_path, capsys):
    arguments: list[str] = []
    for item in COMMANDS[words].params:
        if item.required:
            is_output = "--output" in item.opts
            arguments += [*item.opts[:1]] * item.opts[0].startswith("-") + [
                str(tmp_path / "out.mp4" if is_output else face_clip)
            ]
    known = [
        name for name in (PRESETS if words == ("degrade",) else preset_names()) if len(name) > 3
    ]  # "dv" and "8mm" cannot be mistyped so
    for name in known:
        message = answer(capsys, *words, *arguments, "--preset", slip(name))
        assert f"Did you mean '{name}'?" in message
        assert message.count(name) >= 2  # once more in the list of all


def test_noise_and_model_on_the_command_line(face_clip, tmp_path, capsys):
    out = ["-o", str(tmp_path / "o.mp4")]
    assert "Did you mean 'progressive'?" in answer(capsys, "run", str(face_clip), *out, "--noise", "progresive")
    assert "Did you mean 'embedded'?" in answer(capsys, "run", str(face_clip), *out, "--model", "embeded")
    assert not (tmp_path / "o.mp4").exists()


def test_a_folder_of_a_model_is_recognised_when_mistyped(tmp_path):
    (tmp_path / "klein-anna").mkdir()
    check_source(str(tmp_path / "klein-anna"))
    check_source("hub:owner/name")
    with pytest.raises(CheckpointError, match=r"Did you mean '.*klein-anna'\?"):
        check_source(str(tmp_path / "klein-ana"))


@pytest.mark.parametrize("wrong", ["runs/klein-ana", "rnus/klein-anna"])
def test_a_mistyped_relative_folder_is_not_sent_to_the_hub(wrong, face_clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **named: pytest.fail(f"asked for {given}"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "klein-anna").mkdir(parents=True)
    for words in (
        ["run", str(face_clip), "-o", "o.mp4", "--model", wrong],
        ["models", "pull", wrong],
        ["models", "info", wrong],
    ):
        message = answer(capsys, *words)
        assert f"write hub:{wrong}" in message
        assert "Did you mean 'runs/klein-anna'?" in message


def test_the_hub_is_asked_for_what_is_marked_or_known(monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **named: asked.append(name) or "/found")
    fetch("hub:owner/name")
    fetch("black-forest-labs/FLUX.2-klein-base-4B")
    assert asked == ["owner/name", "black-forest-labs/FLUX.2-klein-base-4B"]
    with pytest.raises(CheckpointError, match="write hub:owner/name"):
        fetch("hub:owner")
