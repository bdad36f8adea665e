"""The five cases in which decord 0.6 goes wrong, each with a file made here, and one in which it may be trusted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import DecodeError
from iconface_video.video.random_access import RandomAccess
from iconface_video.video.reader import VideoReader

decord = pytest.importorskip("decord", reason="decord has no wheel for this platform")


def truth(ffmpeg, path: Path, index: int) -> np.ndarray:
    """Frame `index` of those that the ffmpeg tool shows, as RGB."""
    video_stream = ffmpeg.video_stream(path)
    scale = "scale=flags=accurate_rnd+full_chroma_int"
    data = ffmpeg.raw(path, "-vf", f"select=eq(n\\,{index}),{scale}", "-pix_fmt", "rgb24")
    return np.frombuffer(data, np.uint8).reshape(video_stream["height"], video_stream["width"], 3)


def assert_shows(ffmpeg, access: RandomAccess, path: Path, indices: list[int]) -> None:
    times = ffmpeg.times(path)
    for index in indices:
        picture = access.frame_at(int(times[index] / access.info.time_base))
        assert picture.pts * access.info.time_base == times[index]
        # The tool puts chroma in the middle of its pixels; elsewhere the pictures agree.
        assert np.abs(picture.rgb.astype(int) - truth(ffmpeg, path, index)).mean() < 3
        assert np.abs(picture.rgb.astype(int) - truth(ffmpeg, path, (index + 8) % len(times))).mean() > 4


def soft(ffmpeg, name: str, *arguments: str, seconds: float = 2, size: str = "128x96") -> Path:
    return ffmpeg.picture(
        name, "-vf", "gblur=2,hue=s=0.3", "-c:v", "libx264", "-pix_fmt", "yuv420p", *arguments, seconds=seconds, size=size
    )


def test_an_ordinary_file_goes_to_decord(ffmpeg):
    path = soft(ffmpeg, "clip.mp4", "-g", "10", "-bf", "2")
    with RandomAccess(path) as access:
        assert access.backend == "decord", access.why_not_decord
        assert_shows(ffmpeg, access, path, [40, 0, 13, 49])


def test_edit_list_frames_that_decord_would_show(ffmpeg):
    long = soft(ffmpeg, "long.mp4", "-g", "50", "-bf", "2", seconds=4)
    path = ffmpeg("cut.mp4", "-ss", "1", "-i", long, "-c", "copy", "-avoid_negative_ts", "disabled")
    assert len(decord.VideoReader(str(path))) != len(ffmpeg.times(path)), "decord has learned about edit lists"
    with RandomAccess(path) as access:
        assert access.backend == "pyav"
        assert access.why_not_decord
        assert_shows(ffmpeg, access, path, [0, 10, 3])


def test_edit_list_that_starts_in_the_first_group(ffmpeg):
    """The second kind: a cut before the second keyframe, where the file keeps everything from the first on."""
    long = soft(ffmpeg, "long.mp4", "-g", "25", "-bf", "0", seconds=2)
    path = ffmpeg("cut.mp4", "-ss", "0.52", "-i", long, "-c", "copy", "-avoid_negative_ts", "disabled")
    with RandomAccess(path) as access:
        assert access.backend == "pyav"
        assert_shows(ffmpeg, access, path, [0, 5, 20])


def test_rotated_film_stays_as_stored(ffmpeg):
    upright = soft(ffmpeg, "upright.mp4")
    path = ffmpeg("turned.mp4", "-i", upright, "-c", "copy", "-metadata:s:v:0", "rotate=90")
    assert decord.VideoReader(str(path))[0].shape[:2] == (128, 96), "decord does not rotate any more"
    with RandomAccess(path) as access:
        assert (access.backend, access.why_not_decord) == ("pyav", "the film is rotated")
        assert_shows(ffmpeg, access, path, [0, 30])


def test_variable_rate_keeps_its_times(ffmpeg):
    path = soft(
        ffmpeg, "vfr.mp4", "-vf", "gblur=2,select='mod(n+1,3)'", "-fps_mode", "passthrough", "-video_track_timescale", "25000"
    )
    expected = [Fraction(n, 25) for n in range(50) if (n + 1) % 3]
    with RandomAccess(path) as access:
        for index in (0, 1, 2, 20, 30):
            tick = int(expected[index] / access.info.time_base)
            assert access.frame_at(tick).pts == tick
            between = access.frame_at(tick + 1)
            assert between.pts == tick
        assert_shows(ffmpeg, access, path, [2, 21])


def test_ten_bits_are_not_squeezed_through_decord(ffmpeg):
    path = soft(ffmpeg, "deep.mp4", "-pix_fmt", "yuv420p10le")
    with RandomAccess(path) as access:
        assert (access.backend, access.why_not_decord) == ("pyav", "10 bits per sample")
        assert_shows(ffmpeg, access, path, [7, 3])


def test_interlaced_film_is_deinterlaced(ffmpeg):
    path = ffmpeg.picture(
        "fields.mp4", "-vf", "interlace=scan=tff", "-c:v", "libx264", "-flags", "+ilme+ildct", "-x264opts", "tff=1", rate="50"
    )
    with RandomAccess(path) as access:
        assert (access.backend, access.why_not_decord) == ("pyav", "the film is interlaced")
        frames = list(VideoReader(path).frames())
        assert access.frame_at(frames[12].pts).pts == frames[12].pts


def test_times_outside_the_clip(ffmpeg):
    path = soft(ffmpeg, "clip.mp4", seconds=0.4)
    for allow in (True, False):
        with RandomAccess(path, allow_decord=allow) as access:
            assert access.frame_at(-1000).pts == 0
    with (
        RandomAccess(path, allow_decord=False) as access,
        pytest.raises(DecodeError, match="no frame at or after PTS 900000000"),
    ):
        access.frame_at(900_000_000)
