"""Enlarged pictures: every sample where it belongs, the shape for display as it was, and what an encoder cannot hold refused."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from iconface_video.errors import UsageError
from iconface_video.settings import EncodeSettings, ReadSettings, RenderSettings
from iconface_video.types import ColorTags, Frame, VideoInfo
from iconface_video.video.color import coding_of
from iconface_video.video.enlarge import Enlarger
from iconface_video.video.output_size import enlarged, line_scale, plan_enlarged
from iconface_video.video.planes import layout_of
from iconface_video.video.probe import probe
from iconface_video.video.reader import VideoReader
from iconface_video.video.stream_header import side_data_of
from iconface_video.video.writer import VideoWriter
from tests.video.travelling import interlaced_sd

ANAMORPHIC = [Fraction(16, 15), Fraction(64, 45), Fraction(8, 9)]


def film(width: int, height: int, pix_fmt: str, **facts) -> VideoInfo:
    values = dict(
        path=Path("film"), container="matroska", codec="ffv1", width=width, height=height, pix_fmt=pix_fmt, time_base=Fraction(1, 25),
        average_rate=Fraction(25), is_vfr=False, first_pts=0, duration_seconds=1.0, frame_count_declared=None,
        sample_aspect_ratio=Fraction(1), rotation=0, color=ColorTags(), bit_depth=8, field_order="progressive",
    )  # fmt: skip
    return VideoInfo(**{**values, **facts})


def frame_of(info: VideoInfo, planes: tuple[np.ndarray, ...]) -> Frame:
    return Frame(0, info.time_base, 1, planes, info.pix_fmt, info.width, info.height, info.color, 0)


def waves(info: VideoInfo, factors: tuple[float, float] = (1.0, 1.0)) -> list[np.ndarray]:
    """A picture that is known at every place, as each plane samples it; enlarged by the factors."""
    layout = layout_of(info.pix_fmt)
    blank = frame_of(info, ())
    found = []
    for index in range(layout.plane_count):
        is_chroma = index in (1, 2) and not layout.is_rgb
        rows, columns = layout.plane_shape(index, info.width, info.height)
        shifts, sites = (layout.chroma_shift, coding_of(blank).siting) if is_chroma else ((0, 0), (0.0, 0.0))
        x, y = (
            ((np.arange(count) * (1 << shift) + site) + 0.5) / factor - 0.5
            for count, shift, site, factor in zip((columns, rows), shifts, sites, factors)
        )
        values = 0.5 + 0.22 * np.sin(x / 9 + index)[None, :] + 0.18 * np.sin(y / 7)[:, None]
        found.append(values * (2**layout.depth - 1))
    return found


@pytest.mark.parametrize(
    ("pix_fmt", "size", "scale"),
    [
        ("yuv420p", (160, 120), 2.0),
        ("yuv420p", (161, 121), 2.0),
        ("yuv422p", (161, 90), 1.5),
        ("yuv420p10le", (160, 121), 1.5),
        ("yuv411p", (161, 90), 2.0),
        ("yuv444p", (97, 61), 3.0),
        ("yuva420p", (160, 120), 2.0),
        ("gray16le", (97, 61), 4.0),
        ("gbrp", (97, 61), 2.0),
    ],
)
@pytest.mark.parametrize("location", [1, 2, 3])
def test_every_sample_lies_where_it_belongs(pix_fmt, size, scale, location):
    info = film(*size, pix_fmt, color=ColorTags(chroma_location=location))
    large = enlarged(info, RenderSettings(scale=scale))
    layout = layout_of(pix_fmt)
    source = tuple(np.rint(values).astype(layout.dtype) for values in waves(info))
    done = Enlarger(info, large)(frame_of(info, source))
    assert (done.width, done.height) == (large.width, large.height)
    for index, (plane, exact) in enumerate(zip(done.planes, waves(large, (large.width / size[0], large.height / size[1])))):
        assert plane.shape == layout.plane_shape(index, large.width, large.height)
        assert plane.dtype == source[index].dtype
        inner = (slice(12, -12), slice(12, -12))
        # A shift by a tenth of a sample would make more than 1 % of full scale here.
        assert np.abs(plane[inner] - exact[inner]).max() < 0.006 * 2**layout.depth


def test_flat_and_extreme_codes_stay():
    info = film(64, 48, "yuv420p")
    for code in (0, 16, 128, 255):
        planes = tuple(np.full(layout_of("yuv420p").plane_shape(i, 64, 48), code, np.uint8) for i in range(3))
        done = Enlarger(info, enlarged(info, RenderSettings(scale=1.7)))(frame_of(info, planes))
        assert all((plane == code).all() for plane in done.planes)


def test_a_scale_of_one_changes_nothing_at_all():
    info = film(721, 575, "yuv420p", sample_aspect_ratio=Fraction(1))
    assert enlarged(info, RenderSettings()) is info
    assert enlarged(info, RenderSettings(square_pixels=True)) is info
    assert line_scale(info, RenderSettings()) == 1.0


@pytest.mark.parametrize("shape", ANAMORPHIC)
@pytest.mark.parametrize("scale", [1.0, 1.3, 2.0])
def test_the_shape_for_display_stays(shape, scale):
    info = film(720, 576, "yuv420p", sample_aspect_ratio=shape)
    for square in (False, True):
        large = enlarged(info, RenderSettings(scale=scale, square_pixels=square))
        assert min(large.width / info.width, large.height / info.height) >= 1
        assert (large.width % 2, large.height % 2) == (0, 0)
        before = info.width * info.sample_aspect_ratio / info.height
        assert float(large.width * large.sample_aspect_ratio / large.height / before) == pytest.approx(1, abs=0.002)
        assert large.sample_aspect_ratio == (1 if square else shape)


def test_what_players_conclude_from_the_number_of_lines_is_said():
    double = RenderSettings(scale=2.0)
    assert enlarged(film(720, 576, "yuv420p"), double).color == ColorTags(space=6, primaries=5)
    assert enlarged(film(720, 480, "yuv420p"), double).color == ColorTags(space=6, primaries=6)
    assert enlarged(film(1280, 720, "yuv420p"), double).color == ColorTags(space=1)
    tagged = ColorTags(space=1, primaries=1, transfer=1)
    assert enlarged(film(720, 576, "yuv420p", color=tagged), double).color == tagged
    rgb = ColorTags(space=0)
    assert enlarged(film(720, 576, "gbrp", color=rgb), double).color == rgb


def test_a_turned_film_is_moved_by_as_many_more_px():
    matrix = (0, 65536, 0, -65536, 0, 0, 576 << 16, 0, 1 << 30)
    info = film(720, 576, "yuv420p", rotation=90, display_matrix=matrix)
    assert enlarged(info, RenderSettings(scale=2.0)).display_matrix[6] == 1152 << 16


def made(path: Path, shape: Fraction, *options: str, size: str = "720x576") -> Path:
    source = f"testsrc2=s={size}:d=0.12:r=25,setsar={shape.numerator}/{shape.denominator}"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, str(path)], check=True)
    return path


def written(source: Path, out: Path, render: RenderSettings, codec: str = "h264", read: ReadSettings | None = None) -> Path:
    settings = EncodeSettings(codec=codec, preset="ultrafast")
    with VideoReader(source, read) as reader:
        plan, large = plan_enlarged(reader.info, out, settings, render, force=True), enlarged(reader.info, render)
        enlarger = Enlarger(reader.info, large)
        with VideoWriter(plan, large, settings) as writer:
            for frame in reader.frames():
                writer.write(enlarger(frame))
        assert not writer.copying.damage
        return plan.path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("shape", ANAMORPHIC[:2])
@pytest.mark.parametrize("square", [False, True])
def test_players_are_told_the_shape(suffix, shape, square, tmp_path):
    source = made(tmp_path / "in.mp4", shape, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    path = written(source, tmp_path / f"out{suffix}", RenderSettings(scale=2.0, square_pixels=square))
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height,display_aspect_ratio,color_space",
         "-of", "csv=p=0", str(path)], check=True, capture_output=True, text=True,
    ).stdout.strip().split(",")  # fmt: skip
    width, height = int(said[0]), int(said[1])
    assert (width, height) == ((round(1440 * shape) if square else 1440), 1152)
    assert "smpte170m" in said
    across, down = map(int, next(part for part in said if ":" in part).split(":"))
    assert across / down == pytest.approx(float(720 * shape / 576), rel=0.002)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.width * (stream.sample_aspect_ratio or 1) / stream.height == pytest.approx(720 * shape / 576, rel=0.002)
        assert len(list(container.decode(video=0))) == 3


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "size"),
    [
        ("yuv422p10le", "ffv1", "321x243"),
        ("yuv420p", "ffv1", "321x243"),
        ("yuv420p10le", "hevc", "320x240"),
        ("yuv422p10le", "prores", "320x240"),
    ],
)
def test_formats_reach_the_file(pix_fmt, codec, size, tmp_path):
    source = made(tmp_path / "in.mkv", Fraction(1), "-c:v", "ffv1", "-pix_fmt", pix_fmt, size=size)
    path = written(source, tmp_path / "out.mkv", RenderSettings(scale=1.5), codec)
    found = probe(path)
    assert found.pix_fmt == pix_fmt
    assert abs(found.width - 1.5 * int(size[:3])) <= 1.5


def test_fields_stay_apart_and_first_is_first(tmp_path):
    """One field white, one black: enlarged, every line still is one or the other."""
    lines = "geq=lum='if(mod(Y,2),16,235)':cb=128:cr=128,setfield=tff,format=yuv420p"
    options = (
        "-vf",
        lines,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-crf",
        "0",
        "-flags",
        "+ilme+ildct",
        "-x264opts",
        "tff=1",
    )
    source = made(tmp_path / "in.mp4", Fraction(16, 15), *options, size="320x240")
    assert probe(source).field_order in ("tt", "tb")
    path = written(source, tmp_path / "out.mkv", RenderSettings(scale=2.0), "ffv1", ReadSettings(deinterlace="off"))
    with VideoReader(path, ReadSettings(deinterlace="off")) as reader:
        assert reader.info.field_order in ("tt", "tb")
        luma = next(reader.frames()).planes[0]
    assert (luma[0::2] == 235).all()
    assert (luma[1::2] == 16).all()


def test_captions_go_along(ffmpeg, tmp_path):
    """What hangs on a picture is copied to the larger one, with fields kept and with fields woven into one picture."""
    source = interlaced_sd(ffmpeg)
    for read in (ReadSettings(deinterlace="off"), ReadSettings()):
        path = written(source, tmp_path / "out.mp4", RenderSettings(scale=1.5), read=read)
        with av.open(str(path)) as container:
            assert any("A53_CC" in side_data_of(frame) for frame in container.decode(video=0))


def test_more_than_the_encoder_holds_is_refused_with_what_helps(tmp_path):
    info = film(8000, 4400, "yuv420p", path=tmp_path / "film.mkv")
    with pytest.raises(UsageError, match=r"32000x17600.*smaller `scale`"):
        plan_enlarged(info, tmp_path / "out.mkv", EncodeSettings(), RenderSettings(scale=4.0), force=True)
