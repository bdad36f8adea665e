"""The crop store: what the model made, kept lossless until it is rendered.

One folder. ``store.json`` says which run it belongs to. A segment is two files: ``segment-00007.crops``, PNG blobs one after
another (intra-coded: any crop can be read alone), and ``segment-00007.npz``, the index: which frame and track, the transform
that put the crop there, and each blob's place, length and CRC. Both are written aside and renamed, blobs first: a segment
whose index stands is whole. Source crops are not kept: they can be cut from the input again.
"""

from __future__ import annotations

import errno
import json
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from iconface_video.errors import OutputError, StoreError
from iconface_video.files import PART, WholeFile, read_arrays, write_whole
from iconface_video.types import Float64, Segment, UInt8

STORE_VERSION = 1
STORE_FILE = "store.json"
_BYTES_PER_PIXEL = 1.9
"""Measured on restored faces at PNG level 1: 1.2 to 1.8 bytes per RGB pixel; noise needs more, padding needs less."""
_LARGEST_CROP = 8192
"""px; no model makes one of a quarter of it."""

_INDEX_TYPE = np.dtype(
    [
        ("pts", "<i8"),
        ("track_id", "<i4"),
        ("size", "<i4"),
        ("fade", "<f4"),
        ("quality", "<f4"),
        ("crop_from_frame", "<f8", (2, 3)),
        ("offset", "<i8"),
        ("length", "<i8"),
        ("crc", "<u4"),
    ]
)


@dataclass(frozen=True, eq=False)
class StoredCrop:
    """One restored face as it stands in the store."""

    pts: int
    track_id: int
    crop_from_frame: Float64
    """(2, 3) affine, frame px -> crop px."""
    fade: float
    """Mask weight of the frame, 0..1."""
    quality: float
    image: UInt8
    """(S, S, 3) RGB, restored."""

    @property
    def size(self) -> int:
        return int(self.image.shape[0])

    def __repr__(self) -> str:
        return f"StoredCrop(track={self.track_id}, pts={self.pts}, {self.size}px, fade={self.fade:.2f})"


def estimate_bytes(crops_by_size: dict[int, int]) -> int:
    """How large the store gets at most. crops_by_size: crop size in px -> number of crops."""
    return int(sum(count * size * size * _BYTES_PER_PIXEL for size, count in crops_by_size.items()))


def gigabytes(count: int) -> str:
    """ "1.2 GB", "80 MB", "0.1 MB"."""
    if count >= 1e8:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{max(count, 1e5) / 1e6:.1f} MB"


class SegmentWriter:
    """Writes one segment; nothing stands under its name before `finish`.

    Use as a context manager: leaving without `finish` removes what was written.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._blobs, self._index = segment_paths(folder, index)
        self._rows: list[tuple[Any, ...]] = []
        self._places: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._offset = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._whole = WholeFile(self._blobs, self._blobs.with_suffix(f".crops{PART}"))
        except OSError as error:
            raise _refused(folder, error) from error

    def add(self, crop: StoredCrop) -> None:
        """Append one crop."""
        done, blob = cv2.imencode(".png", cv2.cvtColor(crop.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise StoreError(f"{self._blobs}: a {crop.size} px crop could not be packed")
        data = blob.tobytes()
        place = (self._offset, len(data), zlib.crc32(data))
        try:
            self._whole.file.write(data)
        except OSError as error:
            raise _broken_off(self._blobs, error) from error
        self._offset += len(data)
        self._places[crop.pts, crop.track_id] = place
        self._append(crop.pts, crop.track_id, crop.size, crop.fade, crop.quality, crop.crop_from_frame, place)

    def repeat(self, pts: int, fade: float, quality: float, track_id: int, source_pts: int, crop: Float64, size: int) -> None:
        """A frame that shows the same as one already added: its index row points to that blob.

        crop: (2, 3) crop_from_frame.
        """
        self._append(pts, track_id, size, fade, quality, crop, self._places[source_pts, track_id])

    def _append(
        self, pts: int, track_id: int, size: int, fade: float, quality: float, matrix: Float64, place: tuple[int, int, int]
    ) -> None:
        self._rows.append((pts, track_id, size, fade, quality, matrix, *place))

    def finish(self) -> None:
        """Sync, rename into place; blobs first, the index last."""
        rows = np.array(self._rows, dtype=_INDEX_TYPE)
        rows = rows[np.lexsort((rows["track_id"], rows["pts"]))]
        try:
            self._whole.keep()
            write_whole(self._index, lambda file: np.savez(file, rows=rows, version=np.int64(STORE_VERSION)))
        except OSError as error:
            raise _broken_off(self._blobs, error) from error

    def discard(self) -> None:
        """Remove what was written so far; nothing happens after `finish`."""
        self._whole.discard()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()


class SegmentCrops:
    """Reads one finished segment."""

    def __init__(self, folder: Path, index: int) -> None:
        self._blobs, path = segment_paths(folder, index)
        try:
            content = read_arrays(path)
            version, self._rows = int(content["version"]), content["rows"]
            size = self._blobs.stat().st_size
        except FileNotFoundError as error:
            raise StoreError(f"{path}: segment {index} was not restored (to the end); run the restoration again") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: the index of segment {index} is damaged ({error})") from error
        if version != STORE_VERSION or self._rows.dtype != _INDEX_TYPE or self._rows.ndim != 1:
            raise StoreError(f"{path}: written by another version of this program (store version {version})")
        if not _is_sound(self._rows, size):
            raise StoreError(
                f"{path}: the index of segment {index} is damaged (it does not fit {self._blobs.name}); "
                "delete this segment's files and restore it again"
            )

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def pts(self) -> NDArray[np.int64]:
        """(n,) PTS of each stored crop, rising; one entry per face."""
        return np.asarray(self._rows["pts"])

    @property
    def px_per_frame_px(self) -> NDArray[np.float64]:
        """(n,) how fine each crop is, along a line."""
        return np.asarray(np.sqrt(np.abs(np.linalg.det(self._rows["crop_from_frame"][:, :, :2]))))

    def at(self, pts: int) -> list[StoredCrop]:
        """All crops of one frame, in the order of track ids. Raises StoreError on a damaged blob."""
        first, end = np.searchsorted(self._rows["pts"], [pts, pts + 1])
        return [self._read(row) for row in self._rows[first:end]]

    def __iter__(self) -> Iterator[StoredCrop]:
        return (self._read(row) for row in self._rows)

    def _read(self, row: Any) -> StoredCrop:
        what = f"{self._blobs}: the crop of track {row['track_id']} at PTS {row['pts']}"
        try:
            with open(self._blobs, "rb") as file:
                file.seek(int(row["offset"]))
                data = file.read(int(row["length"]))
        except OSError as error:
            raise StoreError(f"{what} cannot be read ({error.strerror})") from error
        if len(data) != row["length"] or zlib.crc32(data) != row["crc"]:
            raise StoreError(f"{what} is damaged (checksum); delete this segment's files and restore it again")
        # The size is read from the PNG's own header before anything of that size is decoded.
        fits = data[12:24] == b"IHDR" + 2 * int(row["size"]).to_bytes(4, "big")
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if fits else None
        if image is None:
            raise StoreError(f"{what} does not decode to {row['size']} px")
        return StoredCrop(
            pts=int(row["pts"]),
            track_id=int(row["track_id"]),
            crop_from_frame=np.array(row["crop_from_frame"]),
            fade=float(row["fade"]),
            quality=float(row["quality"]),
            image=np.ascontiguousarray(image[..., ::-1], dtype=np.uint8),
        )


def _is_sound(rows: NDArray[Any], size: int) -> bool:
    """Whether an index can belong to a blob file of that many bytes."""
    first, length = rows["offset"], rows["length"]
    numbers = np.isfinite(rows["crop_from_frame"]).all() and np.isfinite(rows["quality"]).all()
    places = (first >= 0).all() and (length > 0).all() and (first <= size).all() and (length <= size - first).all()
    fades = (rows["fade"] >= 0).all() and (rows["fade"] <= 1).all()
    sizes = (rows["size"] > 0).all() and (rows["size"] <= _LARGEST_CROP).all()
    return bool(numbers and places and fades and sizes and (np.diff(rows["pts"]) >= 0).all())


@dataclass(frozen=True)
class StoreHeader:
    """Which run a store belongs to."""

    fingerprint: str
    """Hash of all that may alter a restored crop; segments of different fingerprints are never mixed."""
    input: str
    """Path of the video, as given."""
    segments: tuple[Segment, ...]
    facts: dict[str, Any]
    """For people and for `render`: model, settings, start and end PTS ..."""


def write_header(folder: Path, header: StoreHeader) -> None:
    """Write ``store.json``, aside first. Raises OutputError."""
    content = {
        "version": STORE_VERSION,
        "fingerprint": header.fingerprint,
        "input": header.input,
        "segments": [[item.index, item.first_pts, item.last_pts] for item in header.segments],
        "facts": header.facts,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / STORE_FILE, lambda file: file.write(json.dumps(content, indent=1).encode()))
    except OSError as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: OSError) -> OutputError | StoreError:
    """The store cannot be begun; a full disk is nobody's mistake in asking."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _broken_off(folder, error)
    return OutputError(f"{folder}: cannot write the crop store there ({error.strerror})")


def _broken_off(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot go on writing the crop store ({error.strerror}). Free some space there, or choose another place with `work`."
    )


def read_header(folder: Path) -> StoreHeader:
    """Raises StoreError when the folder holds no store of this version."""
    path = folder / STORE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != STORE_VERSION:
            raise StoreError(f"{path}: written by another version of this program (store version {content['version']})")
        segments = tuple(Segment(*entry) for entry in content["segments"])
        _check_segments(segments)
        facts = content["facts"]
        if not isinstance(facts, dict):
            raise TypeError("its facts are no mapping")
        return StoreHeader(str(content["fingerprint"]), str(content["input"]), segments, facts)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{folder}: not a work folder (no {STORE_FILE}); one is kept by run `keep_work`") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: damaged ({type(error).__name__}: {' '.join(str(error).split())})") from error


def _check_segments(segments: Sequence[Segment]) -> None:
    """ValueError unless they follow one another."""
    ends = [place for item in segments for place in (item.first_pts, item.last_pts)]
    if any(type(place) is not int for place in (*ends, *(item.index for item in segments))):
        raise ValueError("a segment without whole numbers")
    if any(item.last_pts < item.first_pts or item.index < 0 for item in segments):
        raise ValueError("a segment that ends before it begins")
    if any(after.first_pts <= before.last_pts for before, after in pairwise(segments)):
        raise ValueError("segments that overlap")


class CropStore:
    """All segments of a store, read in presentation order (any order works; neighbouring frames are cheap)."""

    def __init__(self, folder: Path, segments: Sequence[Segment], wait: Callable[[int], None] = lambda index: None) -> None:
        """wait: called with a segment's index before it is opened; returns when it stands in the store."""
        self._folder = folder
        self._segments = segments
        self._wait = wait
        self._starts = [segment.first_pts for segment in segments]
        self._open: tuple[int, SegmentCrops] | None = None

    def at(self, pts: int) -> list[StoredCrop]:
        """The frame's crops. Raises StoreError where its segment is missing or damaged."""
        position = bisect_right(self._starts, pts) - 1
        if position < 0 or pts > self._segments[position].last_pts:
            return []
        if self._open is None or self._open[0] != position:
            self._wait(self._segments[position].index)
            self._open = position, SegmentCrops(self._folder, self._segments[position].index)
        return self._open[1].at(pts)


def is_finished(folder: Path, index: int) -> bool:
    """Whether a segment stands whole in the store."""
    return all(path.exists() for path in segment_paths(folder, index))


def segment_paths(folder: Path, index: int) -> tuple[Path, Path]:
    """A finished segment's two files: blobs and index."""
    return folder / f"segment-{index:05d}.crops", folder / f"segment-{index:05d}.npz"
