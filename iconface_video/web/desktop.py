"""Showing a folder in the desktop's own window, on the machine where the program runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from iconface_video.errors import OutputError, UsageError

_OPENERS = {"darwin": "open", "win32": "explorer"}
_ELSEWHERE = "xdg-open"
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
"""Without one of these `xdg-open` has no desktop to ask."""


def opener(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> str | None:
    """The desktop's program that shows folders; None where there is none, or no desktop."""
    name = _OPENERS.get(platform, _ELSEWHERE)
    if name == _ELSEWHERE and not any(environment.get(screen) for screen in _SCREENS):
        return None
    return shutil.which(name, path=environment.get("PATH"))


def show_folder(folder: Path) -> None:
    """Start the desktop's program with this folder, and leave it alone. Raises UsageError where there is none, OutputError."""
    program = opener()
    if program is None:
        raise UsageError("there is no desktop here that could show a folder; its path is on the page, to be copied")
    if not folder.is_dir():
        raise OutputError(f"{folder}: this folder is not there any more")
    try:
        started = subprocess.Popen(  # no shell: a name is never more than a name
            [program, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise OutputError(f"{program}: cannot be started ({error.strerror})") from error
    threading.Thread(target=started.wait, name="opener", daemon=True).start()  # some stay as long as their window is open
