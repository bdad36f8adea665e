"""Crops wider than the FFHQ frame: the published rule, and nothing else changes."""

from __future__ import annotations

import numpy as np

from iconface_video.faces.align import (
    TEMPLATE_512,
    estimate_parameters,
    invert,
    matrix_from_parameters,
    scaling,
    transform_points,
)
from iconface_video.restore.framing import Framing, framing_of


def test_wider_by_the_published_rule() -> None:
    """Their template: the five points drawn towards (256, 256) by the crop scale."""
    landmarks = transform_points(invert(matrix_from_parameters([-0.7, 0.3, 40.0, 90.0])), TEMPLATE_512)
    wide = Framing(1.35).parameters(estimate_parameters(landmarks))
    expected = 256 + (TEMPLATE_512 - 256) / 1.35
    np.testing.assert_allclose(transform_points(matrix_from_parameters(wide), landmarks), expected, atol=1e-9)
    ffhq = estimate_parameters(landmarks)
    assert np.array_equal(Framing().parameters(ffhq), ffhq)
    assert Framing(1.35).parameters(np.stack([ffhq, ffhq])).shape == (2, 4)


def test_what_lies_outside_of_the_picture_gets_the_border() -> None:
    crop = np.full((8, 8, 3), 7, np.uint8)
    matrix = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]])  # the picture begins at (2, 3) of the crop
    framing = Framing(1.35, (132, 133, 135))
    filled = framing.with_border(crop, matrix, (4, 20))
    assert (filled[:3] == (132, 133, 135)).all()
    assert (filled[:, :2] == (132, 133, 135)).all()
    assert (filled[:, 6:] == (132, 133, 135)).all()
    assert (filled[3:, 2:6] == 7).all()
    assert (crop == 7).all()
    assert framing.with_border(crop, scaling(1.0), (20, 20)) is crop
    assert Framing(1.35).with_border(crop, matrix, (4, 20)) is crop


def test_a_model_that_says_nothing_has_the_ffhq_frame() -> None:
    assert framing_of(object()) == Framing(1.0, None)
