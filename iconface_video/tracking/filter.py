"""Motion filter of one face: constant velocity on (cx, cy, s, r), in real time.

State and measurement are SORT's (Bewley et al. 2016): box centre, area s and aspect ratio r = width / height, with
velocities of the first three. Unlike there, time steps are seconds from the frames' PTS, so a variable frame rate or a
skipped frame changes the step and not the speed, and all noises scale with the face.
"""

from __future__ import annotations

import numpy as np
from filterpy.kalman import KalmanFilter
from numpy.typing import ArrayLike

from iconface_video.types import Float32, Float64

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
    for place, speed, strength in (
        (0, 4, _ACCELERATION * size),
        (1, 5, _ACCELERATION * size),
        (2, 6, _AREA_ACCELERATION * size**2),
    ):
        noise[place, place] = step**3 / 3 * strength**2
        noise[place, speed] = noise[speed, place] = step**2 / 2 * strength**2
        noise[speed, speed] = step * strength**2
    noise[3, 3] = _ASPECT_DRIFT**2 * step
    return noise
