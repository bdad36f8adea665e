"""What an installation holds: every room, presets, and no module under a name that others may use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads pyproject.toml by itself")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_it_is_for_the_pythons_that_it_names(project):
    """`.ci/pythons` takes the versions from the classifiers."""
    label = "Programming Language :: Python :: "
    named = [item.removeprefix(label) for item in project["project"]["classifiers"] if item.startswith(label)]
    assert named == [f"3.{minor}" for minor in range(10, 15)]
    allowed = SpecifierSet(project["project"]["requires-python"])
    assert [f"3.{minor}" for minor in range(6, 20) if f"3.{minor}.1" in allowed] == named


@pytest.mark.parametrize(
    ("system", "machine", "wanted"),
    [("linux", "x86_64", True), ("linux", "aarch64", False), ("darwin", "x86_64", False), ("darwin", "arm64", False)],
)
def test_decord_is_asked_for_only_where_it_has_a_wheel(project, system, machine, wanted):
    (line,) = (item for item in project["project"]["dependencies"] if item.startswith("decord"))
    marker = Requirement(line).marker
    assert marker is not None
    assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) is wanted


def test_every_package_is_listed(project):
    """setuptools takes only what is listed; a forgotten room would be missing from the wheel alone."""
    setup = project["tool"]["setuptools"]
    folders = {
        init.parent for name in ("iconface_video", "pipelines", "configs") for init in (ROOT / name).rglob("__init__.py")
    }
    mapped = {ROOT / "pipelines": "iconface_video.pipelines", ROOT / "configs": "iconface_video.configs"}
    expected = {mapped.get(folder, ".".join(folder.relative_to(ROOT).parts)) for folder in folders}
    assert set(setup["packages"]) == expected
    assert setup["package-dir"]["iconface_video.pipelines"] == "pipelines"


def test_every_yaml_file_is_carried(project):
    patterns = project["tool"]["setuptools"]["package-data"]["iconface_video.configs"]
    carried = {path for pattern in patterns for path in (ROOT / "configs").glob(pattern)}
    assert set((ROOT / "configs").rglob("*.yaml")) - carried == set()


def test_every_template_and_static_file_is_carried(project):
    data = project["tool"]["setuptools"]["package-data"]
    for package, folder in (("iconface_video.pages", "templates"), ("iconface_video.web", "static")):
        home = ROOT.joinpath(*package.split("."))
        carried = {path for pattern in data[package] for path in home.glob(pattern)}
        files = {path for path in (home / folder).rglob("*") if path.is_file()}
        assert files, package
        assert files - carried == set()


def test_no_stray_top_level_module(tmp_path):
    """From another folder `pipelines` is not importable, `iconface_video.pipelines` is."""
    script = (
        "import importlib.util as u\n"
        "assert u.find_spec('pipelines') is None and u.find_spec('configs') is None\n"
        "assert u.find_spec('iconface_video.pipelines') and u.find_spec('iconface_video.configs')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_constraints_are_exact_and_name_no_place():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition(";")[0].strip() for line in lines if line and not line.startswith("#")]
    assert len(pins) > 40
    assert [pin for pin in pins if pin.count("==") != 1 or "/" in pin or "@" in pin or "+" in pin] == []


def test_constraints_cover_every_dependency(project):
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    names = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]]
    wanted = {name.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower().replace("_", "-") for name in names}
    assert wanted - pinned == set()
