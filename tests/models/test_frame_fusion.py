"""Bringing neighbouring frames together: what the shipped network makes of noise, motion, a cut and missing frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data

from iconface_video.errors import CheckpointError
from iconface_video.models.checkpoint_index import frame_fusion_file
from iconface_video.models.frame_fusion import (
    NEIGHBOURS,
    FrameFusion,
    carried,
    fuse,
    load_frame_fusion,
    save_frame_fusion,
    trusted,
)
from iconface_video.types import UInt8


@pytest.fixture(scope="module")
def network() -> FrameFusion:
    return load_frame_fusion()


@pytest.fixture(scope="module")
def face() -> UInt8:
    """A face in about the FFHQ frame, 128 px."""
    return np.ascontiguousarray(cv2.resize(data.astronaut()[0:240, 105:345], (128, 128), interpolation=cv2.INTER_AREA))


def moving(face: UInt8, step: float = 1.3) -> list[UInt8]:
    """Seven frames in which it drifts by `step` px each."""
    return [
        np.asarray(
            cv2.warpAffine(
                face, np.float32([[1, 0, step * k], [0, 1, 0.4 * step * k]]), (128, 128), borderMode=cv2.BORDER_REFLECT
            ),
            np.uint8,
        )
        for k in range(-NEIGHBOURS, NEIGHBOURS + 1)
    ]


def noisy(frames: list[UInt8], sigma: float = 14.0) -> list[UInt8]:
    rng = np.random.default_rng(3)
    return [np.clip(frame + rng.normal(0, sigma, frame.shape), 0, 255).astype(np.uint8) for frame in frames]


def psnr(picture: UInt8, goal: UInt8) -> float:
    return float(10 * np.log10(255**2 / np.square(picture.astype(float) - goal).mean()))


def test_noise_that_differs_from_frame_to_frame_goes(network, face):
    clean = moving(face)
    window = noisy(clean)
    alone = fuse(network, [window[NEIGHBOURS]] * 6 + [window[NEIGHBOURS].copy()])  # the same noise everywhere
    made = fuse(network, window)
    assert psnr(made, clean[NEIGHBOURS]) > psnr(window[NEIGHBOURS], clean[NEIGHBOURS]) + 3
    assert psnr(made, clean[NEIGHBOURS]) > psnr(alone, clean[NEIGHBOURS]) + 0.7


def test_a_clean_moving_face_stays_what_it_is(network, face):
    clean = moving(face)
    assert psnr(fuse(network, clean), clean[NEIGHBOURS]) > 37


@pytest.mark.parametrize("wrong", [(0, 1, 2), (4, 5, 6), (2,), (0, 1, 2, 4, 5, 6)])
def test_neighbours_that_show_something_else_leave_no_ghost(network, face, wrong):
    """Beyond a cut that nobody noticed, say."""
    clean = moving(face)
    window = noisy(clean, 5)
    other = np.ascontiguousarray(cv2.resize(data.chelsea()[20:280, 90:350], (128, 128)))
    for k in wrong:
        window[k] = other
    assert psnr(fuse(network, window), clean[NEIGHBOURS]) > psnr(window[NEIGHBOURS], clean[NEIGHBOURS]) - 0.3


def test_without_neighbours_nothing_is_done(network, face):
    assert fuse(network, [face] * 7) is face
    assert fuse(network, [face]) is face


def test_fewer_neighbours_count_as_missing_ones(network, face):
    window = noisy(moving(face))
    middle = window[NEIGHBOURS]
    padded = [middle, middle, *window[2:5], middle, middle]
    np.testing.assert_array_equal(fuse(network, window[2:5]), fuse(network, padded))


def test_neighbours_are_brought_onto_the_middle(face):
    clean = moving(face, 2.0)
    onto = carried(clean)
    assert onto.shape == (7, 128, 128, 3)
    inner = slice(16, -16)
    for k in (0, 1, 2, 4, 5, 6):
        before = psnr(clean[k][inner, inner], clean[NEIGHBOURS][inner, inner])
        assert psnr(onto[k][inner, inner], clean[NEIGHBOURS][inner, inner]) > before + 6
    np.testing.assert_array_equal(onto[NEIGHBOURS], clean[NEIGHBOURS])


def test_an_untrained_network_is_the_mean_of_its_frames(face):
    windows = torch.from_numpy(np.stack(noisy(moving(face)))).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(FrameFusion()(windows), windows.mean(1), atol=1e-4, rtol=0)


def test_where_a_neighbour_shows_something_else_the_frame_itself_stands(face):
    windows = np.stack([face] * 7)
    windows[2, 40:90, 40:90] = 255 - windows[2, 40:90, 40:90]  # a hand in front of the face, say
    made = trusted(windows)
    assert np.abs(made[2, 50:80, 50:80].astype(int) - face[50:80, 50:80]).mean() < 4
    darker = np.stack([face] * 7)
    darker[4] = np.clip(face * 0.9, 0, 255).astype(np.uint8)  # a film that flickers
    assert np.abs(trusted(darker)[4].astype(int) - darker[4]).mean() < 3


def test_an_edge_that_flow_did_not_bring_to_its_place_is_no_evidence(face):
    """Half a px aside: too little to be seen in a small picture, enough to blur a lash. What noise has all over is none of that."""
    face = np.asarray(cv2.resize(face, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
    aside = cv2.warpAffine(face, np.float32([[1, 0, 0.7], [0, 1, 0.3]]), (256, 256), borderMode=cv2.BORDER_REFLECT)
    middle, misplaced, noise = noisy([face, np.asarray(aside, np.uint8), face], 1.0)
    windows = np.stack([middle, misplaced, middle, middle, middle, noise, middle])
    made = trusted(windows)
    kept = [np.abs(made[k].astype(int) - middle).mean() / np.abs(windows[k].astype(int) - middle).mean() for k in (1, 5)]
    assert kept[0] < 0.5  # of what it differs by, noise included
    assert kept[1] > 0.95


def test_weights_come_back_as_they_were_saved(tmp_path, network, face):
    window = noisy(moving(face))
    path = save_frame_fusion(network, tmp_path / "fusion.safetensors")
    np.testing.assert_array_equal(fuse(load_frame_fusion(path), window), fuse(network, window))
    assert frame_fusion_file().stat().st_size < 2 << 20


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no readable frame fusion network"):
        load_frame_fusion(tmp_path / "none.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(frame_fusion_file().read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="no readable frame fusion network"):
        load_frame_fusion(tmp_path / "damaged.safetensors")
    save_file({"look.bias": torch.zeros(24)}, tmp_path / "other.safetensors", metadata={"kind": "landmarks"})
    with pytest.raises(CheckpointError, match="not a frame fusion network"):
        load_frame_fusion(tmp_path / "other.safetensors")
