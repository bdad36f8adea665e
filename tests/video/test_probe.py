from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.errors import InputError, VideoOpenError
from iconface_video.video.probe import probe


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.mp4: there is no such file\. Check the path"):
        probe(tmp_path / "nowhere.mp4")


def test_empty_file_says_so(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4: the file is empty \(0 bytes\)"):
        probe(tmp_path / "empty.mp4")


def test_directory_says_so(tmp_path):
    with pytest.raises(InputError, match="this is a directory, not a video file"):
        probe(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes"])
def test_text_says_so(tmp_path, name):
    (tmp_path / name).write_text("a quick brown fox\n" * 50)
    with pytest.raises(VideoOpenError, match=r"notes.*: this is a text file, not a video"):
        probe(tmp_path / name)


def test_truncated_mp4_explains_the_missing_index(ffmpeg, tmp_path):
    whole = ffmpeg.picture("whole.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: whole.index(b"moov") - 4])
    with pytest.raises(VideoOpenError, match=r"cut\.mp4: this MP4/MOV is cut short or damaged: its index \(moov\)"):
        probe(cut)


def test_audio_only_lists_what_is_held(ffmpeg):
    tone = ffmpeg("tone.m4a", "-f", "lavfi", "-i", "sine=d=1")
    with pytest.raises(VideoOpenError, match=r"no video stream; the file holds audio\. Name a file with moving pictures"):
        probe(tone)


def test_cover_art_is_not_a_film(ffmpeg):
    cover = ffmpeg.picture("cover.png", "-frames:v", "1")
    song = ffmpeg(
        "song.m4a", "-f", "lavfi", "-i", "sine=d=1", "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy",
        "-disposition:v", "attached_pic",
    )  # fmt: skip
    with pytest.raises(VideoOpenError, match=r"no video stream \(its only picture is cover art\)"):
        probe(song)


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.webp"])
def test_single_image_points_to_references(ffmpeg, name):
    photo = ffmpeg.picture(name, "-frames:v", "1")
    with pytest.raises(
        VideoOpenError, match=r"photo\.\w+: this is a single image .*photos of a person are given as references"
    ):
        probe(photo)


def test_binary_rubbish_is_refused(tmp_path):
    path = tmp_path / "rubbish.avi"
    path.write_bytes(np.random.default_rng(0).bytes(20000))
    with pytest.raises(VideoOpenError, match=r"rubbish\.avi: not a video that FFmpeg can read"):
        probe(path)


def test_facts_of_an_ordinary_clip(ffmpeg):
    path = ffmpeg.with_sound(
        "clip.mp4", "-vf", "setsar=16/15", "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709",
        "-color_trc", "bt709", "-color_range", "tv", "-metadata", "title=Holiday", size="66x50",
    )  # fmt: skip
    info = probe(path)
    assert (info.width, info.height, info.pix_fmt, info.bit_depth) == (66, 50, "yuv420p", 8)
    assert info.sample_aspect_ratio == Fraction(16, 15)
    assert info.average_rate == 25
    assert info.frame_count_declared == 25
    assert not info.is_vfr
    assert (info.color.range, info.color.space, info.color.primaries, info.color.transfer) == (1, 1, 1, 1)
    assert info.color.chroma_location == 1
    assert info.field_order == "progressive"
    assert info.metadata["title"] == "Holiday"
    (sound,) = info.streams
    assert (sound.kind, sound.codec, sound.detail) == ("audio", "aac", "48000 Hz mono")


def test_full_range_and_depth(ffmpeg):
    jpeg = probe(ffmpeg.picture("full.mp4", "-pix_fmt", "yuvj420p"))
    assert (jpeg.pix_fmt, jpeg.color.range) == ("yuv420p", 2)
    deep = probe(ffmpeg.picture("deep.mp4", "-pix_fmt", "yuv422p10le"))
    assert (deep.pix_fmt, deep.bit_depth) == ("yuv422p10le", 10)


def test_vfr_is_seen(vfr_clip, ffmpeg):
    assert probe(vfr_clip[0]).is_vfr
    assert not probe(ffmpeg.picture("ntsc.mkv", rate="30000/1001")).is_vfr  # only rounded to milliseconds


@pytest.mark.parametrize("field", ["tff", "bff"])
def test_interlaced_is_seen(ffmpeg, field):
    path = ffmpeg.picture(
        "fields.mpg", "-vf", f"interlace=scan={field}", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", rate="50"
    )
    assert probe(path).field_order in ("tt", "bb")


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_display_space_is_what_ffmpeg_shows(ffmpeg, degrees):
    """FFmpeg's own autorotation turns the picture; display_from_frame must send frame pixels to the same places."""
    upright = ffmpeg.picture("upright.mp4", "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", seconds=0.1)
    turned = ffmpeg("turned.mp4", "-i", upright, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}")
    info = probe(turned)
    wide, high = info.display_size
    shown = np.frombuffer(_first_gray(turned), np.uint8).reshape(high, wide)
    stored = np.frombuffer(_first_gray(turned, "-noautorotate"), np.uint8).reshape(info.height, info.width)
    for x, y in [(3, 5), (40, 7), (60, 44)]:
        to_x, to_y = info.display_from_frame @ (x, y, 1)
        assert shown[round(to_y), round(to_x)] == stored[y, x]
    assert info.rotation != 0
    assert info.display_matrix is not None


def _first_gray(path: Path, *options: str) -> bytes:
    command = [
        "ffmpeg",
        "-v",
        "error",
        *options,
        "-i",
        str(path),
        "-frames:v",
        "1",
        "-vf",
        "extractplanes=y",
        "-f",
        "rawvideo",
        "-",
    ]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_absurd_frame_count_is_not_believed(ffmpeg, tmp_path):
    path = ffmpeg.picture("tape.avi", "-c:v", "mpeg4")
    data = bytearray(path.read_bytes())
    header = data.index(b"strh")
    data[header + 40 : header + 44] = (2**31 - 5).to_bytes(4, "little")
    (tmp_path / "odd.avi").write_bytes(data)
    assert probe(tmp_path / "odd.avi").frame_count_declared is None


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
def test_chroma_location_is_read(ffmpeg, location):
    path = ffmpeg.picture("sited.mp4", "-pix_fmt", "yuv420p", "-chroma_sample_location", location)
    assert ffmpeg.video_stream(path)["chroma_location"] == location
    assert probe(path).color.chroma_location == {"left": 1, "center": 2, "topleft": 3}[location]
