"""The package as a library: light to import, its names are there."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import iconface_video
from iconface_video.settings import RenderSettings


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)


def test_import_pulls_in_no_heavy_library():
    done = run_python(
        "import sys, iconface_video\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'cv2', 'av', 'scipy', 'onnxruntime', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert done.returncode == 0, done.stderr


def test_probe_needs_no_torch(face_clip):
    done = run_python(
        f"import sys, iconface_video\niconface_video.probe({str(face_clip)!r})\n"
        "heavy = {'torch', 'diffusers'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert done.returncode == 0, done.stderr


def test_a_clip_without_a_face_needs_neither_torch_nor_the_tracker_s_libraries(empty_clip):
    done = run_python(
        f"import sys, iconface_video\nassert not iconface_video.survey({str(empty_clip)!r}).tracks\n"
        "heavy = {'torch', 'diffusers', 'filterpy', 'scipy.stats', 'scipy.cluster'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", iconface_video.__all__)
def test_every_public_name_is_there(name):
    assert getattr(iconface_video, name) is not None
    assert name in dir(iconface_video)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'restore_vidoe'"):
        iconface_video.restore_vidoe  # noqa: B018


def test_python_examples_of_the_documentation_compile():
    root = Path(__file__).parents[2]
    for page in (root / "README.md", *(root / "docs" / name for name in ("library.md", "extending.md"))):
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        assert blocks
        for block in blocks:
            compile(block, str(page), "exec")
            for names in re.findall(r"^from iconface_video import (.*)$", block, re.MULTILINE):
                assert all(hasattr(iconface_video, name.strip()) for name in names.split(","))


def test_the_page_has_every_public_name_with_an_example():
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    listed = page.partition("## Everything public\n")[2].partition("\n## ")[0]
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", listed, re.MULTILINE | re.DOTALL))
    assert sorted(sections) == sorted(iconface_video.__all__)
    for name, text in sections.items():
        (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert re.search(rf"^from iconface_video import .*\b{name}\b", example, re.MULTILINE)


def test_the_page_names_every_argument_that_is_there():
    """Functions are shown with their arguments; one that was renamed or added is missed here."""
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    shown = {name: arguments for name, arguments in re.findall(r"`(\w+)\(([^`]*)\)`", page) if name in iconface_video.__all__}
    assert len(shown) >= 8
    for name, arguments in shown.items():
        given = [item.partition("=")[0].strip() for item in arguments.split(",")]
        known = list(inspect.signature(getattr(iconface_video, name)).parameters)
        assert [word for word in given if word != "*" and word not in known] == [], name


def test_settings_of_a_wrong_value_are_value_errors():
    with pytest.raises(ValueError, match="strength is 2"):
        iconface_video.RunSettings(render=RenderSettings(strength=2))
