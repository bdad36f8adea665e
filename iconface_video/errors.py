"""One small hierarchy. Each error is also the built-in one it is; the command line maps it to an exit code.

Every message says what is wrong, with which file or value, and what to do.
"""

from __future__ import annotations


class IconFaceError(Exception):
    """Anything this package refuses or fails at on purpose."""

    exit_code = 1


class UsageError(IconFaceError, ValueError):
    """The request itself is wrong: an option, a preset, a combination."""

    exit_code = 2


class InputError(IconFaceError, OSError):
    """An input file is missing, unreadable or of the wrong kind."""

    exit_code = 2


class VideoOpenError(InputError):
    """A video cannot be opened or has no usable video stream."""


class ReferencePhotoError(InputError):
    """A reference photo cannot be used."""


class OutputError(IconFaceError, OSError):
    """The output cannot be written where it was asked for."""

    exit_code = 2


class DecodeError(IconFaceError, OSError):
    """Decoding broke in a way that cannot be concealed."""


class EncodeError(IconFaceError, OSError):
    """The encoder or the muxer refused."""


class CheckpointError(IconFaceError, ValueError):
    """A checkpoint is incomplete, corrupt, of another version or size."""

    exit_code = 2


class StoreError(IconFaceError, OSError):
    """The crop store is damaged or belongs to another run."""


class WorkerError(IconFaceError, RuntimeError):
    """Workers died or never came, and what they were to do is not done."""


class Cancelled(IconFaceError):
    """The caller asked to stop."""

    exit_code = 130


def add_note(error: BaseException, note: str) -> None:
    """`BaseException.add_note` of Python 3.11, for 3.10 as well: shown under a traceback and by the command line."""
    error.__notes__ = [*notes_of(error), note]  # type: ignore[attr-defined]


def notes_of(error: BaseException) -> list[str]:
    """What was added to an exception on its way."""
    return list(getattr(error, "__notes__", ()))
