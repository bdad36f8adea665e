"""The container image is made from what the project pins and ships."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from iconface_video.web.serving import DEFAULT_PORT

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")


def test_it_reads_the_pinned_torch() -> None:
    command = re.search(r"version=\$\((sed .* constraints\.txt)\)", TEXT)
    assert command is not None
    found = subprocess.run(command[1], shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", found)


@pytest.mark.parametrize("line", [line for line in TEXT.splitlines() if line.startswith("COPY ")])
def test_what_it_copies_is_there(line: str) -> None:
    *sources, _ = line.split()[1:]
    for source in sources:
        assert (ROOT / source).exists()
        assert source not in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


def test_the_port_it_tells_to_publish_is_the_one_that_is_served() -> None:
    assert re.findall(r"-p \S*?(\d+):(\d+) iconface-video serve", TEXT) == [(str(DEFAULT_PORT), str(DEFAULT_PORT))]


def test_its_extras_exist() -> None:
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", TEXT)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
