"""How a face sits inside its crop: the map from a frame's crop to the track's canonical face, for noise that sticks to it."""

from __future__ import annotations

import numpy as np

from iconface_video.faces.align import TEMPLATE_512, TEMPLATE_SIZE, matrix_from_parameters, transform_points
from iconface_video.types import Float64, Track

SMOOTHING_FRAMES = 4
"""Sigma of the average over time: the map must follow a turning head, not the detector's jitter."""


def canonical_from_crop(track: Track, row: int, samples: int, framing_scale: float = 1.0) -> Float64:
    """(2, 3) affine from sample centres of the row's crop to sample centres of the canonical face.

    The crop is a similarity of a smoothed track; what it leaves over (turning, nodding, residual motion) is the affine map
    that brings the landmarks, seen in the crop, to the template. samples: side of the noise field.  framing_scale: how much wider than the FFHQ frame
    crop and canonical face are (`restore.framing`).
    """
    reach = 3 * SMOOTHING_FRAMES
    rows = np.arange(max(0, row - reach), min(len(track), row + reach + 1))
    weights = np.exp(-0.5 * ((rows - row) / SMOOTHING_FRAMES) ** 2)
    points = np.stack([transform_points(matrix_from_parameters(track.parameters[i]), track.landmarks[i]) for i in rows])
    seen = np.einsum("n,npk->pk", weights / weights.sum(), points)
    source = np.column_stack([seen, np.ones(len(seen))])
    affine = np.linalg.lstsq(source, TEMPLATE_512, rcond=None)[0].T
    middle = np.full(2, TEMPLATE_SIZE / 2)
    affine[:, 2] = (affine[:, :2] @ middle + affine[:, 2] - middle) / framing_scale + middle - affine[:, :2] @ middle
    # From px of the 512 template to samples: edges scale, centres by (p + 0.5) s - 0.5.
    scale = samples / TEMPLATE_SIZE
    shift = (1 - scale) / (2 * scale)  # p512 = p / scale + shift, in both spaces
    linear = affine[:, :2]
    moved = scale * (affine[:, 2] + linear @ np.full(2, shift) - shift)
    return np.column_stack([linear, moved])
