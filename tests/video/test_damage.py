"""Damage in the middle of a film: pictures are concealed or stood in for, all times stay, and the sound is the input's to the bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from iconface_video.settings import EncodeSettings
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

FRAMES = 36
CLIPS = {
    "h264.mp4": ("-c:v", "libx264", "-bf", "2", "-g", "12", "-c:a", "aac"),
    "hevc.mkv": ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=12", "-c:a", "flac"),
    "prores.mov": ("-c:v", "prores_ks", "-c:a", "pcm_s16le"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "mpeg2.mkv": ("-c:v", "mpeg2video", "-bf", "2", "-g", "12", "-c:a", "aac"),
}


def make(ffmpeg, name: str) -> Path:
    return ffmpeg.with_sound(name, *CLIPS[name], size="128x96", seconds=FRAMES / 25)


def damaged(path: Path, packets: range, how: str) -> Path:
    """A copy whose film has bad bytes in some packets (numbered in file order); sound and index are as they were."""
    with av.open(str(path)) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for number in packets:
        picture = pictures[number]
        first, size = data.index(picture), len(picture)
        if how == "noise":
            middle = first + size // 2
            data[middle : middle + size // 4] = rng.bytes(size // 4)
        else:
            data[first : first + size] = bytes(size)
    copy = path.with_name(f"damaged-{path.name}")
    copy.write_bytes(data)
    return copy


def rewritten(path: Path, out: Path) -> tuple[VideoReader, VideoWriter, Path]:
    """Read and written anew; reader and writer tell what they met."""
    settings = EncodeSettings(codec="ffv1", encoder_threads=1)
    reader = VideoReader(path)
    plan = plan_output(reader.info, out, settings, force=False)
    with VideoWriter(plan, reader.info, settings) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return reader, writer, plan.path


@pytest.mark.parametrize("how", ["noise", "zeros"])
@pytest.mark.parametrize("name", list(CLIPS))
def test_frame_count_times_and_sound_survive_damaged_pictures(name: str, how: str, ffmpeg, tmp_path: Path) -> None:
    path = make(ffmpeg, name)
    expected = ffmpeg.times(path)
    assert len(expected) == FRAMES
    copy = damaged(path, range(14, 18), how)
    reader, writer, made = rewritten(copy, tmp_path / "out.mkv")
    times = ffmpeg.times(made)
    assert len(times) == FRAMES
    # Beside the sound, and within what Matroska's milliseconds allow. (MP4's sound begins before 0, and both are moved.)
    moved = sound_begins(ffmpeg, made) - sound_begins(ffmpeg, path)
    assert max(abs(a - b - moved) for a, b in zip(times, expected)) <= Fraction(2, 1000)
    assert ffmpeg.packets_md5(made, "a") == ffmpeg.packets_md5(path, "a")
    assert writer.copying.damage == ()
    # Noise inside a picture is plain to see, but not every decoder can tell.
    if how == "zeros" or name == "h264.mp4":
        assert 0 < reader.corrupt_frames <= 24
        assert any("damaged" in note or "could not be decoded" in note for note in reader.damage)


def test_a_picture_that_is_lost_is_stood_in_for_by_the_one_before(ffmpeg) -> None:
    path = make(ffmpeg, "prores.mov")
    whole = list(VideoReader(path).frames())
    reader = VideoReader(damaged(path, range(20, 22), "zeros"))
    frames = list(reader.frames())
    assert [frame.pts for frame in frames] == [frame.pts for frame in whole]
    assert [frame.index for frame in frames if frame.is_corrupt] == [20, 21]
    for number in (20, 21):
        assert np.array_equal(frames[number].planes[0], whole[19].planes[0])
    assert np.array_equal(frames[22].planes[0], whole[22].planes[0])
    assert reader.damage == ("2 frames could not be decoded; the one before is shown in its place",)


def test_healthy_films_say_nothing(ffmpeg) -> None:
    for name in CLIPS:
        reader = VideoReader(make(ffmpeg, name))
        assert len(list(reader.frames())) == FRAMES
        assert (reader.damage, reader.corrupt_frames) == ((), 0)


def test_pictures_before_the_first_key_frame_are_counted(ffmpeg, tmp_path: Path) -> None:
    """As in a recording that began in the middle."""
    path = ffmpeg.picture("whole.ts", "-c:v", "libx264", "-g", "12", "-bf", "0", "-x264-params", "scenecut=0", seconds=1.44)
    found = ffmpeg.probe(path, "-select_streams", "v:0", "-show_entries", "packet=pos")["packets"]
    tables, rest = path.read_bytes()[: 3 * 188], path.read_bytes()[int(found[4]["pos"]) :]
    (tmp_path / "late.ts").write_bytes(tables + rest)
    reader = VideoReader(tmp_path / "late.ts")
    frames = list(reader.frames())
    assert len(frames) + reader.corrupt_frames >= FRAMES - 4
    assert len(frames) >= FRAMES - 12


def test_a_film_cut_short_says_so(ffmpeg, tmp_path: Path) -> None:
    path = make(ffmpeg, "hevc.mkv")
    data = path.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    reader = VideoReader(tmp_path / "cut.mkv")
    count = sum(1 for _ in reader.frames())
    assert 5 < count < 30
    assert any("the film ends early, at 0." in note and "promises 1.4" in note for note in reader.damage)
    # A part that was asked for ends where it was asked to.
    first, second = (frame.timestamp for frame, _ in zip(reader.frames(), range(2)))
    assert [frame.index for frame in reader.frames(first, second)] == [0]
    assert reader.damage == ()


def test_a_few_pictures_of_another_size_are_damage(ffmpeg, tmp_path: Path) -> None:
    """Three pictures; as many as a second is another film, and refused (see test_reader)."""
    inputs = [ffmpeg.picture(f"{name}.ts", "-c:v", "mpeg2video", "-output_ts_offset", start, size=size, seconds=seconds)
              for name, start, size, seconds in (("a", "0", "64x48", 1), ("b", "1", "96x64", 0.12), ("c", "1.12", "64x48", 1))]  # fmt: skip
    (tmp_path / "all.ts").write_bytes(b"".join(path.read_bytes() for path in inputs))
    reader = VideoReader(tmp_path / "all.ts")
    frames = list(reader.frames())
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}
    assert len(frames) >= 50
    assert any("could not be decoded" in note for note in reader.damage)


def sound_begins(ffmpeg, path: Path) -> Fraction:
    return Fraction(sound_of(ffmpeg, path)[0]["pts_time"])


def sound_of(ffmpeg, path: Path) -> list[dict]:
    return ffmpeg.probe(path, "-select_streams", "a:0", "-show_entries", "packet=pts_time,size")["packets"]


def test_sound_that_jumps_far_ahead_does_not_take_the_rest_along(ffmpeg, tmp_path: Path) -> None:
    """One packet of sound claims to be hours later: it is left out, the others keep their times."""
    path = ffmpeg.with_sound("whole.ts", "-c:v", "mpeg2video", "-c:a", "mp2", "-muxdelay", "0", seconds=2)
    data = bytearray(path.read_bytes())
    starts = [place for place in range(0, len(data), 188)
              if data[place + 1] & 0x40 and int.from_bytes(data[place + 1 : place + 3], "big") & 0x1FFF == 257]  # fmt: skip
    packet = starts[len(starts) // 2]
    stamp = data.index(b"\0\0\1\xc0", packet) + 9
    ticks = 90000 * 3600 * 5
    data[stamp : stamp + 5] = bytes([
        0x21 | ticks >> 29 & 0x0E, ticks >> 22 & 0xFF, ticks >> 14 & 0xFE | 1, ticks >> 7 & 0xFF, ticks << 1 & 0xFE | 1,
    ])  # fmt: skip
    (tmp_path / "jump.ts").write_bytes(data)
    _, writer, made = rewritten(tmp_path / "jump.ts", tmp_path / "out.mkv")
    times = [float(item["pts_time"]) for item in sound_of(ffmpeg, made)]
    assert max(times) < 10
    assert len(times) >= 0.7 * len(sound_of(ffmpeg, path))
    assert any("audio packet" in note for note in writer.copying.damage)


def test_stand_ins_are_told_apart_while_frames_come_and_go(ffmpeg) -> None:
    """Nobody holds a frame longer than until the next one, as in a run."""
    reader = VideoReader(damaged(make(ffmpeg, "prores.mov"), range(20, 23), "zeros"))
    assert [frame.index for frame in reader.frames() if frame.is_corrupt] == [20, 21, 22]
    assert reader.damage == ("3 frames could not be decoded; the one before is shown in its place",)
    assert reader.corrupt_frames == 3


def test_sound_of_endless_duration_is_left_out(ffmpeg, tmp_path: Path) -> None:
    """A fragment that says its first packet of sound lasts a day: MP4's muxer would refuse to go on."""
    fragments = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
    path = ffmpeg.with_sound("whole.mp4", "-c:v", "libx264", "-g", "12", "-c:a", "pcm_s16le", "-f", "mov", *fragments)
    data = bytearray(path.read_bytes())
    sound = [place for place in range(len(data)) if data[place : place + 4] == b"tfhd" and data[place + 11] == 2][1]
    header = data.index(b"tfhd", sound)
    flags = int.from_bytes(data[header + 5 : header + 8], "big")
    duration = header + 12 + 8 * (flags & 1) + 4 * (flags >> 1 & 1)
    assert flags & 8
    data[duration : duration + 4] = b"\xf0\0\0\0"
    (tmp_path / "endless.mov").write_bytes(data)
    _, writer, made = rewritten(tmp_path / "endless.mov", tmp_path / "out.mov")
    assert len(ffmpeg.times(made)) == 25
    assert any("audio packet" in note and "left out" in note for note in writer.copying.damage)


def longer_sound(ffmpeg, name: str, *codecs: str) -> Path:
    """A film of two seconds whose sound lasts for four."""
    return ffmpeg(
        name, "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=2", "-f", "lavfi", "-i", "sine=duration=4", *codecs
    )


LONGER_SOUND = {
    "tagged.mkv": ("-c:v", "libx264", "-c:a", "aac"),
    "tagged.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus"),
    "whole-file.flv": ("-c:v", "flv1", "-ar", "44100", "-c:a", "libmp3lame"),
    "whole-file.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
}


@pytest.mark.parametrize("name", LONGER_SOUND)
def test_sound_that_is_longer_than_the_film_is_no_damage(name: str, ffmpeg) -> None:
    reader = VideoReader(longer_sound(ffmpeg, name, *LONGER_SOUND[name]))
    assert sum(1 for _ in reader.frames()) == 50
    assert reader.damage == ()


def test_subtitles_that_are_longer_than_the_film_are_no_damage(ffmpeg, tmp_path: Path) -> None:
    titles = tmp_path / "titles.srt"
    titles.write_text("1\n00:00:00,000 --> 00:00:05,000\nhello\n")
    path = ffmpeg("titles.mkv", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=2", "-i", titles)
    reader = VideoReader(path)
    list(reader.frames())
    assert reader.damage == ()
    assert reader.info.duration_seconds == pytest.approx(2)


@pytest.mark.parametrize("is_tagged", [True, False])
def test_a_cut_film_with_longer_sound_still_ends_early(is_tagged: bool, ffmpeg) -> None:
    path = longer_sound(ffmpeg, "cut.mkv", *LONGER_SOUND["tagged.mkv"])
    data = path.read_bytes()
    path.write_bytes((data if is_tagged else data.replace(b"DURATION", b"ANOTHER_"))[: len(data) // 2])
    reader = VideoReader(path)
    list(reader.frames())
    assert "the film ends early" in " ".join(reader.damage)
