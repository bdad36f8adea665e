"""The motion filter, in real time."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.tracking.tracklet import BoxFilter, box_from_measurement, measurement_from_box


def box_at(x: float, y: float, size: float = 80) -> np.ndarray:
    return np.array([x - size / 2, y - 0.6 * size, x + size / 2, y + 0.6 * size])


def test_measurement_is_centre_area_aspect():
    np.testing.assert_allclose(measurement_from_box([10, 20, 40, 80]), [25, 50, 1800, 0.5])
    np.testing.assert_allclose(box_from_measurement([25, 50, 1800, 0.5]), [10, 20, 40, 80])


@pytest.mark.parametrize("steps", [[0.04] * 30, [0.02, 0.1, 0.05] * 10], ids=["constant rate", "variable rate"])
def test_speed_is_per_second_whatever_the_frame_rate(steps):
    """200 px/s at any pattern of frame times: a filter that counts frames would see the speed jump at a variable rate."""
    time = 0.0
    motion = BoxFilter(box_at(100, 100), time)
    for step in steps:
        time += step
        motion.predict(time)
        motion.update(box_at(100 + 200 * time, 100))
    assert motion.velocity[0] == pytest.approx(200, rel=0.05)
    assert abs(motion.velocity[1]) < 5
    ahead = motion.predict(time + 0.3)
    assert (ahead[0] + ahead[2]) / 2 == pytest.approx(100 + 200 * (time + 0.3), abs=8)


def test_waiting_makes_it_less_certain_and_seeing_more():
    motion = BoxFilter(box_at(0, 0), 0.0)
    motion.update(box_at(0, 0))
    seen = motion.center_deviation
    motion.predict(0.5)
    waited = motion.center_deviation
    motion.update(box_at(0, 0))
    assert waited > 3 * seen
    assert motion.center_deviation < waited / 3


def test_a_doubtful_detection_moves_it_less():
    sure, doubtful = BoxFilter(box_at(0, 0), 0.0), BoxFilter(box_at(0, 0), 0.0)
    for motion, score in ((sure, 1.0), (doubtful, 0.2)):
        motion.predict(0.04)
        motion.update(box_at(10, 0), score)
    assert doubtful.box[0] < sure.box[0]


def test_a_shrinking_face_never_turns_inside_out():
    motion = BoxFilter(box_at(0, 0, 200), 0.0)
    for i in range(1, 10):
        motion.predict(i * 0.04)
        motion.update(box_at(0, 0, 200 - 18 * i))
    far = motion.predict(3.0)
    assert (far[2:] > far[:2]).all()
