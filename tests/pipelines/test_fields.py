"""Interlaced films through the whole recipe: a master stays a master, and a run that was stopped goes on to the same bytes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.errors import Cancelled
from iconface_video.pipelines.render import render_store
from iconface_video.pipelines.restore import restore_video
from iconface_video.restore.crop_store import STORE_FILE, CropStore, read_header
from iconface_video.session.restoring import KeptFaces
from iconface_video.settings import EncodeSettings, ReadSettings, RenderSettings, RestoreSettings, RunSettings, SurveySettings
from iconface_video.types import Frame
from iconface_video.video.probe import probe
from iconface_video.video.reader import VideoReader
from tests.conftest import ffmpeg
from tests.pipelines.conftest import Sharpener, grey_embed

FIELDS, MODES = 30, ("keep", "double", "half", "weave")
SETTINGS = RunSettings(
    survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
    restore=RestoreSettings(batch=4, segment_seconds=0.2, crop_size=64),
    encode=EncodeSettings(codec="ffv1", encoder_threads=1),
)


def interlaced(portrait: Path, path: Path, order: str, *encoder: str, size: str) -> Path:
    """The portrait drifts; each picture of it gives one field, shown for 1/50 s. With a tone."""
    drift = f"scale=480:480,crop=300:240:'2*n':'20+n',scale={size},interlace=scan={order}:lowpass=off"
    seconds = str(FIELDS / 50)
    ffmpeg("-loop", "1", "-framerate", "50", "-t", seconds, "-i", portrait,
           "-f", "lavfi", "-t", seconds, "-i", "sine=frequency=440:sample_rate=48000", "-vf", drift, *encoder,
           "-c:a", "pcm_s16le" if path.suffix == ".avi" else "mp2", path)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def clips(astronaut_png, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tapes")
    mpeg2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-g", "6", "-pix_fmt", "yuv420p", "-top", "1")
    return {
        "MPEG-2": interlaced(astronaut_png, folder / "top.mpg", "tff", *mpeg2, size="320:256"),
        "DV": interlaced(astronaut_png, folder / "bottom.avi", "bff", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", size="720:576"),
    }


def restored(clip: Path, output: Path, mode: str, stop=lambda event: False, settings: RunSettings = SETTINGS, **options):
    """The report; stopped (Cancelled) as soon as `stop` says so of a progress event."""
    told = []

    def on_progress(event) -> None:
        told.append(stop(event))

    settings = replace(settings, read=ReadSettings(mode))
    return restore_video(
        clip, output, settings=settings, model=Sharpener(), embed=grey_embed, on_progress=on_progress,
        should_stop=lambda: any(told), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(clips, tmp_path_factory):
    """Reports of runs with kept fields."""
    folder = tmp_path_factory.mktemp("kept")
    return {name: restored(clip, folder / f"{clip.stem}.mkv", "keep", keep_work=True) for name, clip in clips.items()}


def probed(path: Path) -> tuple[str, list[tuple[int, int]]]:
    """ffprobe's field order of the stream, and (interlaced, top field first) of each frame."""
    entries = "stream=field_order:frame=interlaced_frame,top_field_first"
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    flags = [(frame["interlaced_frame"], frame["top_field_first"]) for frame in found["frames"]]
    return found["streams"][0].get("field_order", "unknown"), flags


def frames(path: Path) -> list[Frame]:
    return list(VideoReader(path, ReadSettings("weave")).frames())


def reached(report, film: Frame, parity: int, plane: int) -> np.ndarray:
    """Where the crops of one of a frame's fields lie in a plane, with a margin: bool."""
    header = read_header(report.work / "crops")
    store = CropStore(report.work / "crops", header.segments)
    scan_first = KeptFaces.read(report.work).scan.is_top_first
    is_second = (parity == 0) != scan_first
    step = round(Fraction(1, 50) / (film.time_base / 2))
    shape = film.planes[plane].shape
    found = np.zeros(shape, np.uint8)
    scale = np.array([shape[1] / film.width, shape[0] / film.height])
    for crop in store.at(2 * film.pts + step * is_second):
        corners = np.float64([(0, 0), (crop.size, 0), (crop.size, crop.size), (0, crop.size)])
        at = cv2.transform(corners[None], cv2.invertAffineTransform(crop.crop_from_frame))[0] * scale
        cv2.fillConvexPoly(found, np.rint(at).astype(np.int32), 1)
    return cv2.dilate(found, np.ones((5, 5), np.uint8)).astype(bool)


@pytest.mark.parametrize("name", ["MPEG-2", "DV"])
def test_a_master_stays_a_master(name, clips, kept):
    report, clip = kept[name], clips[name]
    before, after = frames(clip), frames(report.output)
    assert len(before) == len(after) == FIELDS // 2
    changed_lines = [0, 0]
    for old, new in zip(before, after):
        for plane, (was, now) in enumerate(zip(old.planes, new.planes)):
            changed = was != now
            for parity in (0, 1):
                lines = changed[parity::2]
                assert not lines[~reached(report, old, parity, plane)[parity::2]].any()
                changed_lines[parity] += int(lines.sum())
    assert min(changed_lines) > 1000
    _, flags = probed(clip)
    found_order, found_flags = probed(report.output)
    assert found_flags == flags == [(1, int(name == "MPEG-2"))] * len(flags)
    assert found_order[0] == ("t" if name == "MPEG-2" else "b")


def test_each_field_has_faces_of_its_own(clips, kept):
    report = kept["MPEG-2"]
    assert report.frames == FIELDS
    assert report.faces_restored >= FIELDS - 2
    assert len({segment.first_pts for segment in read_header(report.work / "crops").segments}) == 3


@pytest.mark.parametrize("mode", MODES)
def test_stopped_it_goes_on_to_the_same_bytes(mode, clips, kept, tmp_path):
    clip, output = clips["MPEG-2"], tmp_path / "out.mkv"
    undisturbed = kept["MPEG-2"] if mode == "keep" else restored(clip, tmp_path / "whole.mkv", mode)
    with pytest.raises(Cancelled):
        restored(clip, output, mode, stop=lambda event: event.stage == "restore" and event.done >= 9)
    assert restored(clip, output, mode).output.read_bytes() == undisturbed.output.read_bytes()


def test_where_segments_are_cut_changes_nothing(clips, kept, tmp_path):
    """Also in the middle of a frame, between its fields."""
    whole = replace(SETTINGS, restore=replace(SETTINGS.restore, segment_seconds=60.0))
    odd = replace(SETTINGS, restore=replace(SETTINGS.restore, segment_seconds=0.13))
    outputs = [restored(clips["MPEG-2"], tmp_path / f"{n}.mkv", "keep", settings=s).output for n, s in enumerate((whole, odd))]
    expected = frames(kept["MPEG-2"].output)
    for output in outputs:
        for frame, other in zip(frames(output), expected, strict=True):
            assert all(np.array_equal(*planes) for planes in zip(frame.planes, other.planes))


def test_rendered_again_from_the_kept_faces_it_is_the_same(kept, tmp_path):
    report = kept["DV"]
    again = render_store(report.work, tmp_path / "again.mkv", encode=SETTINGS.encode)
    for frame, other in zip(frames(again.output), frames(report.output), strict=True):
        assert all(np.array_equal(*planes) for planes in zip(frame.planes, other.planes))


def test_doubled_it_has_a_frame_for_each_field(clips, tmp_path):
    report = restored(clips["MPEG-2"], tmp_path / "out.mp4", "double")
    found = list(VideoReader(report.output).frames())
    begin = found[0].timestamp.seconds
    assert [frame.timestamp.seconds - begin for frame in found] == [Fraction(n, 50) for n in range(FIELDS)]
    order, flags = probed(report.output)
    assert (order, set(flags)) == ("progressive", {(0, 0)})
    assert begin == VideoReader(clips["MPEG-2"]).film.first_pts * probe(clips["MPEG-2"]).time_base


def test_a_part_begins_and_ends_with_whole_frames(clips, tmp_path):
    between = {"start": Fraction(11, 100), "end": Fraction(31, 100)}  # both between the fields of a frame
    report = restored(clips["DV"], tmp_path / "out.mkv", "keep", **between)
    assert report.frames == 10
    assert len(frames(report.output)) == 5


def test_the_earlier_name_works_and_is_told(clips, tmp_path):
    idle = replace(SETTINGS, read=ReadSettings(deinterlace="off"), render=RenderSettings(strength=0.0))
    report = restore_video(clips["MPEG-2"], tmp_path / "out.mkv", settings=idle, model=Sharpener(), embed=grey_embed)
    assert "`deinterlace` is called `fields` now: 'off' is 'weave'. The earlier name still works." in report.notes
    assert report.frames == FIELDS // 2


def test_what_earlier_versions_kept_is_still_read(kept, clips, tmp_path):
    """A store whose header says `deinterlace`: its fields were never asked for."""
    header = tmp_path / "crops" / STORE_FILE
    header.parent.mkdir()
    content = json.loads((kept["DV"].work / "crops" / STORE_FILE).read_text())
    del content["facts"]["fields"], content["facts"]["scan"]
    film = probe(clips["DV"])
    for said, meant in (("auto", "half"), ("on", "half"), ("off", "weave")):
        content["facts"]["deinterlace"] = said
        header.write_text(json.dumps(content))
        assert KeptFaces.read(tmp_path).read_settings(film) == ReadSettings(meant)
        assert KeptFaces.read(tmp_path).scan is None
    assert KeptFaces.read(tmp_path).read_settings(replace(film, field_order="progressive")) == ReadSettings("weave")
