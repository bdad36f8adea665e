"""Help of every command, the page made from it, and the shell lines that the documentation promises."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from iconface_video.cli.main import app, main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def load_docs_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_commands", ROOT / "docs" / "make_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_commands = load_docs_script()
COMMANDS = {path[1:]: command for path, command in make_commands.walk(typer.main.get_command(app), ("iconface-video",))}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(words, capsys):
    assert main([*words, "--help"]) == 0
    assert "Example" in capsys.readouterr().out


def test_the_list_of_commands_says_what_their_help_says():
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        assert " ".join(command.help.split()).startswith(group.places[name].help), name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_explained(words):
    unexplained = [item.name for item in COMMANDS[words].params if item.name != "help" and not item.help]
    assert unexplained == []


def test_command_page_is_fresh():
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == make_commands.command_page(), "run `make docs`"


def shell_lines(text: str) -> list[str]:
    """Lines that call the program, from fenced blocks; a line that ends in a backslash goes on in the next."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    calls = [call.strip().removeprefix("$ ") for line in lines for call in line.split("&&")]
    return [call for call in calls if call.startswith("iconface-video ")]


PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
DOCUMENTED = sorted({line for page in PAGES for line in shell_lines(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_commands_parse(line):
    """Every option and argument of every documented line is understood; nothing is run."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    command = typer.main.get_command(app)
    while getattr(command, "commands", None):
        words = command.filled_in(words) if hasattr(command, "filled_in") else words
        assert words[0] in command.commands, line
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context(line, list(words))


def test_readme_calls_the_program():
    assert len(shell_lines(README.read_text(encoding="utf-8"))) >= 8


def test_readme_names_make_demo_first():
    first = re.search(r"^```(?:sh|bash)\n(.*?)\n", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert first is not None
    assert first[1].startswith("make demo")


def test_without_arguments_it_says_what_it_is_and_offers_the_page(capsys):
    assert main([]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Restore every face in a video" in said
    assert "iconface-video serve --open" in said


HEAVY = {"torch", "diffusers", "cv2", "av", "onnxruntime", "scipy"}


@pytest.mark.parametrize(("words", "heavy"), [(["run", "--help"], HEAVY), (["--help"], HEAVY | {"numpy", "rich", "yaml"})])
def test_help_is_light(words, heavy):
    """No heavy library is imported for --help; the list of commands loads none of them."""
    script = (
        f"import sys; from iconface_video.cli.main import main; code = main({words})\n"
        f"heavy = {heavy} & set(sys.modules)\n"
        "sys.exit('imported ' + ', '.join(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_clip_without_a_face_loads_no_torch(empty_clip, tmp_path):
    words = ["run", str(empty_clip), "-o", str(tmp_path / "out.mp4"), "--quiet"]
    script = (
        f"import sys; from iconface_video.cli.main import main; code = main({words})\n"
        "heavy = {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "sys.exit('imported ' + ', '.join(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").is_file()


def test_three_hops_lead_to_the_line_that_decides():
    """README -> docs/architecture.md -> a function -> a line: each is there, word for word."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    house = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "docs/architecture.md" in README.read_text(encoding="utf-8").partition("## How it works")[2]
    hops = re.findall(r"room \*\*(\w+)\*\* \| `(\S+)`, `(\w+)` \| `(.+?)` \|", guide)
    assert len(hops) == 3
    for room, file, function, line in hops:
        (paragraph,) = (text for text in house.split("\n\n") if text.startswith(f"**{room}** "))
        assert function in paragraph
        body = (ROOT / file).read_text(encoding="utf-8").partition(f"def {function}(")[2]
        assert line in body.partition("\ndef ")[0]


def test_the_order_of_the_rooms_names_every_room():
    house = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (order,) = (block for block in re.findall(r"```text\n(.*?)```", house, re.DOTALL) if "| lab" in block)
    rooms = {path.parent.name for path in (ROOT / "iconface_video").glob("*/__init__.py")} - {"weights"}
    assert set(order.replace("|", " ").split()) == rooms | {"configs", "pipelines"}
