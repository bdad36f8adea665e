"""Smoothing a finished track's crop window: Rauch-Tung-Striebel over the four similarity parameters.

The parameters ``(log-scale, angle, x, y)`` hang together (x and y swing when the angle trembles), so they are smoothed in
other words for the same similarity: log-scale and angle, times the template's radius, and the place of the face, all in
template px. There least squares over five landmarks with noise of standard deviation d gives four independent errors of
standard deviation d / sqrt(5).

Each of them moves at constant velocity with white acceleration. How much of it (`q`) is estimated from the track itself,
moment by moment: a bank of Kalman filters, from nearly rigid to nimble, runs over the track forward and backward, and how
well each one predicts the next measurement says how lively the face is just then. A still face is held still; a turning
head is followed.

Where the pictures themselves show how the face moved from frame to frame (`tracking.motion`), that motion is taken out before
smoothing and put back afterwards: what is left to smooth is the landmarks' noise, so jerky motion (a shaken camera, film shot
at few pictures a second, frames shown twice) is followed to the frame.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from iconface_video.faces.align import TEMPLATE_512, estimate_parameters
from iconface_video.types import Float64

_CENTER: Float64 = TEMPLATE_512.mean(axis=0)
_RADIUS = float(np.sqrt(((TEMPLATE_512 - _CENTER) ** 2).sum(axis=1).mean()))
"""px: rms distance of the template's points from their centre; an angle error times this is an error in px."""

_SHARED_NOISE = 1.5
"""By this much the noise of a face's place may exceed that of its size and angle: what all landmarks have in common."""
_LEVELS: Float64 = np.geomspace(0.02, 6000.0, 14)
"""Template px / s^1.5: square root of the acceleration's spectral density, from a rigid face to a shaken head."""
_RELATIVE_NOISE = 0.005
"""Landmark noise of a sure detection, as a share of the face's size."""
_FACE_SIZE = 240.0
"""Template px that count as the face's size (a detector's box, square root of the area)."""
_EVIDENCE_SECONDS = 0.12
"""Standard deviation of the window over which the filters' predictions are compared."""
_EVIDENCE_FRAMES = 3.0
"""... but never less than this many measured frames."""
_EVIDENCE_TRUST = 0.6
"""Below 1: landmark noise of neighbouring frames is not independent, so evidence counts less than it seems to."""
_REST_DEVIATIONS, _REST_SPEED, _REST_PROCESS_NOISE, _REST_NOISE = 3.0, 4.0, 1.0, 0.1
"""A face rests where its speed is insignificant, below px/s, and its process noise below px/s^1.5; px/s of the hint given then."""
_CATCH_UP_ROUNDS, _LARGEST_RESIDUAL, _MAX_INFLATION = 4, 3.5, 4.0
"""Where the smooth path stays behind the measurements by more than _LARGEST_RESIDUAL standard deviations (a jerk, a sudden start, film
shot at few pictures a second), the face is given up to _MAX_INFLATION times the process noise there, a few times over."""
_SURE_MOTION = 0.6
"""Template px by which motion seen in the pictures is shrunk towards none: below, it is not told from their noise."""
_OUTLIER = 3.0
"""Landmarks further off than this many standard deviations lose weight."""
_SHAPE_WINDOW = 9
"""Frames over which a face's own shape (its difference from the template) counts as constant."""


def smooth_parameters(
    seconds: ArrayLike,
    landmarks: ArrayLike,
    scores: ArrayLike,
    detected: ArrayLike,
    strength: float = 1.0,
    repeated: ArrayLike | None = None,
    motion: ArrayLike | None = None,
) -> Float64:
    """Crop parameters for every frame of one track.

    seconds: (n,) growing times of the frames.  landmarks: (n, 5, 2) display px, anything where not detected.
    scores: (n,) 0..1.  detected: (n,) bool, which frames were measured; the others are filled in.
    strength: 1 as designed; more lengthens the smoothing in time in proportion; 0 keeps the measured parameters and
    interpolates between them.  repeated: (n,) bool, frames that show the picture before them once more (film on video,
    animation, a paused tape): they get exactly the same window, and motion is judged between distinct pictures.
    motion: (n, 4) since the frame before, as the pictures show it: growth (log) and turn (rad) of the face, its shift in x and y
    (display px); nan where nothing is known.
    Returns (n, 4). Raises ValueError when nothing was detected.
    """
    times, seen = np.asarray(seconds, dtype=np.float64), np.asarray(detected, dtype=bool)
    if not seen.any():
        raise ValueError("a track without a single detection cannot be smoothed")
    points = np.asarray(landmarks, dtype=np.float64)
    moved = np.full((len(times), 4), np.nan) if motion is None or strength == 0 else np.array(motion, dtype=np.float64)
    if repeated is not None and np.any(repeated):
        picture = np.maximum(np.cumsum(~np.asarray(repeated, dtype=bool)) - 1, 0)
        moved[np.asarray(repeated, dtype=bool) & np.isnan(moved[:, 0])] = 0.0
        per_picture = np.zeros((int(picture[-1]) + 1, 4))
        np.add.at(per_picture, picture, moved)
        once = _per_picture(picture, times, points, scores, seen)
        return smooth_parameters(*once, strength, motion=per_picture)[picture]
    points = points[seen]
    unit = float(np.median(np.exp(-estimate_parameters(points)[:, 0])))
    carried = _carried(times, moved, unit)
    measured, deviation = _measure(times[seen], points, np.asarray(scores, dtype=np.float64)[seen], carried[seen], unit)
    if strength == 0 or len(points) == 1:
        filled = np.stack([np.interp(times, times[seen], column) for column in measured.T], axis=-1)
        return _parameters(filled + carried, unit)
    values, noise = np.zeros((len(times), 4)), np.full((len(times), 4), np.inf)
    values[seen], noise[seen] = measured, deviation**2
    process_noise = _process_noise(times, values, noise) / strength**2
    free = np.full_like(noise, np.inf)
    path, speeds, deviations = _smooth(times, values, noise, process_noise**2, free)
    for _ in range(_CATCH_UP_ROUNDS):
        residual = _normalised_residual((path - values) / np.sqrt(noise))
        if (residual < _LARGEST_RESIDUAL * strength).all():
            break
        inflation = np.clip((residual / (0.5 * _LARGEST_RESIDUAL * strength)) ** 2, 1.0, _MAX_INFLATION)
        process_noise = process_noise * scipy.ndimage.maximum_filter(
            np.where(residual < _LARGEST_RESIDUAL * strength, 1.0, inflation), (3, 1), mode="nearest"
        )
        path, speeds, deviations = _smooth(times, values, noise, process_noise**2, free)
    density = process_noise**2
    # A speed that cannot be told from none is none: without this a still face would drift within its noise.
    at_rest = (np.abs(speeds) < np.minimum(_REST_DEVIATIONS * deviations, _REST_SPEED)) & (density < _REST_PROCESS_NOISE**2)
    if at_rest.any():
        path, _, _ = _smooth(times, values, noise, density, np.where(at_rest, _REST_NOISE**2, np.inf))
    return _parameters(path + carried, unit)


def _carried(times: Float64, motion: Float64, unit: float) -> Float64:
    """(n, 4) how far the face was carried since the first frame, in the words that are smoothed (template px).

    Where nothing is known it goes on at the pace between its neighbours'.
    """
    known: NDArray[np.bool_] = np.asarray(np.isfinite(motion).all(axis=1))
    known[0] = False  # nothing came before it
    if not known.any():
        return np.zeros_like(motion)
    steps = np.where(known[:, None], motion, 0.0) * [-_RADIUS, -_RADIUS, 1 / unit, 1 / unit]
    for part in (steps[:, :1], steps[:, 1:2], steps[:, 2:]):
        length = np.linalg.norm(part, axis=1, keepdims=True)
        part *= np.maximum(1 - (_SURE_MOTION / np.maximum(length, 1e-9)) ** 2, 0.0)
    lasted = np.diff(times, prepend=times[0])[:, None]
    pace = steps[known] / np.maximum(lasted[known], 1e-9)
    filled = np.stack([np.interp(times, times[known], column) for column in pace.T], axis=-1) * lasted
    return np.cumsum(np.where(known[:, None], steps, filled), axis=0)


def _per_picture(
    picture: NDArray[np.intp], times: Float64, points: Float64, scores: ArrayLike, seen: NDArray[np.bool_]
) -> tuple[Float64, Float64, Float64, NDArray[np.bool_]]:
    """Times, landmarks, scores and detected flags once per distinct picture; picture: (n,) index of each frame's picture."""
    first = np.searchsorted(picture, np.arange(picture[-1] + 1))
    count = np.bincount(picture, seen)
    total, best = np.zeros((len(first), 5, 2)), np.zeros(len(first))
    np.add.at(total, picture[seen], points[seen])
    np.maximum.at(best, picture[seen], np.asarray(scores, dtype=np.float64)[seen])
    return times[first], total / np.maximum(count, 1)[:, None, None], best, count > 0


def _measure(times: Float64, points: Float64, scores: Float64, carried: Float64, unit: float) -> tuple[Float64, Float64]:
    """Landmarks -> (n, 4) positions in template px, less `carried`, and (n, 4) their standard deviations.

    unit: display px per template px.
    """
    weights = _landmark_weights(points, scores)
    found = estimate_parameters(points, weights)
    size = np.exp(-found[:, 0])
    turn = np.exp(found[:, 0] + 1j * found[:, 1])
    position = (complex(*_CENTER) - (found[:, 2] + 1j * found[:, 3])) / turn
    positions = np.stack(
        [found[:, 0] * _RADIUS, np.unwrap(found[:, 1]) * _RADIUS, position.real / unit, position.imag / unit], axis=-1
    )
    positions -= carried
    deviation = _noise(scores) / np.sqrt(weights.sum(axis=-1))
    deviations = np.repeat(deviation[:, None], 4, axis=1)
    deviations[:, 2:] *= (size / unit)[:, None]
    deviations *= _noise_seen(positions / deviations)
    return positions, deviations * _outlier_weight(times, positions, deviations)


def _parameters(positions: Float64, unit: float) -> Float64:
    """The inverse of `_measure`'s change of words."""
    turn = np.exp(positions[:, 0] / _RADIUS + 1j * positions[:, 1] / _RADIUS)
    shift = complex(*_CENTER) - turn * (positions[:, 2] + 1j * positions[:, 3]) * unit
    return np.stack([positions[:, 0] / _RADIUS, positions[:, 1] / _RADIUS, shift.real, shift.imag], axis=-1)


def _noise(scores: Float64) -> Float64:
    """Template px: expected standard deviation of a landmark's coordinate. A doubtful detection is less exact."""
    return _RELATIVE_NOISE * _FACE_SIZE * (1.0 + 2.0 * (1.0 - np.clip(scores, 0.0, 1.0)))


def _landmark_weights(points: Float64, scores: Float64) -> Float64:
    """(n, 5) within 0..1: a landmark that leaves the face's own shape for a moment counts less."""
    weights = np.ones(points.shape[:2])
    if len(points) < 3:
        return weights
    limit = _OUTLIER * 1.4 * _noise(scores)[:, None]
    for _ in range(3):
        found = estimate_parameters(points, weights)
        turn = np.exp(found[:, 0] + 1j * found[:, 1])[:, None]
        aligned = turn * (points[..., 0] + 1j * points[..., 1]) + (found[:, 2] + 1j * found[:, 3])[:, None]
        window = (min(_SHAPE_WINDOW, len(points)), 1)
        shape = scipy.ndimage.median_filter(aligned.real, window, mode="nearest") + 1j * scipy.ndimage.median_filter(
            aligned.imag, window, mode="nearest"
        )
        weights = 1.0 / (1.0 + (np.abs(aligned - shape) / limit) ** 4)
    return weights


def _noise_seen(normalized: Float64) -> Float64:
    """(4,) factor by which the track's own trembling differs from the expected noise, held within 0.3 .. 2.

    Third differences cancel any smooth motion; of white noise they have sqrt(20) times its deviation. Jerky motion they
    do not cancel, so the quieter stretches of the track decide.
    """
    if len(normalized) < 12:
        return np.ones(4)
    trembling = np.abs(np.diff(normalized, n=3, axis=0))
    around = scipy.ndimage.median_filter(trembling, (min(15, len(trembling)), 1), mode="nearest")
    seen = 1.4826 * np.percentile(around, 35, axis=0) / np.sqrt(20.0)
    # Landmarks that err on their own shake all four alike; where only the place shakes, the head or the camera does.
    seen[2:] = np.minimum(seen[2:], _SHARED_NOISE * seen[:2].max())
    return np.clip(1.1 * seen, 0.3, 2.0)


def _outlier_weight(times: Float64, positions: Float64, deviations: Float64) -> Float64:
    """(n, 4) factor >= 1 on the noise of single measurements that stand out from their neighbours.

    Each is compared with the cubic through the two before and the two after it, so that fast but smooth motion is above
    suspicion; in jerky motion all stand out, and only what does so more than usual is doubted.
    """
    result = np.ones_like(positions)
    if len(positions) < 5:
        return result
    middle = np.arange(2, len(positions) - 2)
    around = middle[:, None] + np.array([-2, -1, 1, 2])
    weights = np.ones(around.shape)
    for j in range(4):
        for other in range(4):
            if other != j:
                here = times[around[:, other]]
                weights[:, j] *= (times[middle] - here) / (times[around[:, j]] - here)
    off = np.abs(positions[middle] - np.einsum("nj,njk->nk", weights, positions[around])) / deviations[middle]
    off /= np.sqrt(1 + (weights**2).sum(axis=1))[:, None]
    # Across a gap the cubic knows nothing.
    off[times[middle + 1] - times[middle - 1] > 4 * np.median(np.diff(times))] = 0.0
    usual = scipy.ndimage.median_filter(off, (min(15, len(off)), 1), mode="nearest")
    stands_out = off >= scipy.ndimage.maximum_filter(off, (5, 1), mode="nearest")
    result[middle] = np.where(stands_out, np.maximum(1.0, off / (4.0 + 3.0 * usual)) ** 2, 1.0)
    return result


def _process_noise(times: Float64, values: Float64, noise: Float64) -> Float64:
    """(n, 4) square root of the acceleration density that explains the measurements around each moment best."""
    evidence = _log_likelihoods(times, values, noise)
    evidence += _log_likelihoods(-times[::-1], values[::-1], noise[::-1])[::-1]
    evidence[:, 2:] = evidence[:, 2:].sum(axis=1, keepdims=True)  # a face moves freely in both directions
    measured = times[np.isfinite(noise[:, 0])]
    around = _windowed(times, evidence, max(_EVIDENCE_SECONDS, _EVIDENCE_FRAMES * float(np.median(np.diff(measured)))))
    around -= around.max(axis=-1, keepdims=True)
    weight = np.exp(_EVIDENCE_TRUST * around)
    weight /= weight.sum(axis=-1, keepdims=True)
    return np.exp(weight @ np.log(_LEVELS))


def _normalised_residual(off: Float64) -> Float64:
    """(n, 4) standard deviations by which the path stays off its measurements: what two neighbours agree on, or half of
    what one alone says, since single ones are wild at times."""
    pairs = np.where(off[1:] * off[:-1] > 0, np.minimum(np.abs(off[1:]), np.abs(off[:-1])), 0.0)
    nothing = np.zeros((1, off.shape[1]))
    return np.maximum.reduce([0.5 * np.abs(off), np.concatenate([nothing, pairs]), np.concatenate([pairs, nothing])])


def _log_likelihoods(times: Float64, values: Float64, noise: Float64) -> Float64:
    """(n, 4, levels) how well a Kalman filter of each level foresaw each measurement; 0 where there was none."""
    density = _LEVELS**2
    result = np.zeros((len(times), 4, len(_LEVELS)))
    first = int(np.argmax(np.isfinite(noise[:, 0])))
    shape = (4, len(_LEVELS))
    position, speed = np.broadcast_to(values[first][:, None], shape).copy(), np.zeros(shape)
    variance, cross, speed_variance = _start(np.broadcast_to(noise[first][:, None], shape))
    for i in range(first + 1, len(times)):
        step = times[i] - times[i - 1]
        position = position + step * speed
        variance, cross, speed_variance = _predicted(variance, cross, speed_variance, step, density)
        if not np.isfinite(noise[i, 0]):
            continue
        total = variance + noise[i][:, None]
        innovation = values[i][:, None] - position
        # Student's t with four degrees of freedom: a single wild measurement must not outvote its neighbours.
        result[i] = -0.5 * np.log(total) - 2.5 * np.log1p(innovation**2 / (4 * total))
        gain, speed_gain = variance / total, cross / total
        position, speed = position + gain * innovation, speed + speed_gain * innovation
        speed_variance = speed_variance - speed_gain * cross
        variance, cross = (1 - gain) * variance, (1 - gain) * cross
    return result


def _windowed(times: Float64, evidence: Float64, width: float) -> Float64:
    """Sum over neighbours in time, weighted by a Gaussian of `width` seconds (frames may come at any rate)."""
    result = np.zeros_like(evidence)
    low, high = np.searchsorted(times, times - 3 * width), np.searchsorted(times, times + 3 * width, side="right")
    for i in range(len(times)):
        near = slice(low[i], high[i])
        result[i] = np.tensordot(np.exp(-0.5 * ((times[near] - times[i]) / width) ** 2), evidence[near], 1)
    return result


def _smooth(
    times: Float64, values: Float64, noise: Float64, density: Float64, rest_noise: Float64
) -> tuple[Float64, Float64, Float64]:
    """Kalman filter and Rauch-Tung-Striebel pass at constant velocity.

    All (n, 4): measured places, their variances (infinite: not measured), acceleration densities, and variances with which
    the speed is held to be zero (infinite: free). Returns places, speeds and the speeds' standard deviations, (n, 4) each.
    """
    count = len(times)
    means, covariances = np.zeros((count, 4, 2)), np.zeros((count, 4, 2, 2))
    expected_means, expected = np.zeros((count, 4, 2)), np.zeros((count, 4, 2, 2))
    first = int(np.argmax(np.isfinite(noise[:, 0])))
    mean = np.stack([values[first], np.zeros(4)], axis=-1)
    covariance = _matrix(*_start(noise[first]))
    for i in range(count):
        if i:
            step = times[i] - times[i - 1]
            mean = np.stack([mean[:, 0] + step * mean[:, 1], mean[:, 1]], axis=-1)
            parts = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
            covariance = _matrix(*_predicted(*parts, step, (density[i] + density[i - 1]) / 2))
        expected_means[i], expected[i] = mean, covariance
        if i != first and np.isfinite(noise[i, 0]):
            mean, covariance = _updated(mean, covariance, 0, values[i], noise[i])
        if np.isfinite(rest_noise[i]).any():
            mean, covariance = _updated(mean, covariance, 1, np.zeros(4), rest_noise[i])
        means[i], covariances[i] = mean, covariance
    for i in range(count - 2, -1, -1):
        transition = np.array([[1.0, times[i + 1] - times[i]], [0.0, 1.0]])
        back = covariances[i] @ transition.T @ np.linalg.inv(expected[i + 1])
        means[i] += np.einsum("kij,kj->ki", back, means[i + 1] - expected_means[i + 1])
        covariances[i] += back @ (covariances[i + 1] - expected[i + 1]) @ np.swapaxes(back, 1, 2)
    return means[..., 0], means[..., 1], np.sqrt(np.maximum(covariances[..., 1, 1], 0.0))


def _updated(mean: Float64, covariance: Float64, part: int, value: Float64, noise: Float64) -> tuple[Float64, Float64]:
    """Take in a measurement of the place (part 0) or the speed (part 1) of all four parameters; infinite noise is none."""
    gain = covariance[:, :, part] / (covariance[:, part, part] + noise)[:, None]
    return mean + gain * (value - mean[:, part])[:, None], covariance - gain[:, :, None] * covariance[:, None, part, :]


def _start(noise: Float64) -> tuple[Float64, Float64, Float64]:
    """A state that knows the place as well as one measurement does, and nothing of the speed (some 2000 px/s)."""
    return noise.copy(), np.zeros_like(noise), np.full_like(noise, 2000.0**2)


def _predicted(
    variance: Float64, cross: Float64, speed_variance: Float64, step: float, density: Float64
) -> tuple[Float64, Float64, Float64]:
    """Covariance of (place, speed) after `step` seconds with white acceleration of the given density."""
    return (
        variance + 2 * step * cross + step**2 * speed_variance + density * step**3 / 3,
        cross + step * speed_variance + density * step**2 / 2,
        speed_variance + density * step,
    )


def _matrix(variance: Float64, cross: Float64, speed_variance: Float64) -> NDArray[np.float64]:
    return np.stack([np.stack([variance, cross], axis=-1), np.stack([cross, speed_variance], axis=-1)], axis=-2)
