"""A lock on a folder: held by one process, gone with it however it ends."""

from __future__ import annotations

import os
from pathlib import Path

from iconface_video.errors import OutputError

LOCK = "lock"


class FolderLock:
    """The lock file of a folder, held from `acquire` to `release`.

    It is the operating system's lock on an open file, so that a killed process leaves none behind. Child processes must be
    spawned, not forked: a forked one would hold the lock beyond its parent's death.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Make the folder where it is missing, and lock it. Raises OutputError while another process holds it; OSError."""
        while self._descriptor is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if not _try_lock(descriptor):
                    holder = os.read(descriptor, 32).decode(errors="replace").strip()
                    raise OutputError(
                        f"{self._folder}: another run{f' (process {holder})' if holder else ''} is at work in this folder. "
                        "Wait for it or stop it, or choose another folder with --work."
                    )
                if _is_same(descriptor, self._path):  # its last holder may just have removed it
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    self._descriptor, descriptor = descriptor, -1
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def release(self, remove: bool = False) -> None:
        """remove: the lock file, too (the folder is being removed)."""
        if self._descriptor is None:
            return
        if remove and os.name != "nt":  # while it is held: whoever comes now finds out that it is gone
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        if remove and os.name == "nt":
            self._path.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    """False when another one holds it. On file systems without locks everybody gets it."""
    if os.name == "nt":
        import msvcrt

        try:
            # One byte far behind the text, which others shall be able to read.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
