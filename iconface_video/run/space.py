"""Whether the disks have room for what a run is about to write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iconface_video.errors import OutputError

_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Need:
    """Something that is going to be written."""

    path: Path
    """File or folder; need not exist yet."""
    bytes: int
    """About how many."""
    what: str
    """ "the output"."""
    option: str
    """By which the user puts it elsewhere."""


def check_space(needs: Sequence[Need]) -> None:
    """Raises OutputError where a disk has too little room for all that is going to be written to it."""
    disks: dict[int, list[Need]] = {}
    for need in needs:
        disks.setdefault(os.stat(_existing(need.path)).st_dev, []).append(need)
    for together in disks.values():
        free = shutil.disk_usage(_existing(together[0].path)).free
        if free < sum(need.bytes for need in together) + _SPARE_BYTES:
            wanted = " and ".join(f"{_gigabytes(need.bytes)} for {need.what}" for need in together)
            options = " or ".join(need.option for need in together)
            raise OutputError(
                f"{together[0].path}: about {wanted} are needed, and {_gigabytes(_SPARE_BYTES)} to spare, but only {_gigabytes(free)} are free there. "
                f"Free some space, or choose another place with {options}."
            )


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _gigabytes(count: int) -> str:
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e8
        else f"{count / 1e6:.0f} MB"
        if count >= 1e7
        else f"{max(count, 1e5) / 1e6:.1f} MB"
    )
