from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from iconface_video.errors import EncodeError, OutputError, UsageError
from iconface_video.settings import EncodeSettings, ReadSettings
from iconface_video.types import Timestamp
from iconface_video.video.color import blend_rgb, grow_box
from iconface_video.video.fields import woven
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import OutputPlan, VideoWriter, plan_output

FAST = EncodeSettings(preset="ultrafast")
LOSSLESS = EncodeSettings(codec="ffv1")


def rewrite(
    path: Path, settings: EncodeSettings = FAST, out: Path | None = None, read: ReadSettings | None = None
) -> OutputPlan:
    """Read every frame and write it untouched."""
    with VideoReader(path, read) as reader:
        plan = plan_output(reader.written, out, settings, force=False)
        with VideoWriter(plan, reader.written, settings) as writer:
            for frame in woven(reader.frames()):
                writer.write(frame)
    return plan


@pytest.mark.parametrize(
    ("pix_fmt", "color_range"),
    [
        ("yuv420p", "tv"),
        ("yuv420p10le", "tv"),
        ("yuv422p", "tv"),
        ("yuv444p", "tv"),
        ("yuvj420p", "pc"),
        ("yuv422p10le", "pc"),
        ("gray", "pc"),
    ],
)
@pytest.mark.parametrize("size", ["64x48", "67x49"])
def test_untouched_frames_come_out_bit_for_bit(ffmpeg, pix_fmt, color_range, size):
    path = ffmpeg.picture(
        "clip.mkv", "-c:v", "ffv1", "-pix_fmt", pix_fmt.replace("j", ""), "-color_range", color_range, size=size, seconds=0.4
    )
    plan = rewrite(path, LOSSLESS)
    assert ffmpeg.raw(plan.path) == ffmpeg.raw(path)
    assert ffmpeg.video_stream(plan.path)["pix_fmt"] == ffmpeg.video_stream(path)["pix_fmt"]
    assert ffmpeg.video_stream(plan.path).get("color_range") == ffmpeg.video_stream(path).get("color_range") == color_range


def test_full_range_h264_stays_full_range(ffmpeg):
    path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuvj420p", seconds=0.4)
    plan = rewrite(path, LOSSLESS, path.with_name("out.mov"))
    assert ffmpeg.raw(plan.path) == ffmpeg.raw(path)
    video_stream = ffmpeg.video_stream(rewrite(path).path)
    assert (video_stream["pix_fmt"], video_stream["color_range"]) == ("yuvj420p", "pc")


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le", "bgr0"])
def test_a_blended_box_changes_the_output_only_there(ffmpeg, pix_fmt):
    path = ffmpeg.picture("clip.mkv", "-c:v", "ffv1", "-pix_fmt", pix_fmt, size="66x50", seconds=0.2)
    before = list(VideoReader(path).frames())
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, LOSSLESS, force=False)
        with VideoWriter(plan, reader.info, LOSSLESS) as writer:
            for frame in reader.frames():
                box = grow_box(frame, (20, 10, 41, 31))
                shape = (box[3] - box[1], box[2] - box[0])
                rgb = np.full((*shape, 3), (0.9, 0.2, 0.4), np.float32)
                writer.write(blend_rgb(frame, box, rgb, np.ones(shape, np.float32)) if frame.index % 2 else frame)
    after = list(VideoReader(plan.path).frames())
    assert len(after) == len(before) == 5
    for old, new in zip(before, after):
        for a, b in zip(old.planes, new.planes):
            down = a.shape[0] * 2 // 50 if a.shape[0] != 50 else 2
            ratio_y, ratio_x = 50 // a.shape[0], 66 // a.shape[1]
            outside = np.ones(a.shape, bool)
            outside[8 // ratio_y : 34 // ratio_y, 18 // ratio_x : 44 // ratio_x] = False
            assert np.array_equal(a[outside], b[outside])
            assert np.array_equal(a, b) == (old.index % 2 == 0)
            assert down


def test_vfr_times_survive(ffmpeg, vfr_clip):
    path, expected = vfr_clip
    plan = rewrite(path)
    assert ffmpeg.times(plan.path) == expected


def test_b_frames_do_not_shift_times(ffmpeg):
    path = ffmpeg.with_sound("clip.mp4", "-c:a", "aac", seconds=2)
    plan = rewrite(path, EncodeSettings(preset="medium"))
    assert ffmpeg.times(plan.path) == ffmpeg.times(path)
    assert ffmpeg.video_stream(plan.path)["has_b_frames"] > 0
    assert abs(float(ffmpeg.video_stream(plan.path)["duration"]) - 2) < 0.041


@pytest.mark.parametrize("name", ["late.mp4", "late.mov", "late.mkv", "late.ts"])
def test_start_above_zero_survives(ffmpeg, name):
    sound = ffmpeg.with_sound("clip.mkv", "-c:v", "libx264", "-c:a", "aac", seconds=1)
    path = ffmpeg(name, "-itsoffset", "0.73", "-i", sound, "-i", sound, "-map", "0:v", "-map", "1:a", "-c", "copy")
    plan = rewrite(path)
    assert plan.path.suffix == path.suffix
    assert ffmpeg.times(plan.path) == ffmpeg.times(path)
    assert ffmpeg.times(path)[0] > Fraction(7, 10)
    assert ffmpeg.times(plan.path, "a:0") == ffmpeg.times(path, "a:0")


def test_a_film_that_begins_before_zero_is_moved_with_its_sound(ffmpeg):
    """No muxer of the ffmpeg tool writes such a file, so the frames are moved here: half a second of sound comes later."""
    path = ffmpeg.with_sound("clip.mkv", "-c:v", "libx264", "-c:a", "pcm_s16le")
    with VideoReader(path) as reader:
        info = replace(reader.info, first_pts=-500)
        plan = plan_output(info, None, FAST, force=False)
        assert "begins before time 0" in plan.notes[0]
        with VideoWriter(plan, info, FAST) as writer:
            for frame in reader.frames():
                writer.write(replace(frame, pts=frame.pts - 500))
    assert ffmpeg.times(plan.path) == ffmpeg.times(path)
    half = Fraction(1, 2)
    assert ffmpeg.times(plan.path, "a:0") == [time + half for time in ffmpeg.times(path, "a:0")]


def test_edit_list_file_keeps_times_and_sound(ffmpeg):
    long = ffmpeg.with_sound("long.mp4", "-c:v", "libx264", "-g", "50", "-bf", "2", "-c:a", "aac", seconds=4)
    path = ffmpeg("cut.mp4", "-ss", "1.01", "-i", long, "-c", "copy", "-avoid_negative_ts", "disabled")
    plan = rewrite(path)
    assert ffmpeg.times(plan.path) == ffmpeg.times(path)
    assert ffmpeg.packets_md5(plan.path, "a") == ffmpeg.packets_md5(path, "a")
    assert ffmpeg.times(plan.path, "a:0") == ffmpeg.times(path, "a:0")


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "50"])
def test_rates_of_television(ffmpeg, rate):
    path = ffmpeg.picture("clip.mov", "-c:v", "libx264", rate=rate)
    plan = rewrite(path)
    assert ffmpeg.times(plan.path) == ffmpeg.times(path)
    assert ffmpeg.video_stream(plan.path)["avg_frame_rate"] == ffmpeg.video_stream(path)["avg_frame_rate"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "ffv1"])
def test_shape_and_colour_tags_survive(ffmpeg, name, codec):
    tags = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-color_range", "tv")
    upright = ffmpeg.picture(
        name,
        "-vf",
        "setsar=16/15",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p10le",
        "-chroma_sample_location",
        "topleft",
        *tags,
        seconds=0.4,
    )
    path = ffmpeg(f"turned{upright.suffix}", "-i", upright, "-c", "copy", "-metadata:s:v:0", "rotate=90")
    if upright.suffix == ".mkv":  # ffmpeg 5 does not write rotation into Matroska
        path = upright
    plan = rewrite(path, EncodeSettings(codec=codec, preset="ultrafast"))
    assert plan.path.suffix == (".mp4" if (codec, path.suffix) == ("ffv1", ".mov") else path.suffix)
    before, after = ffmpeg.video_stream(path), ffmpeg.video_stream(plan.path)
    keys = ["pix_fmt", "color_range", "color_space", "color_primaries", "color_transfer", "width", "height"]
    assert {key: after.get(key) for key in keys} == {key: before.get(key) for key in keys}
    if codec != "ffv1":
        assert after["chroma_location"] == before["chroma_location"] == "topleft"
    assert before["sample_aspect_ratio"] == "16:15"
    first = ffmpeg.probe(plan.path, "-select_streams", "v:0", "-show_frames", "-read_intervals", "%+#1")["frames"][0]
    assert "16:15" in (after.get("sample_aspect_ratio"), first.get("sample_aspect_ratio"))
    assert ffmpeg.rotation(plan.path) == ffmpeg.rotation(path)
    if upright.suffix != ".mkv":
        assert ffmpeg.rotation(path) != 0


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".mp4"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_survives_in_every_container(ffmpeg, suffix, degrees):
    upright = ffmpeg.picture("upright.mp4", "-c:v", "libx264", seconds=0.2)
    path = ffmpeg("turned.mp4", "-i", upright, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}")
    plan = rewrite(path, out=path.with_name(f"out{suffix}"))
    with VideoReader(plan.path) as reader, VideoReader(path) as source:
        assert reader.info.rotation == source.info.rotation != 0
    if suffix != ".mkv":  # ffprobe 5 does not read it from Matroska
        assert ffmpeg.rotation(plan.path) == ffmpeg.rotation(path) != 0


def test_hdr10_metadata_survives(ffmpeg):
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    path = ffmpeg.picture(
        "hdr.mp4", "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", f"log-level=error:master-display={master}:max-cll=1000,400",
        "-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084", seconds=0.2, size="128x96",
    )  # fmt: skip
    before = _hdr_of(path)
    assert ffmpeg.probe(path, "-show_frames", "-read_intervals", "%+#1")["frames"][0]["side_data_list"]
    assert set(before) == {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    for codec in ("hevc", "h264"):
        settings = EncodeSettings(codec=codec, preset="ultrafast")
        assert _hdr_of(rewrite(path, settings, path.with_name(f"{codec}.mp4")).path) == before


def _hdr_of(path: Path) -> dict[str, bytes]:
    """HDR side data of the first picture, as decoded by FFmpeg's library (ffprobe 5 does not know H.264's)."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        return {
            data.type.name: bytes(data)
            for data in picture.side_data
            if data.type.name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
        }


def test_everything_else_is_carried_along(ffmpeg, tmp_path):
    """Two sound tracks, ASS subtitles, a font, chapters and metadata, in Matroska."""
    (tmp_path / "words.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nHello\n\n2\n00:00:01,000 --> 00:00:01,500\nAgain\n")
    (tmp_path / "font.ttf").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "meta.txt").write_text(
        ";FFMETADATA1\ntitle=Holiday 1991\nartist=Grandfather\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=Beach\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Home\n"
    )
    sound = ffmpeg.with_sound("sound.mkv", "-c:a", "pcm_s16le", seconds=2)
    path = ffmpeg(
        "full.mkv", "-i", sound, "-i", tmp_path / "words.srt", "-i", tmp_path / "meta.txt", "-map", "0:v", "-map", "0:a", "-map", "0:a",
        "-map", "1", "-map_metadata", "2", "-c:v", "libx264", "-c:a:0", "copy", "-c:a:1", "flac", "-c:s", "ass",
        "-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "title=Commentary", "-disposition:a:1", "comment",
        "-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=application/x-truetype-font",
    )  # fmt: skip
    plan = rewrite(path)
    assert plan.notes == ()
    for kind in ("a", "s"):
        assert ffmpeg.packets_md5(plan.path, kind) == ffmpeg.packets_md5(path, kind)
    before, after = (ffmpeg.probe(p, "-show_streams", "-show_chapters", "-show_format") for p in (path, plan.path))
    assert [(c["start"], c["end"], c["tags"]) for c in after["chapters"]] == [
        (c["start"], c["end"], c["tags"]) for c in before["chapters"]
    ]
    assert after["format"]["tags"]["title"] == "Holiday 1991"
    assert [s["codec_type"] for s in after["streams"]] == [s["codec_type"] for s in before["streams"]]
    assert [s["disposition"] for s in after["streams"]] == [s["disposition"] for s in before["streams"]]
    for key in ("language", "title", "filename", "mimetype"):
        assert [s.get("tags", {}).get(key) for s in after["streams"]] == [s.get("tags", {}).get(key) for s in before["streams"]]
    fonts = []
    for index, source in enumerate((path, plan.path)):
        ffmpeg.folder.joinpath(f"dump{index}").mkdir()
        target = ffmpeg.folder / f"dump{index}" / "font.ttf"
        os.system(f"ffmpeg -v quiet -y -dump_attachment:t:0 {target} -i {source}")
        fonts.append(target.read_bytes())
    assert fonts[0] == fonts[1] == bytes(range(256)) * 4


def test_mp4_with_cover_chapters_and_text(ffmpeg, tmp_path):
    (tmp_path / "words.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nHello\n")
    (tmp_path / "meta.txt").write_text(";FFMETADATA1\ntitle=Trip\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n")
    cover = ffmpeg.picture("cover.jpg", "-frames:v", "1", size="32x32")
    sound = ffmpeg.with_sound("sound.mp4", "-c:a", "aac")
    path = ffmpeg(
        "full.mp4", "-i", sound, "-i", tmp_path / "words.srt", "-i", tmp_path / "meta.txt", "-i", cover, "-map", "0", "-map", "1", "-map", "3",
        "-map_metadata", "2", "-c", "copy", "-c:s", "mov_text", "-disposition:v:1", "attached_pic",
    )  # fmt: skip
    plan = rewrite(path)
    assert plan.path.suffix == ".mp4"
    before, after = (ffmpeg.probe(p, "-show_streams", "-show_chapters", "-show_format") for p in (path, plan.path))
    assert sorted(s["codec_name"] for s in after["streams"] if "codec_name" in s) == sorted(
        s["codec_name"] for s in before["streams"] if "codec_name" in s
    )
    assert [c["tags"]["title"] for c in after["chapters"]] == ["One"]
    assert after["format"]["tags"]["title"] == "Trip"
    for kind in ("a", "s", "v:1"):
        assert ffmpeg.packets_md5(plan.path, kind) == ffmpeg.packets_md5(path, kind)


def test_container_changes_for_pcm_and_says_so_before(ffmpeg):
    path = ffmpeg.with_sound("camera.avi", "-c:v", "mpeg4", "-c:a", "pcm_s16le")
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, FAST, force=False)
    assert plan.path.name == "camera.restored.mov"
    assert plan.notes == ("The output becomes a MOV file, not MP4: MP4 cannot hold stream 1 (pcm_s16le audio).",)
    assert not plan.path.exists()
    rewrite(path)
    assert ffmpeg.packets_md5(plan.path, "a") == ffmpeg.packets_md5(path, "a")


def test_named_output_changes_its_suffix_when_it_must(ffmpeg, tmp_path):
    (tmp_path / "words.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nHello\n")
    sound = ffmpeg.with_sound("sound.mkv", "-c:a", "aac")
    path = ffmpeg("film.mkv", "-i", sound, "-i", tmp_path / "words.srt", "-c", "copy", "-c:s", "ass")
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, tmp_path / "out.mp4", FAST, force=False)
    assert plan.path == tmp_path / "out.mkv"
    assert "MP4 cannot hold stream 2 (ass subtitle)" in plan.notes[0]
    assert plan.notes[-1] == "The output is named out.mkv instead of out.mp4."


def test_prores_is_ten_bit_in_mov(ffmpeg):
    path = ffmpeg.picture("clip.mp4", "-vf", "gblur=6", "-c:v", "libx264", "-pix_fmt", "yuv420p", size="160x120", seconds=0.2)
    plan = rewrite(path, EncodeSettings(codec="prores"))
    assert plan.path.suffix == ".mov"
    assert plan.notes[0].startswith("The picture is stored as yuv422p10le: prores_ks cannot hold yuv420p.")
    assert ffmpeg.video_stream(plan.path)["codec_name"] == "prores"
    old = np.frombuffer(ffmpeg.raw(path, "-vf", "extractplanes=y"), np.uint8).astype(float)
    new = np.frombuffer(ffmpeg.raw(plan.path, "-vf", "extractplanes=y"), np.uint16).astype(float) / 4
    assert abs((old - new).mean()) < 0.1  # no shift of brightness on the way to ten bits


@pytest.mark.parametrize(
    ("codec", "source", "held"),
    [("h264", "yuv420p", "yuv420p"), ("h264", "yuv420p12le", "yuv420p10le"), ("hevc", "yuv420p12le", "yuv420p12le"), ("h264", "yuv411p", "yuv422p"), ("hevc", "gbrp", "gbrp"), ("h264", "gbrp", "gbrp"), ("ffv1", "gbrp", "gbrp"), ("h264", "gray", "gray"), ("ffv1", "gbrap", "gbrap"), ("hevc", "yuv440p", "yuv444p")],
)  # fmt: skip
def test_nearest_format_that_the_encoder_holds(codec, source, held):
    from iconface_video.video.encoders import choose_encoder

    assert choose_encoder(EncodeSettings(codec=codec), source).planar == held


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_odd_picture_size_gets_a_format_that_holds_it(codec, ffmpeg):
    path = ffmpeg("odd.mkv", "-f", "lavfi", "-i", "color=red:s=321x241:d=0.2:r=25,format=rgb24,format=yuv420p", "-c:v", "ffv1")
    plan = rewrite(path, EncodeSettings(codec=codec, preset="ultrafast"))
    assert f"stored as yuv444p: {plan.encoder.name} cannot hold yuv420p of 321x241 px" in plan.notes[0]
    video_stream = ffmpeg.video_stream(plan.path)
    assert (video_stream["width"], video_stream["height"], video_stream["pix_fmt"]) == (321, 241, "yuv444p")


def test_a_size_that_no_format_helps_is_refused_before_the_work_and_the_way_out_is_named(ffmpeg):
    path = ffmpeg("tiny.mkv", "-f", "lavfi", "-i", "color=red:s=8x6:d=0.2:r=25,format=yuv420p", "-c:v", "ffv1")
    with VideoReader(path) as reader, pytest.raises(UsageError, match=r"8x6 px\. Choose another codec: h264 or prores or ffv1"):
        plan_output(reader.info, None, EncodeSettings(codec="hevc"), force=False)


def test_fields_of_a_height_that_x264_does_not_split(ffmpeg):
    """720x486, the size of professional NTSC tape, kept interlaced."""
    path = ffmpeg.picture(
        "d1.mkv", "-vf", "setfield=bff", "-c:v", "mpeg2video", "-flags", "+ildct", size="720x486", seconds=0.2
    )
    with VideoReader(path, ReadSettings("weave")) as reader:
        plan = plan_output(reader.info, None, FAST, force=False)
        with VideoWriter(plan, reader.info, FAST) as writer:
            for frame in reader.frames():
                writer.write(frame)
    assert len(ffmpeg.times(plan.path)) == 5
    assert any("H.264 has no mark for it in pictures of 486 lines" in note for note in plan.notes)
    assert writer.copying.damage == ()


@pytest.mark.parametrize(("target", "size", "rate"), [("ntsc-dv", "720x480", "30000/1001"), ("pal-dv", "720x576", "25")])
def test_raw_dv_is_written_with_its_time_code_and_rate(target, size, rate, ffmpeg):
    """Its demuxer gives the ticks of its clock, 60000 a second, for the pictures' rate."""
    path = ffmpeg.with_sound("tape.dv", "-target", target, size=size, seconds=0.4, rate=rate)
    plan = rewrite(path, FAST)
    assert plan.container == "mov"
    video_stream = ffmpeg.video_stream(plan.path)
    assert Fraction(video_stream["avg_frame_rate"]) == Fraction(rate)
    assert video_stream["tags"]["timecode"].startswith("00:00:00")
    with VideoReader(path) as reader:
        assert reader.film.average_rate == Fraction(rate)


def test_what_the_container_refuses_is_found_before_the_work(ffmpeg):
    """A time code at a rate that its track cannot count."""
    path = ffmpeg.picture("clip.mov", "-c:v", "libx264", "-timecode", "00:00:00:00", seconds=0.2)
    with VideoReader(path) as reader:
        info = replace(reader.info, average_rate=Fraction(60000))
        plan = plan_output(info, None, FAST, force=False)
    assert plan.container == "matroska"
    assert "MOV cannot hold a film of 64x48 px at 60000 pictures a second with a time code" in plan.notes[0]


def test_each_failure_of_writing_has_its_own_remedy(ffmpeg):
    path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", seconds=0.2)
    with VideoReader(path) as reader:
        writer = VideoWriter(plan_output(reader.info, None, FAST, force=False), reader.info, FAST)
    full, refused = (str(writer._failure(OSError(number, os.strerror(number)))) for number in (errno.ENOSPC, errno.EINVAL))
    assert "Free some space" in full
    assert "Free some space" not in refused
    assert "choose another codec or container" in refused


def test_a_gpu_that_is_asked_for_and_not_there_is_told_before_the_work(ffmpeg):
    """On a machine with an NVIDIA GPU the file is written by it instead."""
    path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", size="160x120", seconds=0.2)
    with pytest.raises(UsageError, match="nvenc', which has no prores"):
        rewrite(path, EncodeSettings(codec="prores", hardware="nvenc"))
    if _has_gpu_encoder():
        plan = rewrite(path, EncodeSettings(hardware="nvenc"))
        assert ffmpeg.video_stream(plan.path)["codec_name"] == "h264"
        return
    with pytest.raises(UsageError, match="h264_nvenc: no NVIDIA GPU that encodes can be used here"):
        rewrite(path, EncodeSettings(hardware="nvenc"))
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def _has_gpu_encoder() -> bool:
    """As the ffmpeg program sees it."""
    source = ["-f", "lavfi", "-i", "color=size=256x256:duration=0.1"]
    command = ["ffmpeg", "-v", "quiet", *source, "-c:v", "h264_nvenc", "-f", "null", "-"]
    return subprocess.run(command, check=False).returncode == 0


def test_interlaced_stays_interlaced_when_not_deinterlaced(ffmpeg):
    path = ffmpeg.picture(
        "fields.mpg", "-vf", "interlace=scan=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-top", "1", rate="50"
    )
    kept = rewrite(path, read=ReadSettings("weave")).path
    assert ffmpeg.video_stream(kept)["field_order"] in ("tt", "tb")
    plain = rewrite(path, out=path.with_name("plain.mp4"), read=ReadSettings("half")).path
    assert ffmpeg.video_stream(plain)["field_order"] == "progressive"


def test_trimming_copies_what_lies_inside_and_starts_at_zero(ffmpeg):
    path = ffmpeg.with_sound("clip.mkv", "-c:v", "libx264", "-c:a", "pcm_s16le", seconds=4)
    first, end = Timestamp(1, Fraction(1)), Timestamp(2, Fraction(1))
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, FAST, force=False)
        with VideoWriter(plan, reader.info, FAST, first=first, end=end) as writer:
            for frame in reader.frames(first, end):
                writer.write(frame)
    assert ffmpeg.times(plan.path) == [Fraction(n, 25) for n in range(25)]
    sound = [time for time in ffmpeg.times(plan.path, "a:0")]
    assert 0 <= sound[0] < 0.05
    assert 0.95 < sound[-1] < 1
    kept = _packet_hashes(ffmpeg, plan.path)
    whole = _packet_hashes(ffmpeg, path)
    at = whole.index(kept[0])
    assert whole[at : at + len(kept)] == kept


def _packet_hashes(ffmpeg, path: Path) -> list[str]:
    found = ffmpeg.probe(path, "-select_streams", "a:0", "-show_packets", "-show_data_hash", "md5")
    return [packet["data_hash"] for packet in found["packets"]]


def test_existing_output_is_refused_without_force(ffmpeg):
    path = ffmpeg.picture("clip.mp4", seconds=0.2)
    done = rewrite(path).path
    content = done.read_bytes()
    with pytest.raises(OutputError, match=r"clip\.restored\.mp4: exists already\. Use `force`"):
        rewrite(path)
    assert done.read_bytes() == content
    with VideoReader(path) as reader:
        assert plan_output(reader.info, None, FAST, force=True).path == done


def test_outputs_that_cannot_be(ffmpeg, tmp_path):
    path = ffmpeg.picture("clip.mp4", seconds=0.2)
    with VideoReader(path) as reader:
        for out, said in [
            (path, "this is the input itself"),
            (tmp_path / "nowhere" / "out.mp4", "the folder .*nowhere does not exist"),
            (tmp_path / "out.gif", r"cannot write '\.gif' files\. Name an output that ends in one of"),
        ]:
            with pytest.raises(OutputError, match=said):
                plan_output(reader.info, out, FAST, force=True)


def test_unwritable_folder_is_refused_before_any_work(ffmpeg, tmp_path, monkeypatch):
    path = ffmpeg.picture("clip.mp4", seconds=0.2)
    if os.geteuid() == 0:  # root may write anywhere but in kernel folders
        folder = Path("/proc")
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    with VideoReader(path) as reader, pytest.raises(OutputError, match="cannot write into this folder"):
        plan_output(reader.info, folder / "out.mp4", FAST, force=False)


def test_nothing_stands_under_the_name_until_it_is_whole(ffmpeg, tmp_path):
    path = ffmpeg.picture("clip.mp4")
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, FAST, force=False)
        seen = []

        def stop_half_way() -> None:
            with VideoWriter(plan, reader.info, FAST) as writer:
                for frame in reader.frames():
                    writer.write(frame)
                    seen.append((plan.path.exists(), plan.partial_path.exists()))
                    if frame.index == 20:
                        raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stop_half_way()
    assert not any(final for final, _ in seen)
    assert seen[-1] == (False, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


def test_no_frames_is_an_error_and_leaves_nothing(ffmpeg, tmp_path):
    path = ffmpeg.picture("clip.mp4", seconds=0.2)
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, FAST, force=False)
        with (
            pytest.raises(EncodeError, match=r"no frame was written: .* Check `start` and `end`"),
            VideoWriter(plan, reader.info, FAST),
        ):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


def test_a_frame_without_its_picture_is_written_too(ffmpeg):
    """Frames may come from elsewhere than our reader: from planes alone."""
    path = ffmpeg.picture("clip.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", seconds=0.2)
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, LOSSLESS, force=False)
        with VideoWriter(plan, reader.info, LOSSLESS) as writer:
            for frame in reader.frames():
                writer.write(replace(frame, side_data=()))
    assert ffmpeg.raw(plan.path) == ffmpeg.raw(path)


def test_added_metadata_is_written(ffmpeg):
    path = ffmpeg.picture("clip.mp4", "-metadata", "title=Holiday", seconds=0.2)
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, None, FAST, force=False)
        with VideoWriter(plan, reader.info, FAST, {"comment": "faces restored"}) as writer:
            for frame in reader.frames():
                writer.write(frame)
    tags = ffmpeg.probe(plan.path, "-show_format")["format"]["tags"]
    assert (tags["title"], tags["comment"]) == ("Holiday", "faces restored")
