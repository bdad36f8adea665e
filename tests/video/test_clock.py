"""Recordings that were joined, or whose clock was reset: the later part goes on right after the earlier one, sound and picture alike."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from iconface_video.settings import EncodeSettings
from iconface_video.types import Timestamp
from iconface_video.video import clock
from iconface_video.video.decode import DecodeReport, decode_pictures
from iconface_video.video.output_plan import plan_output
from iconface_video.video.probe import probe
from iconface_video.video.random_access import RandomAccess
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

H264 = ("-c:v", "libx264", "-g", "12", "-bf", "2")
MPEG2 = ("-c:v", "mpeg2video", "-g", "12", "-bf", "2")
JOINS = {
    "earlier.ts": ((*H264, "-c:a", "aac"), 100, 10),
    "later.ts": ((*H264, "-c:a", "mp2"), 10, 50000),
    "same.ts": ((*MPEG2, "-c:a", "ac3"), 0, 0),
    "tape.mpg": ((*MPEG2, "-c:a", "mp2"), 0, 0),
    "disc.vob": ((*MPEG2, "-c:a", "ac3"), 70, 0),
}
SECONDS, MARK = 2, 1.2


def part(ffmpeg, name: str, start: float, *codecs: str, mark: float = MARK) -> Path:
    """Two seconds of black and silence; at `mark` it turns white and sounds, both for 0.12 s."""
    when = f"between(t,{mark},{mark + 0.1})"
    return ffmpeg(
        name, "-f", "lavfi", "-i", f"color=black:s=64x48:r=25:d={SECONDS}", "-f", "lavfi", "-i", f"sine=1000:d={SECONDS}:r=48000",
        "-vf", f"drawbox=color=white:t=fill:enable='{when}'", "-af", f"volume=0:enable='not({when})'",
        *codecs, "-output_ts_offset", str(start),
    )  # fmt: skip


def joined(ffmpeg, name: str) -> tuple[Path, list[Path]]:
    codecs, *starts = JOINS[name]
    suffix = Path(name).suffix
    parts = [part(ffmpeg, f"part{i}{suffix}", start, *codecs) for i, start in enumerate(starts)]
    path = ffmpeg.folder / name
    path.write_bytes(b"".join(item.read_bytes() for item in parts))
    return path, parts


def marks(path: Path) -> list[tuple[float, float]]:
    """Seconds at which the picture turns white, and at which a sound begins, by FFmpeg's own decoders."""
    white, loud = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            white.append((float(frame.time), frame.to_ndarray(format="gray").mean() > 128))
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1, frame.samples)[0]
            samples /= np.iinfo(np.int16).max if frame.format.name.startswith("s16") else 1
            loud += [(float(frame.time) + i / frame.sample_rate, level > 0.02) for i, level in enumerate(samples)]
    seen = [time for (_, before), (time, now) in pairwise(white) if now and not before]
    places = [time for time, is_loud in loud if is_loud]
    heard = [time for before, time in pairwise([-1.0, *places]) if time - before > 0.5]
    assert len(seen) == len(heard)
    return list(zip(seen, heard))


def rewritten(reader: VideoReader, out: Path, start: Timestamp | None = None) -> VideoWriter:
    settings = EncodeSettings(codec="ffv1", encoder_threads=1)
    with VideoWriter(plan_output(reader.info, out, settings, force=True), reader.info, settings, first=start) as writer:
        for frame in reader.frames(start):
            writer.write(frame)
    return writer


@pytest.mark.parametrize("name", list(JOINS))
def test_the_later_part_goes_on_after_the_earlier_one(name: str, ffmpeg, tmp_path: Path) -> None:
    path, parts = joined(ffmpeg, name)
    reader = VideoReader(path)
    writer = rewritten(reader, tmp_path / "out.mkv")
    assert reader.damage == ("the recording's clock was reset at 2.0 s; what follows goes on from there",)
    assert writer.copying.damage == ()
    times = [frame.timestamp.seconds for frame in reader.frames()]
    assert len(times) == 100
    for found in (times[:50], times[50:]):
        assert [time - found[0] for time in found] == [Fraction(n, 25) for n in range(50)]
    # The sound of a part may be a packet longer than its picture; nothing overlaps.
    assert Fraction(1, 25) <= times[50] - times[49] <= Fraction(1, 25) + Fraction(1, 20)
    assert reader.info.duration_seconds == pytest.approx(4, abs=0.05)
    # What is written: all of it, and the beep beside its white picture as in the parts themselves.
    sound = [ffmpeg.times(item, "a:0") for item in (tmp_path / "out.mkv", *parts)]
    assert len(sound[0]) == len(sound[1]) + len(sound[2])
    assert min(np.diff([float(time) for time in sound[0]])) > 0.01
    found = marks(tmp_path / "out.mkv")
    expected = [marks(item)[0] for item in parts]
    assert len(found) == 2
    for (seen, heard), (own_seen, own_heard) in zip(found, expected):
        assert heard - seen == pytest.approx(own_heard - own_seen, abs=0.003)
    assert found[1][0] - found[0][0] == pytest.approx(SECONDS, abs=0.05)


@pytest.mark.parametrize("name", ["earlier.ts", "disc.vob"])
def test_a_start_in_the_later_part(name: str, ffmpeg, raw_bytes, tmp_path: Path, monkeypatch) -> None:
    path, parts = joined(ffmpeg, name)
    monkeypatch.setattr(clock, "_NEAR_BYTES", 1 << 12)
    reader = VideoReader(path)
    whole = list(reader.frames())
    for first in (1, 30, 49, 50, 51, 60, 61, 90, 99):
        frame = next(reader.frames(whole[first].timestamp))
        assert frame.pts == whole[first].pts
        assert raw_bytes(frame) == raw_bytes(whole[first])
    if name.endswith("ts"):  # in so small a program stream hardly a key frame has a time
        picture = next(decode_pictures(reader.info, DecodeReport(), whole[90].pts))
        assert whole[60].pts <= picture.pts <= whole[90].pts + 12 * 3600
    rewritten(reader, tmp_path / "out.mkv", whole[60].timestamp)
    (seen, heard), (own_seen, own_heard) = marks(tmp_path / "out.mkv")[0], marks(parts[1])[0]
    assert seen == pytest.approx(MARK - 10 / 25, abs=0.002)
    assert heard - seen == pytest.approx(own_heard - own_seen, abs=0.003)
    # A part that the reset does not lie in says nothing about it.
    assert len(list(reader.frames(whole[60].timestamp))) == 40
    assert reader.damage == ()


def test_single_pictures_of_the_later_part(ffmpeg) -> None:
    path, _ = joined(ffmpeg, "tape.mpg")
    whole = list(VideoReader(path).frames())
    with RandomAccess(path) as access:
        assert access.backend == "pyav"
        for number in (81, 3, 80):
            assert access.frame_at(whole[number].pts).pts == whole[number].pts
            assert access.frame_at(whole[number].pts).rgb.mean() > 200 if number in (81, 80) else True


def test_other_streams_go_by_the_place_in_the_file(ffmpeg) -> None:
    """Subtitles and data are not looked at for resets: too few packets."""
    path, _ = joined(ffmpeg, "earlier.ts")
    info = probe(path)
    only_place = replace(info, clock_resets=tuple(replace(reset, starts=()) for reset in info.clock_resets))
    found = []
    for each in (info, only_place):
        with av.open(str(path)) as container:
            packets = clock.Mender(each).mended(container.demux())
            found.append([(packet.stream_index, packet.pts, packet.dts) for packet in packets])
    assert found[0] == found[1]


def test_many_parts(ffmpeg, tmp_path: Path) -> None:
    one = part(ffmpeg, "one.ts", 5, *MPEG2, "-c:a", "mp2")
    path = tmp_path / "eight.ts"
    path.write_bytes(one.read_bytes() * 8)
    reader = VideoReader(path)
    times = [float(frame.timestamp.seconds) for frame in reader.frames()]
    assert len(times) == 400
    assert 0.0399 < min(np.diff(times)) <= max(np.diff(times)) < 0.09
    assert reader.damage[0].startswith("the recording's clock was reset 7 times (at 2.0 s, 4.0 s, 6.0 s, 8.1 s, 10.1 s ...)")


def test_the_clock_runs_over(ffmpeg, tmp_path: Path) -> None:
    """33 bits at 90 kHz last for 26.5 hours. FFmpeg sees to it, but not in a later part."""
    over = part(ffmpeg, "over.ts", 2**33 / 90000 - 2.4, *H264, "-c:a", "aac")
    reader = VideoReader(over)
    assert np.ptp(np.diff([frame.pts for frame in reader.frames()])) == 0
    assert reader.damage == ()
    path = tmp_path / "both.ts"
    path.write_bytes(part(ffmpeg, "first.ts", 5, *H264, "-c:a", "aac").read_bytes() + over.read_bytes())
    reader = VideoReader(path)
    steps = np.diff([frame.pts for frame in reader.frames()])
    assert len(steps) == 99
    assert set(np.delete(steps, 49)) == {3600}
    assert 3600 <= steps[49] < 3600 * 2.2
    assert reader.damage == ("the recording's clock was reset at 2.0 s; what follows goes on from there",)
    rewritten(reader, tmp_path / "out.mkv")
    assert [heard - seen for seen, heard in marks(tmp_path / "out.mkv")] == pytest.approx(
        [heard - seen for seen, heard in marks(tmp_path / "first.ts")] * 2, abs=0.003
    )


def with_times(data: bytes, kind: int, changes: dict[int, int]) -> bytes:
    """A transport stream in which the n-th PES packet of a kind (0xE0 picture, 0xC0 sound) has other times: `changes` by n."""
    found, made = 0, bytearray(data)
    for place in range(0, len(data), 188):
        start = data.find(bytes([0, 0, 1, kind]), place, place + 188)
        if start < 0 or not data[place + 1] & 0x40:
            continue
        if found in changes:
            ticks = changes[found] & (1 << 33) - 1
            for field, mark in ((start + 9, data[start + 9] & 0xF0), (start + 14, 0x10))[: 1 + (data[start + 7] >> 6 & 1)]:
                made[field : field + 5] = bytes([
                    mark | 1 | ticks >> 29 & 0x0E, ticks >> 22 & 0xFF, ticks >> 14 & 0xFE | 1, ticks >> 7 & 0xFF, ticks << 1 & 0xFE | 1,
                ])  # fmt: skip
        found += 1
    assert found > max(changes)
    return bytes(made)


@pytest.mark.parametrize("numbers", [[20], [20, 30, 31]])
@pytest.mark.parametrize("hours", [5, 0])
def test_single_damaged_times_are_no_reset(hours: int, numbers: list[int], ffmpeg, tmp_path: Path) -> None:
    whole = part(ffmpeg, "whole.ts", 1, *MPEG2, "-c:a", "mp2")
    expected = ffmpeg.times(whole)
    path = tmp_path / "damaged.ts"
    path.write_bytes(with_times(whole.read_bytes(), 0xE0, {number: hours * 3600 * 90000 + 500 * number for number in numbers}))
    reader = VideoReader(path)
    found = [frame.timestamp.seconds for frame in reader.frames()]
    assert reader.info.clock_resets == ()
    assert len(found) == 50
    assert sum(a == b for a, b in zip(found, expected)) >= 50 - 3 * len(numbers)
    assert max(abs(a - b) for a, b in zip(found, expected)) < Fraction(1, 4)
    assert any("no usable time" in note or "in its place" in note for note in reader.damage)


def test_sound_that_jumps_alone_is_no_reset(ffmpeg, tmp_path: Path) -> None:
    whole = part(ffmpeg, "whole.ts", 1, *MPEG2, "-c:a", "mp2")
    later = {number: 90000 * 7000 + 4320 * number for number in range(10, 25)}
    (tmp_path / "damaged.ts").write_bytes(with_times(whole.read_bytes(), 0xC0, later))
    reader = VideoReader(tmp_path / "damaged.ts")
    assert [frame.timestamp.seconds for frame in reader.frames()] == ffmpeg.times(whole)
    assert reader.info.clock_resets == ()


@pytest.mark.parametrize("every", [20, 90])
@pytest.mark.parametrize("sound", [True, False])
def test_slides_keep_their_times(every: int, sound: bool, ffmpeg) -> None:
    """A picture in 20 s, or in 90 s, and then a second of moving film."""
    tone = ("-f", "lavfi", "-i", f"sine=440:d={every * 10 + 2}:r=8000") if sound else ()
    path = ffmpeg(
        "slides.ts", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1.4", *tone, "-vf", f"setpts='if(lt(N,10),N*{every},{every}*9+(N-9)*0.04)/TB'",
        "-fps_mode", "vfr", "-enc_time_base", "1/90000", "-c:v", "libx264", "-bf", "2", "-c:a", "mp2", "-ar", "16000", "-b:a", "16k",
    )  # fmt: skip
    reader = VideoReader(path)
    times = [frame.timestamp.seconds for frame in reader.frames()]
    assert times == ffmpeg.times(path)
    assert len(times) == 35
    assert times[9] - times[0] == every * 9
    assert reader.info.clock_resets == ()


def test_a_later_part_with_other_streams_is_told(ffmpeg, tmp_path: Path, monkeypatch) -> None:
    """Another recorder's streams have other numbers: FFmpeg does not take them for the film going on."""
    monkeypatch.setattr("iconface_video.video.probe._LEAST_REST_BYTES", 1 << 14)
    numbers = ("-streamid", "0:600", "-streamid", "1:601", "-mpegts_pmt_start_pid", "4000")
    parts = [part(ffmpeg, "a.ts", 10, *H264), part(ffmpeg, "b.ts", 90, *H264, *numbers)]
    (tmp_path / "both.ts").write_bytes(b"".join(item.read_bytes() for item in parts))
    reader = VideoReader(tmp_path / "both.ts")
    assert len(list(reader.frames())) == 50
    assert reader.damage[-1].startswith("the film ends at ")
    assert "another recording that was appended?" in reader.damage[-1]
    plain = VideoReader(parts[1])
    assert len(list(plain.frames())) == 50
    assert plain.damage == ()


def test_a_cut_in_the_middle_of_a_group_and_of_a_packet(ffmpeg, tmp_path: Path) -> None:
    """As recordings really end and begin."""
    one, two = (part(ffmpeg, name, start, *H264, "-c:a", "aac") for name, start in (("a.ts", 100), ("b.ts", 10)))
    path = tmp_path / "cut.ts"
    head, tail = one.read_bytes(), two.read_bytes()
    path.write_bytes(head[: len(head) * 3 // 4] + tail[:564] + tail[len(tail) // 3 // 188 * 188 :])
    reader = VideoReader(path)
    frames = list(reader.frames())
    assert len(reader.info.clock_resets) == 1
    assert 60 < len(frames) < 75
    assert max(np.diff([frame.pts for frame in frames])) < 90000
    assert min(np.diff([frame.pts for frame in frames])) == 3600
    for frame in frames[::9]:
        assert next(reader.frames(frame.timestamp)).pts == frame.pts


def test_other_containers_are_not_walked_through(ffmpeg, monkeypatch) -> None:
    monkeypatch.setattr("iconface_video.video.probe.read_clock", lambda *_: pytest.fail("walked through"))
    assert probe(ffmpeg.picture("clip.mp4")).clock_resets == ()
