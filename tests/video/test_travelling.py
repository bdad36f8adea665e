"""What travels with the picture, one thing at a time. The ffmpeg and ffprobe programs say what is in a file."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iconface_video.settings import EncodeSettings, ReadSettings
from iconface_video.types import Timestamp
from iconface_video.video.output_plan import OutputPlan
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter, plan_output
from tests.fuzz.tree import Node
from tests.video import travelling

FAST = {codec: EncodeSettings(codec=codec, preset="ultrafast") for codec in ("h264", "hevc", "ffv1", "prores")}


def rewrite(
    path: Path, codec: str = "h264", out: str | None = None, keep_fields: bool = False, start: int | None = None
) -> OutputPlan:
    """Read and write every frame (from `start` seconds on), untouched. Nothing may be missing that was not announced."""
    with VideoReader(path, ReadSettings("weave" if keep_fields else "double")) as reader:
        plan = plan_output(reader.written, None if out is None else path.with_name(out), FAST[codec], force=False)
        first = None if start is None else Timestamp(start, Fraction(1))
        with VideoWriter(plan, reader.written, FAST[codec], first=first) as writer:
            for frame in reader.frames(first):
                writer.write(frame)
    assert writer.copying.damage == ()
    return plan


def told(plan: OutputPlan, *words: str) -> bool:
    return all(any(word in note for note in plan.notes) for word in words)


def tags(ffmpeg, path: Path) -> dict[str, str]:
    return {
        key.lower(): value
        for stream in ffmpeg.probe(path, "-show_streams")["streams"]
        for key, value in stream.get("tags", {}).items()
    }


# ---- the picture's shape


@pytest.mark.parametrize(("aspect", "codec"), [("64/45", "h264"), ("16/15", "ffv1"), ("40/33", "prores")])
def test_matroska_says_how_wide_the_picture_is_shown(ffmpeg, aspect, codec):
    """40/33 of 64 px is no whole number of pixels."""
    path = ffmpeg.picture(
        "clip.mov", "-vf", f"setsar={aspect}", "-c:v", "libx264", "-pix_fmt", "yuv420p", size="64x48", seconds=0.2
    )
    plan = rewrite(path, codec, "out.mkv")
    assert ffmpeg.video_stream(path)["sample_aspect_ratio"] == aspect.replace("/", ":")
    assert ffmpeg.video_stream(plan.path)["sample_aspect_ratio"] == aspect.replace("/", ":")
    data = plan.path.read_bytes()
    assert b"\x54\xb0" in data[: data.index(b"\x1f\x43\xb6\x75")], "DisplayWidth is missing; the codec alone says it"


# ---- captions, Dolby Vision, alpha


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_captions_arrive_in_hevc(ffmpeg, suffix):
    """Taken apart by FFmpeg's own decoder of captions."""
    path = travelling.interlaced_sd(ffmpeg)
    plan = rewrite(path, "hevc", f"out.{suffix}", keep_fields=True)

    def captions(name: Path) -> list[str]:
        arguments = ("-f", "lavfi", "-select_streams", "s", "-show_packets", "-show_data_hash", "md5")
        found = ffmpeg.probe(f"movie={name}[out0+subcc]", *arguments)
        return [packet["data_hash"] for packet in found["packets"]]

    assert captions(plan.path) == captions(path)
    assert len(set(captions(path))) > 2


def test_captions_that_the_codec_cannot_hold_are_announced(ffmpeg):
    path = travelling.interlaced_sd(ffmpeg)
    for codec in ("ffv1", "prores"):
        assert told(rewrite(path, codec, f"{codec}.mov", keep_fields=True), "Closed captions inside the pictures are left out")
    assert not told(rewrite(path, "h264", "h264.mov", keep_fields=True), "aptions")


@pytest.mark.parametrize(("profile", "words"), [(8, "its base layer, which other players show"), (5, "has WRONG COLORS")])
def test_a_dolby_vision_record_is_announced_as_lost(ffmpeg, profile, words):
    path = travelling.hdr10(ffmpeg, dolby_vision=profile)
    assert "DOVI configuration record" in str(ffmpeg.video_stream(path))
    plan = rewrite(path)
    assert told(plan, f"Dolby Vision (profile {profile}) cannot be written", words)
    assert "DOVI" not in str(ffmpeg.video_stream(plan.path))


def test_transparency_that_is_not_decoded_is_not_promised_any_more(ffmpeg):
    path = ffmpeg.picture("clear.webm", "-vf", "format=yuva420p", "-c:v", "libvpx-vp9", "-auto-alt-ref", "0", seconds=0.2)
    assert tags(ffmpeg, path)["alpha_mode"] == "1"
    plan = rewrite(path, "ffv1")
    assert told(plan, "transparency (alpha_mode) cannot be decoded")
    assert "alpha_mode" not in tags(ffmpeg, plan.path)


# ---- range, chroma, fields


def _rgb(ffmpeg, path: Path) -> np.ndarray:
    return np.frombuffer(
        ffmpeg.raw(path, "-vf", "scale=flags=accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24"), np.uint8
    ).astype(int)


@pytest.mark.parametrize("color_range", ["tv", "pc"])
def test_a_range_without_other_tags_arrives_with_ffv1_in_mp4(ffmpeg, color_range):
    path = ffmpeg.picture("clip.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-color_range", color_range, seconds=0.12)
    assert ffmpeg.video_stream(rewrite(path, "ffv1", "out.mp4").path)["color_range"] == color_range


@pytest.mark.parametrize("codec", ["ffv1", "prores", "h264"])
def test_full_range_is_shown_in_the_same_colors(ffmpeg, codec):
    color = "color=0x3f0700:s=64x48:d=0.2:r=25,format=rgb24,scale=out_range=pc,format=yuvj420p"
    path = ffmpeg("full.avi", "-f", "lavfi", "-i", color, "-c:v", "mjpeg", "-q:v", "1")
    plan = rewrite(path, codec)
    assert np.abs(_rgb(ffmpeg, plan.path) - _rgb(ffmpeg, path)).max() <= 3
    assert ffmpeg.video_stream(plan.path)["color_range"] == ("tv" if codec == "prores" else "pc")
    assert told(plan, "Full-range samples are scaled to limited range") == (codec == "prores")


def test_what_was_rgb_is_not_tagged_rgb_in_a_codec_that_is_not(ffmpeg):
    path = ffmpeg.picture("screen.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp", "-color_range", "pc", seconds=0.2)
    plan = rewrite(path, "prores", "out.mov")
    video_stream = ffmpeg.video_stream(plan.path)
    assert (video_stream["color_range"], video_stream["color_space"]) == ("tv", "smpte170m")
    assert np.abs(_rgb(ffmpeg, plan.path) - _rgb(ffmpeg, path)).mean() < 3


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_bottom_field_first_stays_bottom_field_first(ffmpeg, suffix):
    path = travelling.interlaced_sd(ffmpeg, bottom_first=True)
    video_stream = ffmpeg.video_stream(rewrite(path, "h264", f"out.{suffix}", keep_fields=True).path)
    assert video_stream["field_order"] == ffmpeg.video_stream(path)["field_order"] == "bb"


@pytest.mark.parametrize("codec", ["prores", "h264", "ffv1"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_fields_stay_marked_where_the_samples_are_converted(ffmpeg, codec, order):
    """A capture in a packed format: no encoder takes the decoder's own picture."""
    fields = (
        "-vf",
        f"interlace=scan={order},setfield={order}",
        "-flags",
        "+ilme",
        "-field_order",
        "tt" if order == "tff" else "bb",
    )
    path = ffmpeg.picture("capture.mov", *fields, "-c:v", "rawvideo", "-pix_fmt", "uyvy422", rate="50", seconds=0.2)
    plan = rewrite(path, codec, "out.mov", keep_fields=True)
    frames = ffmpeg.probe(plan.path, "-select_streams", "v:0", "-show_frames")["frames"]
    assert {(frame["interlaced_frame"], frame["top_field_first"]) for frame in frames} == {(1, int(order == "tff"))}


def test_hevc_announces_that_its_mark_of_fields_is_weak(ffmpeg):
    plan = rewrite(travelling.interlaced_sd(ffmpeg), "hevc", "out.mkv", keep_fields=True)
    assert told(plan, "HEVC marks it in a way that few players heed")
    assert ffmpeg.video_stream(plan.path)["field_order"] == "tt"  # the container says it


@pytest.mark.parametrize(("codec", "suffix"), [("h264", "mov"), ("ffv1", "mkv")])
def test_chroma_of_dv_lies_top_left(ffmpeg, codec, suffix):
    path = ffmpeg.picture("dv.avi", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", size="720x576", seconds=0.12)
    assert ffmpeg.video_stream(path)["chroma_location"] == "topleft"
    assert ffmpeg.video_stream(rewrite(path, codec, f"out.{suffix}").path)["chroma_location"] == "topleft"


def test_chroma_that_changes_its_place_is_moved_there(ffmpeg):
    """4:2:0 with chroma on even lines becomes 4:2:2: an edge in color stays where it was."""
    edge = "color=red:s=64x48:d=0.12:r=25,drawbox=y=20:h=28:color=blue:t=fill,format=yuv444p"
    path = ffmpeg("edge.mkv", "-f", "lavfi", "-i", f"{edge},scale=out_v_chr_pos=0,format=yuv420p", "-c:v", "ffv1",
                  "-chroma_sample_location", "topleft")  # fmt: skip
    plan = rewrite(path, "prores", "out.mov")
    assert told(plan, "Chroma samples that lie top-left")
    truth = np.frombuffer(
        ffmpeg("t.mkv", "-f", "lavfi", "-i", edge, "-c:v", "ffv1")
        and ffmpeg.raw(path.with_name("t.mkv"), "-vf", "extractplanes=u"),
        np.uint8,
    )
    after = np.frombuffer(ffmpeg.raw(plan.path, "-vf", "extractplanes=u"), np.uint16)
    column = after.reshape(-1, 48, 32)[0, :, 8].astype(float) / 4
    wanted = truth.reshape(-1, 48, 64)[0, :, 16].astype(float)
    assert abs((column - wanted)[14:30].sum()) < 0.25 * np.ptp(wanted)


# ---- data, text, sound


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_phones_metadata_track_arrives_with_its_description(ffmpeg, suffix):
    """Of a .mp4 the output becomes a MOV, which is said: MP4's muxer does not take such tracks."""
    path = travelling.phone(ffmpeg, suffix)
    plan = rewrite(path)
    index = plan.path.read_bytes()
    index = index[index.rindex(b"moov") :]
    assert index.count(travelling.mebx_entry()) == 1
    assert travelling.box(b"tref", travelling.box(b"cdsc", struct.pack(">I", 1))) in index, (
        "it does not say of which track it speaks"
    )
    track = next(s for s in ffmpeg.probe(plan.path, "-show_streams")["streams"] if s["codec_tag_string"] == "mebx")
    assert int(track["nb_frames"]) == len(travelling.MEBX_SAMPLES)


def test_data_that_no_container_of_the_codec_holds_is_announced(ffmpeg):
    plan = rewrite(travelling.phone(ffmpeg), "ffv1")
    assert told(plan, "no container that holds this codec can hold it: MP4 cannot hold stream 3 (mebx data)")
    assert b"mebx" not in plan.path.read_bytes()


def test_data_with_as_many_samples_as_there_are_chapters_is_no_chapter_track(ffmpeg):
    path = travelling.phone(ffmpeg)
    plan = rewrite(path)
    before, after = (ffmpeg.probe(name, "-show_streams", "-show_chapters") for name in (path, plan.path))
    assert len(before["chapters"]) == len(after["chapters"]) == 2
    assert [s["nb_frames"] for s in after["streams"] if s["codec_tag_string"] == "gpmd"] == ["2"]


def test_a_fragmented_file_with_chapters_needs_no_excuse(ffmpeg, tmp_path):
    (tmp_path / "meta.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n")
    sound = ffmpeg.with_sound("sound.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    flags = ("-movflags", "+frag_keyframe+empty_moov")
    path = ffmpeg(
        "pieces.mp4", "-i", sound, "-i", tmp_path / "meta.txt", "-map", "0", "-map_chapters", "1", "-c", "copy", *flags
    )
    plan = rewrite(path)
    assert plan.notes == ()
    assert [c["tags"]["title"] for c in ffmpeg.probe(plan.path, "-show_chapters")["chapters"]] == ["One"]


def test_text_gets_no_empty_packets_more(ffmpeg):
    path = ffmpeg.with_sound("text.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", seconds=2)
    head = bytes(6) + struct.pack(">HIbbI", 1, 0, 1, -1, 0) + bytes(8) + struct.pack(">HHHBBI", 0, 0, 1, 0, 18, 0xFFFFFFFF)
    entry = travelling.box(b"tx3g", head, travelling.box(b"ftab", struct.pack(">HHB", 1, 1, 5), b"Serif"))
    travelling.add_track(
        path, b"sbtl", entry, [b"\0\0", b"\0\5Hello", b"\0\3you", b"\0\0", b"\0\2oh"], 1000, [200, 400, 300, 700, 400]
    )
    plan = rewrite(path)

    def text(name: Path) -> tuple[str, list[tuple[str, ...]]]:
        found = ffmpeg.probe(name, "-select_streams", "s:0", "-show_streams", "-show_packets", "-show_data_hash", "md5")
        packets = [(p["pts_time"], p["duration_time"], p["data_hash"]) for p in found["packets"]]
        return found["streams"][0]["nb_frames"], packets

    assert text(plan.path) == text(path)
    assert len(text(path)[1]) == 5
    assert ffmpeg.packets_md5(plan.path, "s") == ffmpeg.packets_md5(path, "s")


def test_sound_that_no_container_holds_is_named(ffmpeg):
    path = ffmpeg.with_sound("phone.mov", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", seconds=0.4)
    entry = travelling.box(b"apac", bytes(6), struct.pack(">HHHIHHHHI", 1, 0, 0, 0, 2, 16, 0, 0, 48000 << 16))
    travelling.add_track(path, b"soun", entry, [b"apacked", b"sound"], 10, [2, 2])
    plan = rewrite(path)
    assert told(plan, "Left out, as no container can hold it: MOV cannot hold stream 2 (apac audio)")
    assert ffmpeg.packets_md5(plan.path, "a:0") == ffmpeg.packets_md5(path, "a:0")


@pytest.mark.parametrize("source", ["full.mp4", "full.mkv"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_cover_art_stays_cover_art_or_is_announced(ffmpeg, suffix, source):
    cover = ffmpeg.picture("cover.jpg", "-frames:v", "1", size="32x32")
    video_stream = ffmpeg.picture("film.mp4", "-vf", "setsar=16/15", "-c:v", "libx264", "-pix_fmt", "yuv420p", seconds=0.2)
    if source == "full.mp4":
        path = ffmpeg(
            source, "-i", cover, "-i", video_stream, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"
        )
    else:
        path = ffmpeg(source, "-i", video_stream, "-c", "copy", "-attach", cover, "-metadata:s:t", "mimetype=image/jpeg")
    plan = rewrite(path, out=f"out.{suffix}")
    streams = ffmpeg.probe(plan.path, "-show_streams")["streams"]
    assert told(plan, "The cover picture (stream 1) is left out: MOV has no place for it") == (suffix == "mov")
    assert [stream["disposition"]["attached_pic"] for stream in streams] == ([0] if suffix == "mov" else [0, 1])
    assert streams[0]["sample_aspect_ratio"] == "16:15"
    if suffix != "mov":
        assert ffmpeg.packets_md5(plan.path, "v:1") == ffmpeg.packets_md5(path, "v:1")


@pytest.mark.parametrize(
    ("suffix", "role", "kept"), [("mkv", "comment", True), ("mov", "comment", False), ("mp4", "comment", True)]
)
def test_roles_of_streams_arrive_or_are_announced(ffmpeg, suffix, role, kept):
    sound = ffmpeg.with_sound("sound.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", seconds=0.4)
    path = ffmpeg("two.mkv", "-i", sound, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy", "-disposition:a:1", role)
    plan = rewrite(path, out=f"out.{suffix}")
    last = ffmpeg.probe(plan.path, "-show_streams")["streams"][-1]
    assert last["disposition"][role] == int(kept)
    assert told(plan, f"That stream 2 (audio) is marked '{role}' is left out: MOV") is not kept


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_languages_arrive(ffmpeg, suffix):
    """QuickTime's own list knows a few languages by other letters; its files may use the ISO's all the same."""
    sound = ffmpeg.with_sound("sound.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", seconds=0.4)
    path = ffmpeg("deu.mkv", "-i", sound, "-c", "copy", "-metadata:s:a:0", "language=deu")
    plan = rewrite(path, out=f"out.{suffix}")
    assert ffmpeg.probe(plan.path, "-select_streams", "a:0", "-show_streams")["streams"][0]["tags"]["language"] == "deu"


def test_tags_without_a_place_are_announced(ffmpeg):
    path = ffmpeg.picture("clip.mkv", "-c:v", "libx264", "-metadata", "title=Pier", "-metadata", "PROJECT=42", seconds=0.2)
    plan = rewrite(path, out="out.mp4")
    assert told(plan, "no place for these tags: project.")
    assert not rewrite(path, out="out.mkv").notes


@pytest.mark.parametrize(("codec", "sound", "stays"), [("ffv1", "ac3", False), ("h264", "flac", False), ("h264", "mp2", True)])
def test_a_transport_stream_holds_what_players_know_there(ffmpeg, codec, sound, stays):
    """Its muxer takes anything, and what it does not know cannot be read again."""
    path = ffmpeg.with_sound("clip.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", sound, seconds=0.4)
    plan = rewrite(path, codec, "out.ts")
    assert (plan.path.suffix == ".ts") == stays
    assert [s["codec_name"] for s in ffmpeg.probe(plan.path, "-show_streams")["streams"]] == [codec, sound]
    assert told(plan, "not MPEG-TS: MPEG-TS cannot hold") != stays


# ---- time code


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
@pytest.mark.parametrize(
    ("rate", "code", "later"), [("25", "01:00:00:00", "01:00:02:00"), ("30000/1001", "01:00:00;00", "01:00:02;00")]
)
def test_a_part_has_the_time_code_of_its_own_first_frame(ffmpeg, suffix, rate, code, later):
    path = ffmpeg.picture(
        "tape.mov", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "5", "-timecode", code, seconds=3, rate=rate
    )
    assert tags(ffmpeg, rewrite(path, out=f"whole.{suffix}").path)["timecode"] == code
    assert tags(ffmpeg, rewrite(path, out=f"part.{suffix}", start=2).path)["timecode"] == later


# ---- shown another way


def _turned(ffmpeg, name: str, matrix: tuple[int, int, int, int]) -> Path:
    a, b, c, d = matrix
    path = ffmpeg.picture(name, "-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv444p", size="64x48", seconds=0.12)

    def edit(moov: Node) -> None:
        head = next(node for node in next(travelling.tracks(moov, b"vide")).walk() if node.kind == b"tkhd")
        across, down = (64 if a < 0 or c < 0 else 0), (48 if b < 0 or d < 0 else 0)
        numbers = (
            [value << 16 for value in (a, b)] + [0] + [value << 16 for value in (c, d)] + [0, across << 16, down << 16, 1 << 30]
        )
        head.body = head.body[:40] + struct.pack(">9i", *numbers) + head.body[76:]

    travelling.edit_moov(path, edit)
    return path


EIGHT = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("matrix", EIGHT)
def test_turned_and_mirrored_pictures_are_looked_at_as_they_are_shown(ffmpeg, matrix):
    """The ffmpeg program turns and mirrors by itself; `display_from_frame` must lead to the same places."""
    from iconface_video.session.clip import to_display
    from iconface_video.video.color import to_rgb

    path = _turned(ffmpeg, "turned.mov", matrix)
    with VideoReader(path) as reader:
        info, stored = reader.info, to_rgb(next(iter(reader.frames())))
    width, height = info.display_size
    command = ("-i", path, "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo")
    shown = np.frombuffer(ffmpeg("shown.rgb", *command).read_bytes(), np.uint8).reshape(height, width, 3).astype(int)
    for x, y in ((3, 4), (60, 7), (20, 41)):
        u, v = info.display_from_frame @ (x, y, 1)
        assert np.abs(shown[round(v), round(u)] - stored[y, x].astype(int)).max() < 12
    assert np.abs(to_display(stored, info.display_size, info.rotation, info.is_mirrored).astype(int) - shown).max() < 12


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_mirrors_arrive_or_are_announced(ffmpeg, suffix):
    path = _turned(ffmpeg, "mirror.mov", (-1, 0, 0, 1))
    plan = rewrite(path, out=f"out.{suffix}")
    assert told(plan, "mirrored for display, which Matroska (MKV) says in a way") == (suffix == "mkv")
    if suffix != "mkv":
        before, after = (
            ffmpeg.video_stream(name)["side_data_list"][0]["displaymatrix"].splitlines()[:3] for name in (path, plan.path)
        )
        assert after == before


# ---- side data that is not known


def test_side_data_that_pyav_does_not_know_is_no_error(ffmpeg, tmp_path):
    """A camera's Motion JPEG with EXIF in each picture."""
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    exif = picture.getexif()
    exif[271] = "Maker"
    picture.save(tmp_path / "one.jpg", exif=exif)
    path = ffmpeg("camera.avi", "-f", "image2", "-loop", "1", "-t", "0.2", "-i", tmp_path / "one.jpg", "-c", "copy")
    assert ffmpeg.times(rewrite(path).path) == ffmpeg.times(path)


def test_what_did_not_arrive_is_said(ffmpeg):
    """The finished file is opened again: a plan that promises more than the muxer wrote is found out."""
    from iconface_video.video.inventory import MasteringDisplay

    path = ffmpeg.picture("clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", seconds=0.2)
    with VideoReader(path) as reader:
        plan = plan_output(reader.info, path.with_name("out.ts"), FAST["hevc"], force=False)
        display = MasteringDisplay((Fraction(1, 3),) * 8, Fraction(1, 100), Fraction(1000))
        promised = replace(plan, side=replace(plan.side, mastering=display, light=(1000, 400), reel="R1", captions=True))
        with VideoWriter(promised, reader.info, FAST["hevc"]) as writer:
            for frame in reader.frames():
                writer.write(frame)
    assert promised.path.exists()
    assert "in the output the closed captions are missing" in writer.copying.damage
    assert "in the output the reel name is missing, not R1" in writer.copying.damage
