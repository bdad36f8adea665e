"""Fields are shown as pictures at their own times and go back into the frames they came from, sample for sample."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.settings import EncodeSettings, ReadSettings
from iconface_video.types import Timestamp
from iconface_video.video.fields import field_clock, film_clock, part_of_film, woven
from iconface_video.video.output_plan import plan_output
from iconface_video.video.probe import probe
from iconface_video.video.random_access import RandomAccess
from iconface_video.video.reader import VideoReader
from iconface_video.video.scan import Scan, told
from iconface_video.video.writer import VideoWriter

MPEG2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-g", "6", "-pix_fmt", "yuv420p")


def fields(order: str) -> tuple[str, str]:
    """Each picture gives one field."""
    return "-vf", f"interlace=scan={order}:lowpass=off"


def dv(ffmpeg, **options) -> Path:
    source = dict(size="720x576", rate="50", seconds=0.4) | options
    return ffmpeg.picture("tape.avi", *fields("bff"), "-c:v", "dvvideo", "-pix_fmt", "yuv420p", **source)


def mpeg2(ffmpeg, order: str = "tff", **options) -> Path:
    source = dict(size="192x144", rate="50", seconds=0.8) | options
    return ffmpeg.picture(f"{order}.mpg", *fields(order), *MPEG2, "-top", "1" if order == "tff" else "0", **source)


def capture(ffmpeg) -> Path:
    """Packed samples, which bwdif does not take as they are."""
    arguments = ("-vf", "interlace=scan=tff:lowpass=off", "-c:v", "rawvideo", "-pix_fmt", "uyvy422", "-field_order", "tt")
    return ffmpeg.picture("capture.mov", *arguments, size="192x144", rate="50", seconds=0.3)


MAKERS = {
    "DV, bottom first": dv,
    "MPEG-2, top first": mpeg2,
    "MPEG-2, bottom first": lambda ffmpeg: mpeg2(ffmpeg, "bff"),
    "packed": capture,
}


def write_woven(path: Path, out: Path, mode: str = "keep", codec: str = "ffv1") -> Path:
    settings = EncodeSettings(codec=codec)
    with VideoReader(path, ReadSettings(mode)) as reader:
        reader.find_scan()
        plan = plan_output(reader.written, out, settings, force=False)
        with VideoWriter(plan, reader.written, settings) as writer:
            frames = reader.frames()
            for frame in woven(frames) if mode == "keep" else frames:
                writer.write(frame)
    assert writer.copying.damage == ()
    return plan.path


def flags(ffmpeg, path: Path) -> list[tuple[int, int]]:
    found = ffmpeg.probe(path, "-select_streams", "v:0", "-show_entries", "frame=interlaced_frame,top_field_first")
    return [(frame["interlaced_frame"], frame["top_field_first"]) for frame in found["frames"]]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_field_has_its_own_lines_and_time_and_goes_back_into_its_frame(kind, ffmpeg):
    path = MAKERS[kind](ffmpeg)
    whole = list(VideoReader(path, ReadSettings("weave")).frames())
    reader = VideoReader(path)
    pictures = list(reader.frames())
    assert len(pictures) == 2 * len(whole)
    first = 1 if "bottom" in kind else 0
    for frame, pair in zip(whole, zip(pictures[::2], pictures[1::2])):
        for number, picture in enumerate(pair):
            part = part_of_film(picture)
            assert part.parity == (first + number) % 2
            assert picture.timestamp.seconds == frame.timestamp.seconds + Fraction(number, 50)
            assert picture.duration * picture.time_base == Fraction(1, 50)
            for own, all_lines in zip(picture.planes, frame.planes):
                assert np.array_equal(own[part.parity :: 2], all_lines[part.parity :: 2])
    for frame, again in zip(whole, woven(pictures), strict=True):
        assert (again.pts, again.time_base, again.duration) == (frame.pts, frame.time_base, frame.duration)
        assert all(np.array_equal(*planes) for planes in zip(again.planes, frame.planes))


def test_what_is_changed_in_a_field_goes_back_by_its_own_lines(ffmpeg):
    path = mpeg2(ffmpeg, seconds=0.2)
    top, bottom, *rest = VideoReader(path).frames()
    changed = replace(top, planes=(top.planes[0] ^ np.uint8(255), *top.planes[1:]))
    kept = list(woven([changed, bottom, *rest]))
    before = next(iter(VideoReader(path, ReadSettings("weave")).frames()))
    assert np.array_equal(kept[0].planes[0][0::2], before.planes[0][0::2] ^ np.uint8(255))
    assert np.array_equal(kept[0].planes[0][1::2], before.planes[0][1::2])
    assert kept[0].planes[1] is part_of_film(top).film.planes[1]
    alone = list(woven([changed]))  # its other field never comes
    assert np.array_equal(alone[0].planes[0], kept[0].planes[0])


def test_fields_look_like_the_pictures_they_were_made_of(ffmpeg):
    """Each at its own place: the half line between the two fields is no shift of the picture."""
    source = ffmpeg.picture("source.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="192x144", rate="50", seconds=0.4)
    made = ffmpeg("made.mkv", "-i", source, *fields("tff"), "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    pictures, sources = list(VideoReader(made).frames()), list(VideoReader(source).frames())
    error = [rms(found.planes[0], true.planes[0]) for found, true in zip(pictures, sources)]
    moved = [rms(found.planes[0], np.roll(true.planes[0], 1, axis=0)) for found, true in zip(pictures, sources)]
    other = [rms(found.planes[0], true.planes[0]) for found, true in zip(pictures[1:], sources)]
    assert np.mean(error[2:-2]) < 0.6 * min(np.mean(moved), np.mean(other))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.square(a.astype(float) - b).mean()))


@pytest.mark.parametrize("kind", ["DV, bottom first", "MPEG-2, top first"])
def test_reading_from_the_middle_equals_a_full_read(kind, ffmpeg, raw_bytes):
    reader = VideoReader(MAKERS[kind](ffmpeg))
    whole = list(reader.frames())
    for first in (1, 2, 3, 8, 11, 12, 13, len(whole) - 2, len(whole) - 1):
        found = next(reader.frames(whole[first].timestamp))
        assert (found.pts, raw_bytes(found)) == (whole[first].pts, raw_bytes(whole[first]))
    part = list(reader.frames(whole[5].timestamp, whole[9].timestamp))
    assert [raw_bytes(frame) for frame in part] == [raw_bytes(frame) for frame in whole[5:9]]


def test_single_pictures_are_found_by_a_fields_time(ffmpeg):
    path = mpeg2(ffmpeg)
    reader = VideoReader(path)
    pictures = list(reader.frames())
    with RandomAccess(path, scan=reader.scan) as access:
        assert [access.frame_at(pictures[place].pts).pts for place in (13, 4)] == [pictures[place].pts for place in (13, 4)]


def test_a_range_begins_with_a_whole_frame(ffmpeg):
    reader = VideoReader(mpeg2(ffmpeg))
    second = list(reader.frames())[5]
    assert reader.frame_start(second.timestamp).seconds == second.timestamp.seconds + Fraction(1, 50)
    beyond = Timestamp(10**6, Fraction(1))
    assert reader.frame_start(beyond) == beyond


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_kept_fields_stay_interlaced_in_their_order(kind, codec, ffmpeg):
    path = MAKERS[kind](ffmpeg)
    out = write_woven(path, path.with_name("out.mkv"), codec=codec)
    assert flags(ffmpeg, out) == [(1, 0 if "bottom" in kind else 1)] * len(flags(ffmpeg, path))
    assert ffmpeg.video_stream(out)["field_order"][0] == ("b" if "bottom" in kind else "t")
    if codec == "ffv1":
        planar = ("-pix_fmt", "yuv422p" if kind == "packed" else "yuv420p")
        assert ffmpeg.raw(out, *planar) == ffmpeg.raw(path, *planar)


def test_doubled_each_field_is_a_frame_at_its_own_time(ffmpeg):
    sound = ffmpeg("sound.wav", "-f", "lavfi", "-i", "sine=440:d=0.8:r=48000")
    path = ffmpeg(
        "tape.mkv", "-i", mpeg2(ffmpeg), "-i", sound, "-map", "0:v", "-map", "1:a", "-c", "copy", "-output_ts_offset", "0"
    )
    begin = ffmpeg.times(path)[0]
    out = write_woven(path, path.with_name("out.mp4"), "double", "h264")
    assert ffmpeg.times(out) == [begin + Fraction(n, 50) for n in range(40)]
    assert set(flags(ffmpeg, out)) == {(0, 0)}
    stream = ffmpeg.video_stream(out)
    assert (stream["field_order"], stream["r_frame_rate"]) == ("progressive", "50/1")
    assert ffmpeg.packets_md5(out, "a") == ffmpeg.packets_md5(path, "a")


def test_the_clock_of_fields_is_the_films_in_half_ticks(ffmpeg):
    info = probe(mpeg2(ffmpeg))
    doubled = field_clock(info)
    assert doubled.first_pts * doubled.time_base == info.first_pts * info.time_base
    assert doubled.average_rate == 2 * info.average_rate
    assert replace(film_clock(doubled), field_order=info.field_order) == info
    assert film_clock(info) is info


# ---- told apart by the picture


PLAIN = "The film is interlaced: each of its fields is restored as a picture of its own, and counted as a frame."


def drifting(ffmpeg, portrait: Path, name: str, *filters: str, rate: int = 50, frames: int = 60, size: str = "192:144") -> Path:
    drift = f"scale=256:256,crop={size}:'mod(3*n,60)':'mod(n,50)'"
    source = ("-loop", "1", "-framerate", str(rate), "-t", str(frames / rate), "-i", portrait)
    return ffmpeg(name, *source, "-vf", ",".join([drift, *filters]), *MPEG2, "-top", "1")


def scan_of(path: Path) -> tuple[Scan, list[str]]:
    reader = VideoReader(path)
    assert reader.splits
    scan = reader.find_scan()
    assert Scan.from_dict(scan.to_dict()) == scan
    return scan, list(told(scan, reader.film))


def test_fields_are_fields(ffmpeg, astronaut_png):
    scan, said = scan_of(drifting(ffmpeg, astronaut_png, "fields.mpg", "interlace=scan=tff:lowpass=off"))
    assert [stretch.is_interlaced for stretch in scan.stretches] == [True]
    assert scan.is_top_first
    assert said == [PLAIN]


def test_whole_frames_under_the_flags_of_fields_stay_whole(ffmpeg, astronaut_png):
    path = drifting(ffmpeg, astronaut_png, "psf.mpg", "setfield=tff", rate=25, frames=30)
    scan, said = scan_of(path)
    assert not scan.any_interlaced
    assert said == ["The film is marked as interlaced, but its pictures are whole frames: they are restored as frames."]
    assert len(list(VideoReader(path).frames())) == 30
    out = write_woven(path, path.with_name("out.mkv"))
    assert ffmpeg.raw(out) == ffmpeg.raw(path)
    assert flags(ffmpeg, out) == flags(ffmpeg, path)
    assert VideoReader(path, ReadSettings("double"), scan=scan).written.average_rate == 25


def test_fields_in_the_wrong_order_are_put_right(ffmpeg, astronaut_png):
    scan, said = scan_of(drifting(ffmpeg, astronaut_png, "wrong.mpg", "interlace=scan=bff:lowpass=off", "setfield=tff"))
    assert not scan.is_top_first
    wrong = "The film's fields are marked in the wrong order: the pictures show the bottom field first, and are taken so."
    assert said == [wrong, PLAIN]


def test_fields_without_a_mark_are_found(ffmpeg, astronaut_png):
    drift = "scale=800:800,crop=720:576:'mod(3*n,80)':'mod(2*n,200)',interlace=scan=bff:lowpass=off,setfield=prog"
    source = ("-loop", "1", "-framerate", "50", "-t", "0.8", "-i", astronaut_png)
    path = ffmpeg("capture.mkv", *source, "-vf", drift, "-c:v", "ffv1", "-pix_fmt", "yuv422p")
    assert probe(path).field_order == "progressive"
    scan, said = scan_of(path)
    assert not scan.is_top_first
    assert (
        said[0] == "The film is not marked as interlaced, but its pictures show fields, the bottom one first, and are taken so."
    )
    out = write_woven(path, path.with_name("out.mkv"))
    assert ffmpeg.raw(out) == ffmpeg.raw(path)
    assert set(flags(ffmpeg, out)) == {(0, 0)}
    again = VideoReader(path, scan=scan)
    assert again.splits
    plain = ffmpeg(
        "plain.mkv", *source, "-vf", drift.partition(",interlace")[0], "-r", "25", "-c:v", "ffv1", "-pix_fmt", "yuv422p"
    )
    assert not VideoReader(plain).splits


def test_a_few_frames_do_not_show_fields_that_are_not_marked(ffmpeg, astronaut_png):
    """Runs overlap in so short a film: what nine frames say is no more for being read thirteen times."""
    drift = "scale=800:800,crop=720:576:'3*n':'2*n',interlace=scan=bff:lowpass=off,setfield=prog"
    source = ("-loop", "1", "-framerate", "50", "-t", "0.4", "-i", astronaut_png)
    path = ffmpeg("short.mkv", *source, "-vf", drift, "-c:v", "ffv1", "-pix_fmt", "yuv422p")
    assert probe(path).frame_count_declared in (None, 10)
    assert not VideoReader(path).splits


def test_telecined_film_is_told_and_restored_by_fields(ffmpeg, astronaut_png):
    path = drifting(ffmpeg, astronaut_png, "film.mpg", "telecine=pattern=23", "setpts=N/(30000/1001)/TB", rate=24, frames=48)
    scan, said = scan_of(ffmpeg("ntsc.mkv", "-i", path, "-c", "copy", "-bsf:v", "setts=ts=N:time_base=1001/30000"))
    assert [(stretch.is_interlaced, stretch.is_telecine) for stretch in scan.stretches] == [(True, True)]
    assert said == ["Film was telecined (its frames are spread over fields): its fields are restored one by one."]


def test_parts_of_a_mixed_film_are_read_as_what_they_are(ffmpeg, astronaut_png, raw_bytes):
    one = drifting(ffmpeg, astronaut_png, "one.mpg", "interlace=scan=tff:lowpass=off", frames=100)
    two = drifting(ffmpeg, astronaut_png, "two.mpg", "setfield=tff", rate=25, frames=50)
    joined = "[0:v][1:v]concat=n=2:v=1"
    path = ffmpeg("mixed.mpg", "-i", one, "-i", two, "-filter_complex", joined, *MPEG2, "-top", "1")
    scan, said = scan_of(path)
    assert [stretch.is_interlaced for stretch in scan.stretches] == [True, False]
    reader = VideoReader(path, scan=scan)
    seconds = float((scan.stretches[1].first_pts - reader.film.first_pts) * reader.film.time_base)
    assert abs(seconds - 2.0) <= 0.12
    assert said == [
        "The film changes its scan: fields from 0.0 s, whole frames from 2.0 s; each part is restored as what it is."
    ]
    pictures = list(reader.frames())
    steps = np.diff([float(picture.timestamp.seconds) for picture in pictures])
    assert np.allclose(steps[:95], 0.02)
    assert np.allclose(steps[-45:], 0.04)
    edge = next(place for place, step in enumerate(steps) if step > 0.03)
    for place in (edge - 2, edge - 1, edge, edge + 1, edge + 5):
        assert raw_bytes(next(reader.frames(pictures[place].timestamp))) == raw_bytes(pictures[place])
    assert ffmpeg.raw(write_woven(path, path.with_name("out.mkv"))) == ffmpeg.raw(path)
