"""Alignment and cutting, against numpy's own arithmetic and pictures whose content is a known function of place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.faces.align import (
    TEMPLATE_512,
    crop_from_display,
    crop_from_frame,
    crop_to_show,
    cut_crop,
    estimate_parameters,
    invert,
    matrix_from_parameters,
    source_box,
    transform_points,
)
from iconface_video.types import ColorTags, VideoInfo

PARAMETERS = np.array([0.4, -0.3, 35.0, -60.0])


def video_info(width: int, height: int, aspect: Fraction = Fraction(1), rotation: int = 0) -> VideoInfo:
    return VideoInfo(
        path=Path("x.mp4"), container="mp4", codec="h264", width=width, height=height, pix_fmt="yuv420p",
        time_base=Fraction(1, 25), average_rate=None, is_vfr=False, first_pts=0, duration_seconds=None,
        frame_count_declared=None, sample_aspect_ratio=aspect, rotation=rotation, color=ColorTags(), bit_depth=8,
        field_order="progressive",
    )  # fmt: skip


def landmarks_of(parameters: np.ndarray) -> np.ndarray:
    """Where a face stands whose window has these parameters: the template through the inverse, by numpy's solver."""
    log_scale, angle, x, y = parameters
    turn = np.exp(log_scale) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.linalg.solve(turn, (TEMPLATE_512 - (x, y)).T).T


def test_parameters_of_a_placed_template_are_found():
    np.testing.assert_allclose(estimate_parameters(landmarks_of(PARAMETERS)), PARAMETERS, atol=1e-9)


def test_many_at_once_equal_one_by_one():
    rng = np.random.default_rng(1)
    many = rng.normal(0, 40, (3, 4, 5, 2)) + TEMPLATE_512
    together = estimate_parameters(many)
    assert together.shape == (3, 4, 4)
    np.testing.assert_allclose(together[1, 2], estimate_parameters(many[1, 2]))


def test_least_squares_beats_every_neighbour():
    noisy = landmarks_of(PARAMETERS) + np.random.default_rng(0).normal(0, 5, (5, 2))

    def error(parameters: np.ndarray) -> float:
        mapped = transform_points(matrix_from_parameters(parameters), noisy)
        return float(((mapped - TEMPLATE_512) ** 2).sum())

    best = estimate_parameters(noisy)
    for index, step in enumerate([1e-3, 1e-3, 0.1, 0.1]):
        for sign in (-1, 1):
            nudged = best.copy()
            nudged[index] += sign * step
            assert error(nudged) > error(best)


def test_mirrored_landmarks_never_give_a_reflection():
    mirrored = landmarks_of(PARAMETERS) * (-1, 1)
    assert np.linalg.det(matrix_from_parameters(estimate_parameters(mirrored))[:, :2]) > 0


def test_weight_zero_takes_a_landmark_out():
    moved = landmarks_of(PARAMETERS)
    moved[2] += 100
    np.testing.assert_allclose(estimate_parameters(moved, [1, 1, 0, 1, 1]), PARAMETERS, atol=1e-9)


def test_landmarks_on_one_point_are_refused():
    with pytest.raises(ValueError, match="fall on one point"):
        estimate_parameters(np.full((5, 2), 7.0))


def test_crops_of_all_sizes_show_the_same_window():
    """The window's edges (pixel edges, so -0.5) are the same display points at every size."""
    for size in (64, 112, 512, 1024):
        edges = np.array([(-0.5, -0.5), (size - 0.5, size - 0.5)])
        seen = transform_points(invert(crop_from_display(PARAMETERS, size)), edges)
        expected = transform_points(invert(matrix_from_parameters(PARAMETERS)), [(-0.5, -0.5), (511.5, 511.5)])
        np.testing.assert_allclose(seen, expected, atol=1e-9)


def ramps(width: int, height: int) -> np.ndarray:
    """A float picture whose colours are its own pixel coordinates."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y, x + y], axis=-1)


@pytest.mark.parametrize("size", [60, 200, 700], ids=["shrinks", "as it is", "enlarges"])
def test_crop_pixels_hold_what_the_matrix_says(size):
    """On a linear picture every sane filter gives the value at the mapped centre: catches half-pixel slips, in any direction."""
    matrix = crop_from_display(np.array([1.0, 0.35, -330.0, -560.0]), size)
    crop = cut_crop(ramps(400, 360), matrix, size)
    y, x = np.mgrid[:size, :size]
    expected = transform_points(invert(matrix), np.stack([x, y], axis=-1))
    inside = ((expected > 8) & (expected < (391, 351))).all(axis=-1)
    assert inside.mean() > 0.9
    # OpenCV places samples to 1/32 px of what it warps, which is the shrunk source where the crop shrinks.
    finest = max(1.0, 1 / float(np.linalg.norm(matrix[:, 0]))) / 32
    np.testing.assert_allclose(crop[..., :2][inside], expected[inside], atol=1.8 * finest)


def test_shrinking_does_not_alias():
    """A one-pixel checkerboard shrunk eight times is grey; a plain bilinear warp would keep stripes of 0 and 255."""
    board = np.indices((800, 800)).sum(axis=0) % 2 * 255
    picture = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    crop = cut_crop(picture, [[0.123, 0.01, 1.0], [-0.01, 0.123, 1.0]], 90)
    assert np.abs(crop[10:80, 10:80].astype(int) - 127).max() <= 12


def test_a_step_of_subpixels_moves_the_crop_smoothly():
    """Shifting the window by thirds of a pixel shifts the content by as much: no snapping to the pixels of the shrunk source."""
    x = np.arange(900, dtype=np.float32)
    wave = np.repeat(np.tile(127 + 100 * np.sin(x / 30), (900, 1))[..., None], 3, axis=2).astype(np.float32)
    crops = [cut_crop(wave, [[0.3, 0, -40 - shift], [0, 0.3, -40]], 128)[64, 20:100, 0] for shift in np.arange(0, 3, 0.25)]
    for shift, row in zip(np.arange(0, 3, 0.25), crops):
        expected = 127 + 100 * np.sin((np.arange(20, 100) + 40 + shift) / 0.3 / 30)
        np.testing.assert_allclose(row, expected, atol=1.0)


def test_uint8_and_float_agree(portrait):
    matrix = crop_from_display(estimate_parameters(portrait.landmarks), 256)
    as_bytes = cut_crop(portrait.rgb, matrix, 256)
    as_floats = cut_crop(portrait.rgb.astype(np.float32) / 255, matrix, 256)
    assert as_bytes.dtype == np.uint8
    assert as_floats.dtype == np.float32
    assert np.abs(as_bytes - as_floats * 255).max() < 3
    assert as_floats.min() >= 0
    assert as_floats.max() <= 1


def test_beyond_the_picture_it_is_mirrored():
    picture = ramps(40, 30)
    crop = cut_crop(picture, [[1.0, 0, 5], [0, 1.0, 0]], 30)
    np.testing.assert_allclose(crop[10, :5, 0], [5, 4, 3, 2, 1], atol=1e-3)


def test_only_the_source_box_is_needed(portrait):
    """Cutting from the box alone gives the same crop as cutting from the whole picture."""
    matrix = crop_from_display(estimate_parameters(portrait.landmarks), 96)
    x0, y0, x1, y1 = source_box(matrix, 96, (512, 512))
    assert (x1 - x0) * (y1 - y0) < 512 * 512 * 0.6
    part = np.ascontiguousarray(portrait.rgb[y0:y1, x0:x1])
    np.testing.assert_array_equal(cut_crop(part, matrix, 96, (x0, y0)), cut_crop(portrait.rgb, matrix, 96))


@pytest.mark.parametrize("far", [(-5000.0, 0.0), (9000.0, 9000.0)])
def test_a_window_outside_the_picture_is_not_an_error(far):
    matrix = [[1.0, 0, far[0]], [0, 1.0, far[1]]]
    x0, y0, x1, y1 = source_box(matrix, 64, (200, 100))
    assert 0 <= x0 < x1 <= 200
    assert 0 <= y0 < y1 <= 100
    assert cut_crop(np.zeros((100, 200, 3), np.uint8), matrix, 64).shape == (64, 64, 3)


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"uint8 or float32.*float64"):
        cut_crop(np.zeros((10, 10, 3)), np.eye(3)[:2], 8)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_and_stretched_frames_give_the_upright_crop(portrait, rotation):
    """The stored picture is turned the other way and squeezed to non-square pixels by numpy; the crop must not notice."""
    upright = portrait.rgb[:480, :400]
    stored = np.rot90(upright, rotation // 90)  # display turns it clockwise by `rotation`, so it is stored turned back
    stored = stored.reshape(stored.shape[0], -1, 2, 3).mean(axis=2).astype(np.uint8)
    info = video_info(stored.shape[1], stored.shape[0], Fraction(2), rotation)
    assert info.display_size == (400, 480)
    parameters = estimate_parameters(portrait.landmarks)
    from_stored = cut_crop(np.ascontiguousarray(stored), crop_from_frame(parameters, 64, info), 64)
    from_upright = cut_crop(np.ascontiguousarray(upright), crop_from_display(parameters, 64), 64)
    assert np.abs(from_stored.astype(int) - from_upright).mean() < 3


def test_what_is_shown_ends_where_the_picture_ends():
    picture = np.full((40, 40, 3), 200, np.uint8)
    shown = crop_to_show(picture, np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 0.0]]), 40, beyond=64)
    assert (shown[:, :19] == 64).all()
    assert (shown[:, 21:] == 200).all()
