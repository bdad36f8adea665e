"""Restored faces kept under what they were made from, so that whoever asks for the same face again need not restore it.

A `FaceModel` promises that the same crop, context and noise give the same face in a batch of the same shape, whatever else is
in it. So a preview's faces are the whole run's, and those of a piece that was broken off are those of the next try: to the bit.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iconface_video.files import PART
from iconface_video.restore.face_model import FaceModel, LooksAround, neighbours_of
from iconface_video.restore.framing import framing_of
from iconface_video.restore.noise import Shape
from iconface_video.session.fingerprint import hash_anchors
from iconface_video.types import Float32, IdentityAnchor, UInt8

_SUFFIX = ".face"
_CHECK_BYTES = 4


class FaceMemory:
    """A folder of faces, each a file of its checksum and its samples. It never fails: what cannot be kept or read is restored."""

    def __init__(self, folder: Path, most_bytes: int, others: Sequence[Path] = ()) -> None:
        """most_bytes: beyond that the oldest are dropped.  others: folders whose faces are taken, too."""
        self._folder, self._most, self._others = folder, most_bytes, tuple(others)
        self._sizes: dict[str, int] = {}
        self.taken = 0
        """Faces that need not be restored."""
        with suppress(OSError):
            found = [(item.stat(), item.name) for item in folder.glob(f"*{_SUFFIX}")]
            self._sizes = {name: state.st_size for state, name in sorted(found, key=lambda one: one[0].st_mtime_ns)}

    def face(self, key: str, size: int) -> UInt8 | None:
        """(S, S, 3) RGB; None where it is not kept, or damaged."""
        for folder in (self._folder, *self._others):
            with suppress(OSError):
                data = (folder / f"{key}{_SUFFIX}").read_bytes()
                samples = data[_CHECK_BYTES:]
                if (
                    len(samples) == size * size * 3
                    and zlib.crc32(samples).to_bytes(_CHECK_BYTES, "little") == data[:_CHECK_BYTES]
                ):
                    return np.frombuffer(samples, np.uint8).reshape(size, size, 3)
        return None

    def keep(self, key: str, face: UInt8) -> None:
        """face: (S, S, 3) RGB."""
        path, samples = self._folder / f"{key}{_SUFFIX}", np.ascontiguousarray(face).tobytes()
        unfinished = path.with_suffix(PART)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(zlib.crc32(samples).to_bytes(_CHECK_BYTES, "little") + samples)
            os.replace(unfinished, path)
            self._sizes[path.name] = _CHECK_BYTES + len(samples)
            while sum(self._sizes.values()) > self._most:
                oldest = next(iter(self._sizes))
                del self._sizes[oldest]
                (self._folder / oldest).unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _Context:
    """What the model has prepared of an anchor, and a hash of the anchor."""

    own: Any
    digest: str


class RememberingModel:
    """A `FaceModel` around another one: restores what is not in the memory, and puts it there."""

    def __init__(self, model: FaceModel, memory: FaceMemory, made_with: str) -> None:
        """made_with: hash of all that the model's results depend on besides crop, anchor and noise."""
        self._model, self._memory, self._made_with = model, memory, made_with
        self.name, self.crop_sizes = model.name, model.crop_sizes
        self.framing, self.neighbours = framing_of(model), neighbours_of(model)

    def noise_shape(self, size: int) -> Shape:
        return self._model.noise_shape(size)

    def prepare(self, anchor: IdentityAnchor, size: int) -> _Context:
        return _Context(self._model.prepare(anchor, size), hash_anchors({0: anchor}))

    def fuse(self, window: Sequence[UInt8]) -> UInt8:
        """See `LooksAround.fuse`; asked only where there are neighbours."""
        assert isinstance(self._model, LooksAround)
        return self._model.fuse(window)

    def restore(self, crops: UInt8, contexts: Sequence[_Context], noise: Float32) -> UInt8:
        keys = [self._key(*each, len(crops)) for each in zip(crops, contexts, noise)]
        size = crops.shape[1]
        faces = {key: self._memory.face(key, size) for key in keys}
        missing = [keys.index(key) for key, face in faces.items() if face is None]
        self._memory.taken += len(faces) - len(missing)
        if missing:
            rows = [*missing, *missing[-1:] * (len(crops) - len(missing))]  # the batch keeps its shape
            made = self._model.restore(crops[rows], [contexts[row].own for row in rows], noise[rows])
            for row, face in zip(missing, made):
                faces[keys[row]] = face
                self._memory.keep(keys[row], face)
        return np.stack([faces[key] for key in keys])  # type: ignore[misc]  # none is missing any more

    def _key(self, crop: UInt8, context: _Context, noise: Float32, batch: int) -> str:
        digest = hashlib.sha256(f"{self._made_with}/{context.digest}/{batch}/{crop.shape[0]}/".encode())
        digest.update(np.ascontiguousarray(crop).tobytes())
        digest.update(np.ascontiguousarray(noise).tobytes())
        return digest.hexdigest()[:40]
