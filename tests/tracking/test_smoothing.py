"""The crop window's smoothing, on landmarks whose truth is known: steady where the face is still, on time where it moves."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.faces.align import TEMPLATE_512, estimate_parameters, matrix_from_parameters
from iconface_video.tracking.smoothing import smooth_parameters

SCALE = 0.5
"""Display px per template px: the face's box is then some 200 px high."""
SECONDS = np.arange(240) / 30
ZERO = np.zeros_like(SECONDS)
POINTS = np.array([(x, y) for x in (140, 256, 372) for y in (180, 270, 400)], dtype=float)
"""Places on the face, in crop px."""


def face(x, y, angle=0.0, zoom=1.0) -> np.ndarray:
    """(n, 5, 2) display px of the template put at x, y, turned and zoomed."""
    template = (TEMPLATE_512 - TEMPLATE_512.mean(axis=0)) @ [1, 1j]
    angle, zoom = np.broadcast_to(angle, x.shape), np.broadcast_to(zoom, x.shape)
    placed = template * (SCALE * zoom * np.exp(1j * angle))[:, None] + (x + 1j * y)[:, None]
    return np.stack([placed.real, placed.imag], axis=-1)


def errors(parameters: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n, points, 2) crop px: where the window shows a fixed place of the face, less where it should."""
    window, right = matrix_from_parameters(parameters), matrix_from_parameters(estimate_parameters(truth))
    display = np.linalg.solve(right[:, :, :2], (POINTS - right[:, None, :, 2]).swapaxes(1, 2))
    return (window[:, :, :2] @ display).swapaxes(1, 2) + window[:, None, :, 2] - POINTS


def smoothed(
    truth: np.ndarray, noise: float, seed: int = 0, seconds: np.ndarray = SECONDS, detected=None, **options
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    seen = np.ones(len(truth), bool) if detected is None else detected
    noisy = truth + rng.normal(0, noise, truth.shape)
    noisy[~seen] = np.nan
    return smooth_parameters(seconds, np.where(seen[:, None, None], noisy, 0), np.full(len(truth), 0.9), seen, **options)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


@pytest.mark.parametrize("seed", range(3))
def test_a_still_face_trembles_less_than_a_tenth_of_a_pixel(seed):
    """The bound of the temporal issue: 1 px of detector noise, a face of 200 px; the raw window trembles by 2 px."""
    truth = face(ZERO + 400, ZERO + 300)
    off = errors(smoothed(truth, 1.0, seed), truth)
    assert rms(off - off.mean(axis=0)) < 0.1
    assert rms(np.diff(off, axis=0)) < 0.01
    raw = errors(smoothed(truth, 1.0, seed, strength=0), truth)
    assert rms(raw - raw.mean(axis=0)) > 1.5


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("constant velocity", face(100 + 150 * SECONDS, ZERO + 300)),
        ("swings from side to side", face(300 + 60 * np.sin(np.pi * SECONDS), ZERO + 300)),
        ("tilts", face(ZERO + 300, ZERO + 300, np.radians(12) * np.sin(3 * SECONDS))),
        ("comes near", face(ZERO + 300, ZERO + 300, 0.0, 1 + 0.1 * SECONDS)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_moving_face_does_not_lag(name, truth):
    """Lag is what remains when the noise is averaged out over repetitions."""
    off = np.mean([errors(smoothed(truth, 0.5, seed), truth) for seed in range(4)], axis=0)
    assert np.abs(off).max() < 1.0
    assert rms(off) < 0.5


def test_a_sudden_start_is_followed_at_once():
    """A tenth of a second before and after the start (and the stop) at 300 px/s the window is right; at the corner it rounds."""
    truth = face(300 + 300 * np.clip(SECONDS - 4, 0, 1), ZERO + 300)
    off = np.abs(errors(smoothed(truth, 0.5), truth)).max(axis=(1, 2))
    corner = np.abs(SECONDS[:, None] - [4, 5]).min(axis=1) < 0.1
    assert off[~corner].max() < 2
    assert off.max() < 8


def test_less_smoothing_where_it_moves_fast_than_where_it_is_still():
    """One track, still for four seconds, then nodding at 1.5 Hz: the still part stays steady, the nods are followed."""
    nods = np.where(SECONDS > 4, 25 * np.sin(2 * np.pi * 1.5 * (SECONDS - 4)), 0)
    truth = face(ZERO + 300, 300 + nods)
    off = errors(smoothed(truth, 1.0), truth)
    still, moving = SECONDS < 3.5, SECONDS > 4.3
    assert rms(np.diff(off[still], n=2, axis=0)) < 0.03
    assert rms(off[moving]) < 1.2


def test_missed_frames_are_filled_in_along_the_motion():
    seen = np.ones(len(SECONDS), bool)
    seen[100:112] = False
    truth = face(100 + 100 * SECONDS, ZERO + 300)
    off = errors(smoothed(truth, 0.5, detected=seen), truth)
    assert np.abs(off[100:112]).max() < 1.0


@pytest.mark.parametrize("every", [2, 3])
def test_sparse_detections_follow_a_quick_nod(every):
    """1.5 nods a second, seen ten or fifteen times a second: that is motion, not error."""
    truth = face(ZERO + 300, 300 + 30 * np.sin(2 * np.pi * 1.5 * SECONDS))
    seen = np.arange(len(SECONDS)) % every == 0
    seen[-1] = True  # as the survey does
    assert rms(errors(smoothed(truth, 0.5, detected=seen), truth)) < 0.8


def test_a_wild_landmark_does_not_pull_the_window():
    truth = face(ZERO + 400, ZERO + 300)
    landmarks = truth + np.random.default_rng(1).normal(0, 0.5, truth.shape)
    landmarks[60, 0] += (30, 10)
    landmarks[120:122, 4] -= 25
    parameters = smooth_parameters(SECONDS, landmarks, np.full(len(truth), 0.9), np.ones(len(truth), bool))
    assert np.abs(errors(parameters, truth)).max() < 0.6


def test_a_whole_detection_gone_astray_does_not_pull_the_window():
    truth = face(ZERO + 400, ZERO + 300)
    landmarks = truth + np.random.default_rng(1).normal(0, 0.5, truth.shape)
    landmarks[90] += (20, -15)
    parameters = smooth_parameters(SECONDS, landmarks, np.full(len(truth), 0.9), np.ones(len(truth), bool))
    assert np.abs(errors(parameters, truth)).max() < 0.8


def test_frame_times_may_be_irregular():
    """Constant speed at a variable rate is constant speed; counted in frames it would zigzag by many pixels."""
    seconds = np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.1], 240))
    truth = face(100 + 150 * seconds, 0 * seconds + 300)
    off = errors(smoothed(truth, 0.5, seconds=seconds), truth)
    assert np.abs(off).max() < 0.6


def test_repeated_pictures_get_the_very_same_window_and_motion_is_judged_between_distinct_ones():
    """Twelve pictures a second on 24 frames: without knowing it, the window would glide while the face stands."""
    picture = np.arange(len(SECONDS)) // 2
    shown = SECONDS[::2][picture]
    truth = face(100 + 150 * shown, ZERO + 300)
    noise = np.random.default_rng(0).normal(0, 0.5, truth[::2].shape)[picture]
    repeated = np.arange(len(SECONDS)) % 2 == 1
    everything = np.ones(len(SECONDS), bool)
    parameters = smooth_parameters(SECONDS, truth + noise, everything * 0.9, everything, repeated=repeated)
    np.testing.assert_array_equal(parameters[::2], parameters[1::2])
    off = errors(parameters, truth)
    assert rms(off) < 0.3
    assert np.abs(off).max() < 1.2
    unaware = errors(smooth_parameters(SECONDS, truth + noise, everything * 0.9, everything), truth)
    assert rms(unaware) > 2 * rms(off)


def test_a_repeated_picture_may_be_missed_by_the_detector_once():
    """Detected only in its second showing, or not at all: filled in from what there is."""
    truth = face(ZERO[:20] + 300, ZERO[:20] + 200)
    seen = np.ones(20, bool)
    seen[[6, 10, 11]] = False
    off = errors(smoothed(truth, 0.1, seconds=SECONDS[:20], detected=seen, repeated=np.arange(20) % 2 == 1), truth)
    assert np.abs(off).max() < 0.5


def test_strength_zero_keeps_the_measured_windows():
    truth = face(300 + 20 * np.sin(SECONDS), ZERO + 300, 0.1 * np.sin(2 * SECONDS))
    landmarks = truth + np.random.default_rng(0).normal(0, 0.02, truth.shape)
    raw = smooth_parameters(SECONDS, landmarks, np.ones(len(truth)), np.ones(len(truth), bool), strength=0)
    np.testing.assert_allclose(raw, estimate_parameters(landmarks), atol=0.05)


def test_turning_over_half_a_circle_has_no_jump():
    """Angles are unwrapped: a face rolling through 180 degrees must not spin back."""
    angle = np.radians(150) + 0.3 * SECONDS
    truth = face(ZERO + 300, ZERO + 300, angle)
    off = errors(smoothed(truth, 0.3), truth)
    assert np.abs(off).max() < 0.6


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_very_short_tracks(count):
    truth = face(ZERO[:count] + 300, ZERO[:count] + 200)
    off = errors(smoothed(truth, 0.2, seconds=SECONDS[:count]), truth)
    assert np.abs(off).max() < 1.5


def test_a_track_without_detections_is_refused():
    with pytest.raises(ValueError, match="without a single detection"):
        smooth_parameters([0.0, 0.1], np.zeros((2, 5, 2)), [0, 0], [False, False])
