from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.packet import Packet

from iconface_video.errors import DecodeError
from iconface_video.settings import ReadSettings
from iconface_video.types import Timestamp
from iconface_video.video.reader import VideoReader
from iconface_video.video.timestamps import PtsGuesser, without_wild_times


def times_of(path: Path, **settings: str) -> list[Fraction]:
    with VideoReader(path, ReadSettings(**settings)) as reader:
        return [frame.timestamp.seconds for frame in reader.frames()]


LOSSLESS = ("-c:v", "ffv1")


@pytest.mark.parametrize(
    "pix_fmt",
    [
        "yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuva420p", "gray", "yuv420p10le", "yuv422p10le",
        "yuv444p12le", "yuv420p16le", "gray16le", "gbrp10le", "gbrp16le",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", ["64x48", "67x49"])
def test_planes_are_what_ffmpeg_decodes(ffmpeg, raw_bytes, pix_fmt, size):
    path = ffmpeg.picture("clip.mkv", *LOSSLESS, "-pix_fmt", pix_fmt, size=size, seconds=0.2)
    reader = VideoReader(path)
    frames = list(reader.frames())
    assert frames[0].pix_fmt == reader.info.pix_fmt == pix_fmt
    assert b"".join(map(raw_bytes, frames)) == ffmpeg.raw(path, "-pix_fmt", pix_fmt)


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ("nv12", "yuv420p"), ("nv21", "yuv420p"), ("yuyv422", "yuv422p"), ("uyvy422", "yuv422p"),
        ("rgb24", "gbrp"), ("bgr24", "gbrp"), ("bgra", "gbrap"), ("rgb48le", "gbrp16le"), ("bgr0", "gbrp"),
        ("yuv420p10be", "yuv420p10le"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", ["64x48", "67x49"])
def test_packed_formats_are_laid_out_without_loss(ffmpeg, raw_bytes, stored, kept, size):
    path = ffmpeg.picture("clip.nut", "-c:v", "rawvideo", "-pix_fmt", stored, size=size, seconds=0.2)
    frames = list(VideoReader(path).frames())
    assert {frame.pix_fmt for frame in frames} == {kept}
    assert b"".join(map(raw_bytes, frames)) == ffmpeg.raw(path, "-pix_fmt", kept)


def test_upside_down_bitmaps_in_avi(ffmpeg, raw_bytes):
    path = ffmpeg.picture("clip.avi", "-c:v", "rawvideo", "-pix_fmt", "bgr24", seconds=0.2)
    frames = list(VideoReader(path).frames())
    assert b"".join(map(raw_bytes, frames)) == ffmpeg.raw(path, "-pix_fmt", "gbrp")


def test_full_range_keeps_its_samples(ffmpeg, raw_bytes):
    path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuvj420p", seconds=0.2)
    frames = list(VideoReader(path).frames())
    assert frames[0].pix_fmt == "yuv420p"
    assert frames[0].color.range == 2
    assert b"".join(map(raw_bytes, frames)) == ffmpeg.raw(path)


def test_planes_do_not_change_when_reading_goes_on(ffmpeg):
    path = ffmpeg.picture("clip.mp4", seconds=1)
    reader = VideoReader(path)
    first = None
    for frame in reader.frames():
        if first is None:
            first, copy = frame, frame.planes[0].copy()
    assert first is not None
    assert np.array_equal(first.planes[0], copy)
    assert all(plane.flags.c_contiguous for plane in first.planes)


def test_vfr_times_are_exact(vfr_clip):
    path, expected = vfr_clip
    assert times_of(path) == expected


def test_start_above_zero(ffmpeg):
    path = ffmpeg.picture("late.ts", "-c:v", "libx264", "-output_ts_offset", "7")
    assert times_of(path) == ffmpeg.times(path)
    assert times_of(path)[0] > 7


def test_edit_list_frames_before_the_edit_are_not_shown(ffmpeg):
    """A stream-copied cut in mid-GOP: the file holds 100 frames, the edit list shows the last part only."""
    long = ffmpeg.picture("long.mp4", "-c:v", "libx264", "-g", "50", "-bf", "2", seconds=4)
    path = ffmpeg("cut.mp4", "-ss", "1", "-i", long, "-c", "copy", "-avoid_negative_ts", "disabled")
    stored = int(
        ffmpeg.probe(path, "-count_packets", "-show_entries", "stream=nb_read_packets")["streams"][0]["nb_read_packets"]
    )
    expected = ffmpeg.times(path)
    assert len(expected) < stored
    assert times_of(path) == expected


@pytest.mark.parametrize("codec", [("mpeg4", "-bf", "2"), ("libx264", "-bf", "2"), ("libx264", "-bf", "0"), ("mjpeg",)])
def test_avi_without_presentation_times(ffmpeg, codec):
    """AVI counts frames: whatever the codec reorders, the pictures stand at 0, 1, 2 ... and beside the sound."""
    path = ffmpeg.picture("tape.avi", "-c:v", *codec)
    assert times_of(path) == [Fraction(n, 25) for n in range(25)]
    assert VideoReader(path).info.first_pts == 0


def test_raw_stream_without_any_times(ffmpeg):
    path = ffmpeg.picture("raw.h264", "-c:v", "libx264", "-bf", "0")
    found = times_of(path)
    assert len(found) == 25
    assert np.allclose(np.diff([float(time) for time in found]), 1 / 25, atol=1e-6)


def test_times_that_do_not_rise_are_set_from_their_neighbours():
    guesser = PtsGuesser(default_step=40)
    found = [guesser.next(pts, None, 40) for pts in (0, 40, 40, 30, None, 200)]
    assert found == [0, 40, 41, 42, 82, 200]
    assert guesser.repaired == 3


def test_decode_times_stand_in_for_missing_presentation_times():
    guesser = PtsGuesser(default_step=40)
    assert [guesser.next(None, dts, 0) for dts in (0, 1, 2, 5)] == [0, 1, 2, 5]
    assert guesser.repaired == 0


@pytest.mark.parametrize("first", [0, 1, 17, 49, 50, 51, 99])
def test_reading_from_the_middle_equals_a_full_read(ffmpeg, raw_bytes, first):
    path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-g", "50", "-bf", "2", seconds=4)
    reader = VideoReader(path)
    whole = list(reader.frames())
    stop = min(first + 3, 100)
    end = Timestamp(whole[stop - 1].pts + 1, reader.info.time_base)
    part = list(reader.frames(whole[first].timestamp, end))
    assert [frame.pts for frame in part] == [frame.pts for frame in whole[first:stop]]
    assert [raw_bytes(frame) for frame in part] == [raw_bytes(frame) for frame in whole[first:stop]]


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv", "clip.mpg", "clip.avi"])
def test_reading_from_the_middle_in_other_containers(ffmpeg, raw_bytes, name):
    codec = ("mpeg2video", "-bf", "2", "-g", "12") if name.endswith("mpg") else ("mpeg4", "-bf", "2")
    path = ffmpeg.picture(name, "-c:v", *codec, seconds=4)
    reader = VideoReader(path)
    whole = list(reader.frames())
    for first in (1, 11, 12, 13, 60, len(whole) - 1):
        frame = next(reader.frames(start=whole[first].timestamp))
        assert frame.pts == whole[first].pts
        assert raw_bytes(frame) == raw_bytes(whole[first])


def test_a_start_in_another_time_base_is_exact(ffmpeg):
    reader = VideoReader(ffmpeg.picture("clip.mp4"))
    found = [frame.timestamp.seconds for frame in reader.frames(Timestamp(5, Fraction(1, 50)), Timestamp(2, Fraction(1, 10)))]
    assert found == [Fraction(3, 25), Fraction(4, 25)]


def test_two_iterations_do_not_disturb_each_other(ffmpeg):
    reader = VideoReader(ffmpeg.picture("clip.mp4"))
    pairs = list(zip(reader.frames(), reader.frames()))
    assert all(one.pts == other.pts for one, other in pairs)
    assert len(pairs) == 25


def interlaced_clip(ffmpeg, name: str = "fields.mpg") -> Path:
    return ffmpeg.picture(
        name, "-vf", "interlace=scan=tff:lowpass=off", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-top", "1",
        size="128x96", rate="50",
    )  # fmt: skip


def combing(luma: np.ndarray) -> float:
    """How much rows differ from the mean of their neighbours, against how much they differ from the next but one."""
    rows = luma.astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean() / (np.abs(rows[2:] - rows[:-2]).mean() + 1e-6))


def test_interlaced_is_deinterlaced_with_count_and_times_kept(ffmpeg):
    path = interlaced_clip(ffmpeg)
    plain = list(VideoReader(path, ReadSettings("weave")).frames())
    half = list(VideoReader(path, ReadSettings("half")).frames())
    assert [frame.pts for frame in half] == [frame.pts for frame in plain]
    assert [frame.timestamp.seconds for frame in half] == ffmpeg.times(path)
    assert combing(half[10].planes[0]) < 0.8 * combing(plain[10].planes[0])
    # The tool's own bwdif is the yardstick; on the first frame, which has no neighbour before it, its versions differ.
    expected = np.frombuffer(ffmpeg.raw(path, "-vf", "bwdif=mode=send_frame:deint=interlaced"), np.uint8).reshape(len(half), -1)
    found = [b"".join(plane.tobytes() for plane in frame.planes) for frame in half]
    assert [row.tobytes() for row in expected[1:]] == found[1:]


def test_progressive_is_left_alone_unless_told(ffmpeg, raw_bytes):
    path = ffmpeg.picture("clip.mp4")
    assert b"".join(raw_bytes(frame) for frame in VideoReader(path).frames()) == ffmpeg.raw(path)
    forced = list(VideoReader(path, ReadSettings("half")).frames())
    assert len(forced) == 25
    assert b"".join(map(raw_bytes, forced)) != ffmpeg.raw(path)


def test_deinterlaced_frames_from_the_middle_equal_a_full_read(ffmpeg, raw_bytes):
    reader = VideoReader(interlaced_clip(ffmpeg), ReadSettings("half"))
    whole = list(reader.frames())
    for first in (1, 12, 13, 20):
        assert raw_bytes(next(reader.frames(whole[first].timestamp))) == raw_bytes(whole[first])


def test_damage_is_concealed_and_counted(ffmpeg, tmp_path):
    path = ffmpeg.picture("clip.ts", "-c:v", "libx264", "-g", "12", size="320x240", seconds=2)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle : middle + 188 * 12] = np.random.default_rng(0).bytes(188 * 12)
    (tmp_path / "damaged.ts").write_bytes(data)
    reader = VideoReader(tmp_path / "damaged.ts")
    frames = list(reader.frames())
    assert len(frames) > 25
    assert reader.corrupt_frames > 0
    assert not np.diff([frame.pts for frame in frames]).min() <= 0


def test_a_file_cut_short_gives_what_is_there(ffmpeg, tmp_path):
    path = ffmpeg.picture("clip.mkv", "-c:v", "libx264", "-bf", "0", size="320x240", seconds=2)
    data = path.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    frames = list(VideoReader(tmp_path / "cut.mkv").frames())
    assert 20 < len(frames) < 50


def test_change_of_size_is_refused_in_words(ffmpeg, tmp_path):
    one = ffmpeg.picture("one.ts", "-c:v", "mpeg2video", seconds=1.6)
    two = ffmpeg.picture("two.ts", "-c:v", "mpeg2video", "-output_ts_offset", "1.6", size="96x64", seconds=1)
    (tmp_path / "both.ts").write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(DecodeError, match=r"both\.ts: the picture changes from 64x48 to 96x64 in mid-stream\. Split the file"):
        list(VideoReader(tmp_path / "both.ts").frames())


def test_memory_does_not_grow_with_the_clip(ffmpeg):
    """Five times the frames, the same peak: frames are 1.4 MB each, so holding them would show at once."""
    peaks = []
    for seconds in (0.4, 2):
        path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-preset", "ultrafast", size="1280x720", seconds=seconds)
        reader = VideoReader(path)
        tracemalloc.start()
        assert sum(1 for _ in reader.frames()) == seconds * 25
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 2**20


def packets_at(*times: int | None) -> list[Packet]:
    """Decode times in seconds."""
    made = []
    for time in times:
        packet = Packet(b"picture")
        packet.time_base = Fraction(1)
        packet.pts = packet.dts = time
        made.append(packet)
    return made


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3)),
        ((0, 1, 5000, 3, 4), (0, 1, None, 3, 4)),
        ((0, 1, 5000, 4000, 9000, 5, 6), (0, 1, None, None, None, 5, 6)),
        ((0, 1, 5000, None, 4, 5), (0, 1, None, None, 4, 5)),
        ((0, 1, 60, 61, 62, 63), (0, 1, 60, 61, 62, 63)),
        ((0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220), (0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220)),
        ((0, 1, 9000, 60, 61, 62, 63, 64), (0, 1, None, 60, 61, 62, 63, 64)),
        ((5000, 1, 2), (5000, 1, 2)),
        ((0, 1, 5000), (0, 1, 5000)),
        ((None, None), (None, None)),
    ],
)
def test_times_that_jump_ahead_alone_are_taken_away(given: tuple[int | None, ...], kept: tuple[int | None, ...]):
    packets = packets_at(*given)
    found = list(without_wild_times(iter(packets)))
    assert found == packets
    assert tuple(packet.pts for packet in found) == kept
