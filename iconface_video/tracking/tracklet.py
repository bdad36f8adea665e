"""What the tracker knows of one face while it runs: rows of detections, identity, motion. Internal to this room.

The motion filter is constant velocity on (cx, cy, s, r), in real time. State and measurement are SORT's (Bewley et al. 2016): box
centre, area s and aspect ratio r = width / height, with velocities of the first three. Unlike there, time steps are seconds from the
frames' PTS, so a variable frame rate or a skipped frame changes the step and not the speed, and all noises scale with the face.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iconface_video.types import Detection, Float32, Float64

_POSITION_NOISE = 0.04
"""Standard deviation of a detected centre, in face sizes (square root of the area)."""
_AREA_NOISE = 0.10
"""... of the area, relative."""
_ASPECT_NOISE = 0.06
_ACCELERATION = 6.0
"""Standard deviation of a head's acceleration, face sizes per second squared, over one second."""
_AREA_ACCELERATION = 3.0
_ASPECT_DRIFT = 0.3
_START_SPEED = 3.0
"""Face sizes per second that a new face may move."""


def measurement_from_box(box: ArrayLike) -> Float64:
    """(4,) x0, y0, x1, y1 -> (4,) cx, cy, s (area, px^2), r (width / height)."""
    x0, y0, x1, y1 = np.asarray(box, dtype=np.float64)
    width, height = max(x1 - x0, 1e-3), max(y1 - y0, 1e-3)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, width * height, width / height])


def box_from_measurement(measurement: ArrayLike) -> Float32:
    """(4,) cx, cy, s, r -> (4,) box."""
    cx, cy, area, aspect = np.asarray(measurement, dtype=np.float64)
    area, aspect = max(area, 1.0), max(aspect, 0.05)
    width, height = np.sqrt(area * aspect), np.sqrt(area / aspect)
    return np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], dtype=np.float32)


class BoxFilter:
    """Kalman filter of one face's box. Times are seconds on any clock that runs forward."""

    def __init__(self, box: ArrayLike, seconds: float) -> None:
        # Here, as it brings all of scipy.stats: most of a second, which a clip without a face is spared.
        from filterpy.kalman import KalmanFilter

        start = measurement_from_box(box)
        self.seconds = seconds
        self._kalman = KalmanFilter(dim_x=7, dim_z=4)
        self._kalman.H = np.eye(4, 7)
        self._kalman.x = np.concatenate([start, np.zeros(3)])[:, None]
        noise = self._measurement_noise(start, 1.0)
        size = np.sqrt(start[2])
        speed = np.array([_START_SPEED * size, _START_SPEED * size, 2.0 * start[2]]) ** 2
        self._kalman.P = np.diag(np.concatenate([np.diag(noise), speed]))

    @property
    def box(self) -> Float32:
        """(4,) current estimate."""
        return box_from_measurement(self._kalman.x[:4, 0])

    @property
    def velocity(self) -> Float64:
        """(2,) of the centre, px per second."""
        return np.array(self._kalman.x[4:6, 0])

    @property
    def center_deviation(self) -> float:
        """Standard deviation of the centre, px: how far a detection may reasonably lie off."""
        return float(np.sqrt(max(self._kalman.P[0, 0], self._kalman.P[1, 1])))

    def predict(self, seconds: float) -> Float32:
        """Move on to a later time; returns the expected box. An equal or earlier time changes nothing."""
        step = seconds - self.seconds
        if step > 0:
            size = float(np.sqrt(max(self._kalman.x[2, 0], 1.0)))
            self._kalman.predict(F=_transition(step), Q=_process_noise(step, size))
            # An area that the trend would take below nothing stays put instead.
            if self._kalman.x[2, 0] < 0.25 * size**2:
                self._kalman.x[2, 0], self._kalman.x[6, 0] = 0.25 * size**2, 0.0
            self.seconds = seconds
        return self.box

    def update(self, box: ArrayLike, score: float = 1.0) -> None:
        """Take in a detection at the current time; a low score counts less."""
        found = measurement_from_box(box)
        self._kalman.update(found[:, None], R=self._measurement_noise(found, score))

    @staticmethod
    def _measurement_noise(found: Float64, score: float) -> Float64:
        size = np.sqrt(found[2])
        deviation = np.array([_POSITION_NOISE * size, _POSITION_NOISE * size, _AREA_NOISE * found[2], _ASPECT_NOISE])
        return np.diag((deviation * (2.0 - min(max(score, 0.0), 1.0))) ** 2)


def _transition(step: float) -> Float64:
    matrix = np.eye(7)
    matrix[0, 4] = matrix[1, 5] = matrix[2, 6] = step
    return matrix


def _process_noise(step: float, size: float) -> Float64:
    """White acceleration, integrated over the step; a slow random walk of the aspect ratio."""
    noise = np.zeros((7, 7))
    for position, speed, strength in (
        (0, 4, _ACCELERATION * size),
        (1, 5, _ACCELERATION * size),
        (2, 6, _AREA_ACCELERATION * size**2),
    ):
        noise[position, position] = step**3 / 3 * strength**2
        noise[position, speed] = noise[speed, position] = step**2 / 2 * strength**2
        noise[speed, speed] = step * strength**2
    noise[3, 3] = _ASPECT_DRIFT**2 * step
    return noise


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
