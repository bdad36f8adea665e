from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from iconface_video.types import ColorTags, Frame
from iconface_video.video.reader import VideoReader
from iconface_video.video.shots import ContentShotDetector, Cut


def scene(seed: int, width: int = 480, height: int = 120) -> np.ndarray:
    """A wide still picture of soft blobs, (height, width, 3) Y, Cb, Cr in 30..220."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 220, (6, 20, 3))
    rows = np.linspace(0, 5, height)
    columns = np.linspace(0, 19, width)
    low_r, low_c = np.floor(rows).astype(int).clip(0, 4), np.floor(columns).astype(int).clip(0, 18)
    part_r, part_c = (rows - low_r)[:, None, None], (columns - low_c)[None, :, None]
    top = coarse[low_r][:, low_c] * (1 - part_c) + coarse[low_r][:, low_c + 1] * part_c
    bottom = coarse[low_r + 1][:, low_c] * (1 - part_c) + coarse[low_r + 1][:, low_c + 1] * part_c
    return top * (1 - part_r) + bottom * part_r


def frame_of(picture: np.ndarray, index: int, noise: float = 3.0) -> Frame:
    shaken = picture + np.random.default_rng(index).normal(0, noise, picture.shape)
    planes = tuple(np.clip(shaken[:, :, k], 0, 255).astype(np.uint8) for k in range(3))
    return Frame(
        1000 + 40 * index, Fraction(1, 1000), 40, planes, "yuv444p", picture.shape[1], picture.shape[0], ColorTags(), index
    )


def window(picture: np.ndarray, left: int) -> np.ndarray:
    return picture[:, left : left + 160]


def cuts_of(frames: Iterator[Frame], detector: ContentShotDetector | None = None) -> list[Cut]:
    detector = detector or ContentShotDetector()
    found = []
    for frame in frames:
        new = detector.push(frame)
        assert all(frame.index - cut.index <= detector.delay for cut in new), "reported later than promised"
        found += new
    return found + detector.finish()


def test_cuts_at_known_places():
    scenes = [scene(k) for k in range(4)]
    starts = [0, 20, 33, 60]
    order = [sum(index >= start for start in starts) - 1 for index in range(80)]
    frames = (frame_of(window(scenes[which], index), index) for index, which in enumerate(order))
    assert cuts_of(frames) == [Cut(1000 + 40 * start, start) for start in starts[1:]]


@pytest.mark.parametrize("noise", [25.0, 40.0])
def test_cuts_of_a_noisy_tape_are_found(noise):
    scenes = [scene(k) for k in range(3)]
    frames = (frame_of(window(scenes[index // 20], 40), index, noise) for index in range(60))
    assert [cut.index for cut in cuts_of(frames)] == [20, 40]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length):
    still = window(scene(1), 40)
    bright = np.dstack((np.full(still.shape[:2], 250.0), np.full((*still.shape[:2], 2), 128.0)))
    frames = (frame_of(bright if 30 <= index < 30 + length else still, index) for index in range(60))
    assert cuts_of(frames) == []


def test_a_dropout_is_no_cut():
    still, torn = window(scene(1), 40), window(scene(2), 0)
    frames = (frame_of(torn if index == 25 else still, index) for index in range(60))
    assert cuts_of(frames) == []


@pytest.mark.parametrize("speed", [2, 8])
def test_a_pan_is_no_cut(speed):
    wide = scene(3, width=160 + 40 * speed)
    assert cuts_of(frame_of(window(wide, index * speed), index) for index in range(40)) == []


def test_a_fade_of_light_is_no_cut():
    still = window(scene(5), 10)
    gain = np.concatenate([np.ones(10), np.linspace(1, 0.3, 30), np.full(10, 0.3)])
    assert cuts_of(frame_of(still * (g, 1, 1), index) for index, g in enumerate(gain)) == []


def test_a_cut_during_movement_is_found():
    one, two = scene(1), scene(2)
    frames = (frame_of(window(one if index < 25 else two, 3 * index), index) for index in range(50))
    assert [cut.index for cut in cuts_of(frames)] == [25]


def test_deep_and_subsampled_frames(ffmpeg):
    """The same cut in 8-bit 4:2:0 and 10-bit 4:2:2, through real encoders."""
    for pix_fmt in ("yuv420p", "yuv422p10le"):
        path = ffmpeg(
            f"{pix_fmt}.mp4", "-f", "lavfi", "-i", "testsrc2=s=160x120:d=1", "-f", "lavfi", "-i", "mandelbrot=s=160x120:end_pts=400",
            "-filter_complex", f"[1:v]trim=duration=1,setpts=PTS-STARTPTS[b];[0:v][b]concat=n=2,format={pix_fmt}", "-c:v", "libx264",
        )  # fmt: skip
        assert [cut.index for cut in cuts_of(VideoReader(path).frames())] == [25]


def test_cuts_carry_the_frames_own_numbers():
    one, two = scene(1), scene(2)
    frames = (
        replace(frame_of(window(one if index < 12 else two, 0), index), index=index + 700, pts=index * 7) for index in range(24)
    )
    assert cuts_of(frames) == [Cut(12 * 7, 712)]


def test_a_key_frame_in_a_noisy_still_take_is_no_cut():
    """The sample tape: MPEG-2 key frames refresh grain and hue of a grey wall; ten seconds, one take."""
    from pathlib import Path

    with VideoReader(Path(__file__).parents[2] / "samples" / "tape.mp4") as reader:
        assert cuts_of(reader.frames()) == []


def test_a_cut_between_dark_scenes_is_found():
    """Night: all samples between 16 and 45, two different scenes."""
    dark = [16 + (window(scene(k), 40) - 30) * 0.15 for k in range(2)]
    for picture in dark:
        picture[:, :, 1:] += 90
    frames = (frame_of(dark[index >= 20], index, noise=1.0) for index in range(40))
    assert [cut.index for cut in cuts_of(frames, ContentShotDetector(10.0))] == [20]
