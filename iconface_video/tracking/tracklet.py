"""What the tracker knows of one face while it runs: rows of detections, identity, motion. Internal to this room."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iconface_video.tracking.filter import BoxFilter
from iconface_video.types import Detection, Float32, Float64

_ROW = np.dtype(
    [
        ("pts", "i8"),
        ("seconds", "f8"),
        ("box", "f4", 4),
        ("landmarks", "f4", (5, 2)),
        ("score", "f4"),
        ("sharpness", "f4"),
        ("quality", "f4"),
        ("repeated", "?"),
        ("motion", "f4", 4),
    ]
)
_STILL = 0.002
"""Share of the face's height by which landmarks of one and the same picture may differ after coding."""
MAX_EXTRAPOLATION_SECONDS = 0.3
"""No face's motion is carried on longer than this past its last detection."""


class Rows:
    """A growing table of detections: 101 bytes a row, so that hours of a face fit in memory."""

    def __init__(self) -> None:
        self._table = np.zeros(16, _ROW)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, pts: int, seconds: float, found: Detection) -> None:
        if self._length == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._table[self._length] = (pts, seconds, found.box, found.landmarks, found.score, 0.0, 0.0, False, np.nan)
        self._length += 1

    @property
    def table(self) -> NDArray[Any]:
        """(n,) structured view of what is filled; writing to it writes to the rows."""
        return self._table[: self._length]


class Tracklet:
    """One face from its first detection to its last, inside one shot."""

    def __init__(self, pts: int, seconds: float, found: Detection) -> None:
        self.rows = Rows()
        self.filter = BoxFilter(found.box, seconds)
        self.embeddings: list[Float32] = []
        """Raw (512,) vectors."""
        self.embedding_pts: list[int] = []
        self.embedded_at: float | None = None
        """Seconds at which the identity was last looked at."""
        self.rows.append(pts, seconds, found)

    @property
    def first(self) -> Any:
        return self.rows.table[0]

    @property
    def last(self) -> Any:
        return self.rows.table[-1]

    @property
    def last_seconds(self) -> float:
        return float(self.last["seconds"])

    @property
    def identity(self) -> Float32 | None:
        """(512,) unit vector: mean of the raw embeddings, so that reliable ones count more; None before the first."""
        if not self.embeddings:
            return None
        total = np.sum(self.embeddings, axis=0)
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), dtype=np.float32)

    @property
    def speed(self) -> float | None:
        """Face heights a second between the last two detections, counting growth; None before there are two."""
        if len(self.rows) < 2:
            return None
        before, now = self.rows.table[-2], self.last
        moved = float(np.abs(now["box"] - before["box"]).max()) / max(float(now["box"][3] - now["box"][1]), 1.0)
        return moved / max(float(now["seconds"] - before["seconds"]), 1e-6)

    def expect(self, seconds: float) -> Float32:
        """(4,) box at a later time; the motion is carried on for 0.3 s at most, then the face is awaited where it stands."""
        return self.filter.predict(min(seconds, self.last_seconds + MAX_EXTRAPOLATION_SECONDS))

    def add(self, pts: int, seconds: float, found: Detection) -> None:
        self.filter.predict(seconds)
        self.filter.update(found.box, found.score)
        self.rows.append(pts, seconds, found)

    def measured(self, sharpness: float, quality: float) -> None:
        """Note what the newest row's picture is worth."""
        self.last["sharpness"], self.last["quality"] = sharpness, quality

    def repeats(self) -> None:
        """Note that the newest row's picture is that of the frame before, if its landmarks say so, too.

        Small motion of a smooth face changes few pixels; the same picture coded twice moves no landmark.
        """
        if len(self.rows) > 1:
            before, now = self.rows.table[-2], self.last
            height = float(now["box"][3] - now["box"][1])
            now["repeated"] = np.abs(now["landmarks"] - before["landmarks"]).max() < _STILL * height

    def moved(self, motion: Float64) -> None:
        """Note the motion since the row before, (4,) growth, turn and shift in display px, as the pictures show it."""
        self.last["motion"] = motion

    def embedded(self, pts: int, seconds: float, embedding: Float32) -> None:
        self.embeddings.append(np.array(embedding, dtype=np.float32))
        self.embedding_pts.append(pts)
        self.embedded_at = seconds

    def absorb(self, later: Tracklet) -> None:
        """Append a tracklet of the same face that began after this one ended."""
        for row in later.rows.table:
            self.rows.append(
                int(row["pts"]), float(row["seconds"]), Detection(row["box"], float(row["score"]), row["landmarks"])
            )
            self.measured(float(row["sharpness"]), float(row["quality"]))
            self.last["repeated"], self.last["motion"] = row["repeated"], row["motion"]
        self.embeddings += later.embeddings
        self.embedding_pts += later.embedding_pts
        self.embedded_at = later.embedded_at if later.embedded_at is not None else self.embedded_at
        self.filter = later.filter
