"""The C library keeps freed memory for the next frame instead of giving it back to the system after each."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))."""
_KEPT_BYTES, _LARGEST_REUSED = 1 << 30, 32 << 20
"""glibc takes no mmap threshold above 32 MiB."""


def reuse_freed_memory() -> bool:
    """Set it for this process; True where the C library takes it (glibc). Values of the user's own (MALLOC_...) are left.

    Frames, crops and tensors come and go by the megabyte; fetching each anew from the system took a sixth of a run's time.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_REUSED)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
