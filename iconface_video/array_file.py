"""Reading numpy's .npz files that may be damaged, or made to take all memory: what they claim is checked before it is allocated."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_GROWTH = 200
"""Unpacked bytes for each packed one; our arrays take a few, and a file made to hurt a thousand."""
_ALWAYS_ALLOWED = 64 << 20


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file by name; nothing is unpickled.

    Raises FileNotFoundError, other OSErrors, and ValueError for whatever is wrong with the content.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            most = max(_ALWAYS_ALLOWED, _MOST_GROWTH * path.stat().st_size)
            if sum(member.file_size for member in members) > most:
                raise ValueError("it would unpack to far more than such a file holds")
            for member in members:
                _check_claim(archive, member)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile, zlib, numpy and the header's parser each raise their own on damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_claim(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Whether an array is as large as its header says: numpy would allocate first and notice later."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array {member.filename} is of an unknown version {version}")
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
        claimed = math.prod(shape) * dtype.itemsize + file.tell()
        if dtype.hasobject or min(shape, default=0) < 0 or claimed != member.file_size:
            raise ValueError(f"array {member.filename} claims {claimed} bytes and has {member.file_size}")
