"""Finished segments that arrive in pieces: written aside, checked, and only then given their names in the crop store."""

from __future__ import annotations

import os
from pathlib import Path

from iconface_video.errors import OutputError
from iconface_video.files import PART, checksum, sync_path
from iconface_video.session.engines.messages import Done, Piece


class Inbox:
    """Of one worker."""

    def __init__(self, folder: Path) -> None:
        """folder: the crop store's."""
        self._folder = folder
        self._begun: set[str] = set()

    def add(self, piece: Piece) -> None:
        """Append to the file that is on its way. Raises OutputError."""
        path = self._part(piece.name)
        try:
            with open(path, "ab" if piece.name in self._begun else "wb") as file:
                file.write(piece.data)
        except OSError as error:
            raise OutputError(f"{path}: cannot write the crop store ({error.strerror})") from error
        self._begun.add(piece.name)

    def finish(self, done: Done) -> bool:
        """Blobs first, the index last, as `SegmentWriter` does. False where a file came damaged; nothing of it is kept then.

        Raises OutputError.
        """
        try:
            for name in done.checksums:
                if name not in self._begun:
                    self._part(name).write_bytes(b"")
            if any(checksum(self._part(name)) != known for name, known in done.checksums.items()):
                self.discard()
                return False
            for name in done.checksums:
                sync_path(self._part(name))
                os.replace(self._part(name), self._folder / name)
            sync_path(self._folder)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot finish the crop store ({error.strerror})") from error
        self._begun.clear()
        return True

    def discard(self) -> None:
        """Forget what is on its way."""
        for name in self._begun:
            self._part(name).unlink(missing_ok=True)
        self._begun.clear()

    def _part(self, name: str) -> Path:
        return self._folder / (name + PART)
