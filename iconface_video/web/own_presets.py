"""Settings that the user has kept under a name of their own, for other videos: one file beside the projects, written whole at each change."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iconface_video.configs import DEFAULTS, preset_names
from iconface_video.errors import StoreError, UsageError
from iconface_video.files import write_whole
from iconface_video.settings import nearest
from iconface_video.web.record import Options

_log = logging.getLogger(__name__)

FILE = "presets.json"
_FORMAT = 1
_OF_ONE_VIDEO = {"begin": None, "end": None, "folder": ""}
"""Options that say nothing about another video, as they are where nothing is chosen."""
_NAME_LENGTH = 60
_MOST = 100


class OwnPresets:
    """Thread-safe. A file that cannot be read is said when something is to be kept, and never overwritten."""

    def __init__(self, folder: Path) -> None:
        """folder: of the projects."""
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._kept: dict[str, Options] = {}
        self._fault = ""
        try:
            self._kept = _read(self._path)
        except StoreError as error:
            self._fault = str(error)
            _log.warning("%s", error)

    def listed(self) -> dict[str, Any]:
        """For the page: by name, with all that each one sets."""
        with self._lock:
            kept = sorted(self._kept.items(), key=lambda item: item[0].casefold())
            return {"own": [{"name": name, "values": _for_any_video(options.used)} for name, options in kept]}

    def save(self, name: str, options: Options) -> str:
        """Keep these options, but for the part of the video, instead of what had the name; gives the name as it is kept.

        Raises UsageError for a name that cannot be, StoreError.
        """
        wanted = " ".join(name.split())[:_NAME_LENGTH]
        if not wanted:
            raise UsageError("settings that are to be kept need a name")
        if wanted.casefold() in {DEFAULTS.name, *preset_names()}:
            raise UsageError(f"'{wanted}' is the name of a preset of this program; choose another one")
        with self._lock:
            others = {known: kept for known, kept in self._kept.items() if known.casefold() != wanted.casefold()}
            if len(others) >= _MOST:
                raise UsageError(f"{_MOST} settings of your own are enough; delete some first")
            self._write({**others, wanted: options.changed(_OF_ONE_VIDEO)})
        return wanted

    def values(self, name: str) -> dict[str, Any]:
        """What `Options.changed` takes. Raises UsageError where nothing has the name."""
        with self._lock:
            return _for_any_video(asdict(self._known(name)))

    def delete(self, name: str) -> None:
        """Raises UsageError where nothing has the name, StoreError."""
        with self._lock:
            self._known(name)
            self._write({known: kept for known, kept in self._kept.items() if known != name})

    def _known(self, name: str) -> Options:
        if name not in self._kept:
            raise UsageError(f"no settings are kept under the name '{name[:_NAME_LENGTH]}'.{nearest(name, self._kept)}")
        return self._kept[name]

    def _write(self, kept: dict[str, Options]) -> None:
        if self._fault:
            raise StoreError(self._fault)
        content = {"format": _FORMAT, "presets": {name: _for_any_video(asdict(options)) for name, options in kept.items()}}
        try:
            write_whole(self._path, lambda file: file.write(json.dumps(content, indent=1).encode()))
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be written ({error.strerror}); free some space") from error
        self._kept = kept


def _for_any_video(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _OF_ONE_VIDEO}


def _read(path: Path) -> dict[str, Options]:
    """Raises StoreError."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise StoreError(f"{path}: of another release of this program; move it away to keep settings here")
        return {str(name): Options().changed(dict(values)) for name, values in content["presets"].items()}
    except UsageError as error:
        raise StoreError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{path}: missing or damaged ({type(error).__name__}: {error}); move it away to keep settings here"
        ) from error
