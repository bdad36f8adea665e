"""Bytes to tensors and back: nothing is lost, whatever way the array lies in memory."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from iconface_video.faces.pixels import to_tensor, to_uint8

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
PICTURE = np.stack([LEVELS, LEVELS[::-1], LEVELS.T], axis=-1)


@pytest.mark.parametrize("pictures", [PICTURE[None], PICTURE[None, :, ::-1], np.stack([PICTURE] * 6).reshape(2, 3, 16, 16, 3)])
def test_every_level_comes_back(pictures):
    tensor = to_tensor(pictures)
    assert tensor.shape == (*pictures.shape[:-3], 3, 16, 16)
    assert (float(tensor.min()), float(tensor.max())) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(tensor), pictures)


def test_a_list_is_a_batch_and_a_read_only_array_stays_untouched():
    frozen = PICTURE.copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that it could write to
        both = to_tensor([frozen, PICTURE])
        to_tensor(frozen).zero_()
    assert torch.equal(both[0], both[1])
    np.testing.assert_array_equal(frozen, PICTURE)


def test_what_lies_outside_is_clipped_and_the_rest_rounded_to_nearest():
    values = torch.tensor([-3.0, 3.0, 0.0, 1 / 127.5 + 0.0039])[:, None, None, None].expand(4, 3, 1, 1)
    assert to_uint8(values)[:, 0, 0, 0].tolist() == [0, 255, 128, 129]
