"""The package as a library: light to import, its names are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import iconface_video


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


@pytest.mark.parametrize("name", iconface_video.__all__)
def test_every_public_name_is_there(name):
    assert getattr(iconface_video, name) is not None
    assert name in dir(iconface_video)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'restore_vidoe'"):
        iconface_video.restore_vidoe  # noqa: B018


def test_python_examples_of_the_documentation_compile():
    import re
    from pathlib import Path

    root = Path(__file__).parents[2]
    for page in (root / "README.md", *(root / "docs" / name for name in ("library.md", "extending.md"))):
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        assert blocks
        for block in blocks:
            compile(block, str(page), "exec")
            for names in re.findall(r"^from iconface_video import (.*)$", block, re.MULTILINE):
                assert all(hasattr(iconface_video, name.strip()) for name in names.split(","))
