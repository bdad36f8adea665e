"""Each noise model is unit Gaussian, white in space, addressable by frame, and shares what it promises to share."""

from __future__ import annotations

import numpy as np
import pytest

from iconface_video.restore.noise import NoiseKey, TrackNoise, progressive_noise, warped_noise
from iconface_video.types import TrackKey

KINDS = ["independent", "fixed", "mixed", "progressive", "warped"]
SHAPE = (4, 64, 64)
TRACK = TrackKey(shot_first_pts=0, birth_pts=1001, birth_order=0)
OTHER = TrackKey(shot_first_pts=0, birth_pts=1001, birth_order=1)
PTS = [1001 * (i + 1) for i in range(64)]


def turned(angle: float, scale: float, shift: tuple[float, float], side: int = 64) -> np.ndarray:
    """Similarity about the picture's middle."""
    c, s, middle = scale * np.cos(angle), scale * np.sin(angle), (side - 1) / 2
    return np.array(
        [
            [c, -s, middle - c * middle + s * middle + shift[0]],
            [s, c, middle - s * middle - c * middle + shift[1]],
        ]
    )


def frame_noise(
    kind: str, row: int, *, seed: int = 7, track: TrackKey = TRACK, shape: tuple[int, int, int] = SHAPE
) -> np.ndarray:
    moved = turned(0.01 * row, 1 + 0.004 * row, (0.37 * row % 3, -0.21 * row % 2))
    return TrackNoise(kind, seed).sample(track, PTS[: row + 1], shape, moved)


@pytest.mark.parametrize("kind", KINDS)
def test_unit_gaussian_and_white_in_space(kind):
    fields = np.stack([frame_noise(kind, row, track=TrackKey(0, row, 0)) for row in (0, 5, 30, 60)]).astype(np.float64)
    count = fields.size  # 65,536 samples: standard errors .004 (mean), .0055 (variance), .004 (correlation)
    assert fields.dtype == np.float64
    assert abs(fields.mean()) < 4.5 / count**0.5
    assert abs(fields.var() - 1) < 4.5 * (2 / count) ** 0.5
    assert abs((fields**4).mean() - 3) < 0.2
    for down, right in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (3, 1)]:
        correlation = (fields[..., down:, right:] * fields[..., : 64 - down, : 64 - right]).mean()
        assert abs(correlation) < 0.02, (down, right)
    between_channels = (fields[:, 0] * fields[:, 1]).mean()
    assert abs(between_channels) < 0.035


@pytest.mark.parametrize("kind", KINDS)
def test_spectrum_is_flat(kind):
    power = np.mean(
        [np.abs(np.fft.fft2(frame_noise(kind, row, track=TrackKey(0, row, 3)))) ** 2 / 64**2 for row in range(0, 60, 6)],
        axis=(0, 1),
    )
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij"))
    for low, high in [(0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.71)]:
        band = power[(radius >= low) & (radius < high)].mean()
        assert 0.93 < band < 1.07, (low, band)


@pytest.mark.parametrize("kind", KINDS)
def test_any_frame_can_be_made_alone(kind):
    one_by_one = TrackNoise(kind, 7)
    maps = [turned(0.01 * row, 1.0, (0.3 * row, 0)) for row in range(60)]
    in_order = [one_by_one.sample(TRACK, PTS[: row + 1], SHAPE, maps[row]) for row in range(60)]
    for row in (59, 3, 40):
        alone = TrackNoise(kind, 7, kept_bytes=0).sample(TRACK, PTS[: row + 1], SHAPE, maps[row])
        np.testing.assert_array_equal(alone, in_order[row])


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_track_change_it(kind):
    base = frame_noise(kind, 9)
    for other in (frame_noise(kind, 9, seed=8), frame_noise(kind, 9, track=OTHER)):
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 0.035


@pytest.mark.parametrize(
    ("kind", "lag", "expected"),
    [
        ("independent", 1, 0.0),
        ("fixed", 50, 1.0),
        ("mixed", 1, 0.9),
        ("mixed", 50, 0.9),
        ("progressive", 1, 0.8**0.5),
        ("progressive", 6, 0.8**3),
        ("progressive", 50, 0.0),
    ],
)
def test_correlation_between_frames(kind, lag, expected):
    source = TrackNoise(kind, 7)
    first = source.sample(TRACK, PTS[:9], SHAPE)
    later = source.sample(TRACK, PTS[: 9 + lag], SHAPE)
    assert np.corrcoef(first.ravel(), later.ravel())[0, 1] == pytest.approx(expected, abs=0.035)


def test_progressive_follows_its_recursion():
    """e_t = r e_(t-1) + sqrt(1-r^2) n_t, written out here with the draws of `independent`."""
    r = 0.8**0.5
    draws = [TrackNoise("independent", 7).sample(TRACK, [pts], (1, 8, 8)) for pts in PTS[:20]]
    expected = draws[0]
    for fresh in draws[1:]:
        expected = r * expected + (1 - r * r) ** 0.5 * fresh
    np.testing.assert_allclose(progressive_noise(7, TRACK, PTS[:20], (1, 8, 8)), expected, atol=1e-5)


def test_warped_noise_sticks_to_the_face_for_good():
    """The same material point keeps its noise however far in time: shift by whole samples, then look at the shifted place."""
    still = warped_noise(NoiseKey(7, TRACK, 0), SHAPE, turned(0, 1, (0, 0)))
    shifted = warped_noise(NoiseKey(7, TRACK, 10**6), SHAPE, turned(0, 1, (5, -3)))
    np.testing.assert_allclose(shifted[:, 3:, : 64 - 5], still[:, : 64 - 3, 5:], atol=1e-6)


def test_warped_noise_keeps_correlation_under_subsample_motion():
    """Half a sample of shift leaves about half of the cells in place; bilinear warping would lose the variance instead."""
    still = warped_noise(NoiseKey(7, TRACK, 0), SHAPE, turned(0, 1, (0, 0)))
    half = warped_noise(NoiseKey(7, TRACK, 1), SHAPE, turned(0, 1, (0.5, 0)))
    assert np.corrcoef(still.ravel(), half.ravel())[0, 1] == pytest.approx(0.5, abs=0.04)
    assert half.var() == pytest.approx(1, abs=0.04)


def test_warped_noise_beyond_the_field_is_still_unit_noise():
    far = warped_noise(NoiseKey(7, TRACK, 1), SHAPE, turned(0.3, 1.9, (40, 0)))
    assert far.var() == pytest.approx(1, abs=0.05)
    assert abs(np.mean(far[..., 1:] * far[..., :-1])) < 0.03
