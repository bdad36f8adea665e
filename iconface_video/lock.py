"""Locks on names: who writes a file or works in a folder is alone to do it; others are told who has it.

The lock is the operating system's (by filelock), on a small hidden file beside the output or inside the folder: it goes with
its process, however that ends. The file is removed when the lock is given back; one that a killed process left is taken over.
"""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from iconface_video.errors import OutputError
from iconface_video.files import PARTIAL, left_aside

LOCK = ".iconface-lock"
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_PATIENCE_SECONDS, _LOOK_EVERY_SECONDS = 0.2, 0.05
"""Long enough for a holder that is just giving back the lock."""
_HOLDER_BYTES = 512


class NameLock:
    """A lock file, held from `acquire` to `release`, by any thread of the process."""

    def __init__(self, file: Path, busy: str) -> None:
        """busy: what is said while another process holds it; "{who}" stands for that one."""
        self._file, self._busy = file, busy
        self._lock: BaseFileLock | None = None

    def acquire(self) -> None:
        """Raises OutputError while another one holds it; OSError."""
        while self._lock is None:
            lock = self._taken()
            if isinstance(lock, SoftFileLock):  # says itself who holds it
                self._lock = lock
                return
            try:
                with suppress(PermissionError), open(self._file, "r+", encoding="utf-8") as file:  # Windows locks the text, too
                    file.write(f"{os.getpid()}\n{socket.gethostname()}\n")
                    file.truncate()
                self._lock = lock
            except FileNotFoundError:  # its last holder has just removed it: the lock guards no name
                lock.release()

    def _taken(self) -> BaseFileLock:
        try:
            return self._locked(FileLock)
        except OSError as error:
            if isinstance(error, (Timeout, OutputError)) or error.errno not in _UNSUPPORTED:
                raise
        # This file system knows no locks: the file itself has to be one. What the attempt has left is no lock of anybody's.
        with suppress(FileNotFoundError):
            if self._file.stat().st_size == 0:
                self._file.unlink()
        return self._locked(SoftFileLock)

    def _locked(self, kind: type[BaseFileLock]) -> BaseFileLock:
        lock = kind(str(self._file), thread_local=False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=_LOOK_EVERY_SECONDS)
        except Timeout:
            raise OutputError(self._busy.format(who=self._holder())) from None
        return lock

    def _holder(self) -> str:
        """ " (process 123)", or nothing where that is not known."""
        try:
            with open(self._file, encoding="utf-8", errors="replace") as file:
                process, host, *_ = [*file.read(_HOLDER_BYTES).split("\n"), "", ""]
        except OSError:
            return ""
        if not process.strip().isdigit():
            return ""
        return f" (process {process.strip()}{'' if host in ('', socket.gethostname()) else f' on {host}'})"

    def release(self) -> None:
        """The lock file is removed. Nothing happens where it is not held."""
        if self._lock is None:
            return
        if os.name != "nt" and not isinstance(
            self._lock, SoftFileLock
        ):  # while it is held: whoever comes now finds out that it is gone
            self._file.unlink(missing_ok=True)
        self._lock.release()
        self._lock = None
        if os.name == "nt":
            with suppress(OSError):
                self._file.unlink(missing_ok=True)


class FolderLock(NameLock):
    """The lock of a folder, inside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / LOCK,
            f"{_braces(folder)}: another run{{who}} is at work in this folder. Wait for it or stop it, or choose another folder.",
        )
        self._folder = folder

    def acquire(self) -> None:
        """Make the folder where it is missing, and lock it. Raises OutputError while another process holds it; OSError."""
        while self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # its last holder has just removed it
                super().acquire()


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Alone in a folder of the user's, which is made where it is missing, while the block runs. Raises OutputError."""
    lock = FolderLock(folder)
    _acquire(lock, folder)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Alone to write a file while the block runs; what killed writers of it left is removed first.

    Raises OutputError while another process writes it.
    """
    lock = NameLock(
        output.with_name(f".{output.name}{LOCK}"),
        f"{_braces(output)}: another run{{who}} is writing this file. Wait for it or stop it, or name another output.",
    )
    _acquire(lock, output)
    try:
        for unfinished in left_aside(output, PARTIAL):
            unfinished.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _acquire(lock: NameLock, what: Path) -> None:
    try:
        lock.acquire()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{what}: cannot be locked against other runs ({error.strerror or error})") from error


def _braces(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")
