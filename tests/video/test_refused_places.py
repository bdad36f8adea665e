"""Files, places and times that hold no video, or can hold none: refused by name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from iconface_video.errors import DecodeError, EncodeError, InputError, OutputError, UsageError, VideoOpenError
from iconface_video.settings import EncodeSettings, ReadSettings
from iconface_video.video.container import check_input_file, check_picture_size
from iconface_video.video.encoders import _formats
from iconface_video.video.output_plan import plan_output
from iconface_video.video.probe import probe
from iconface_video.video.random_access import RandomAccess

TAPE = Path(__file__).parents[2] / "samples" / "tape.mp4"
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def test_an_encoder_that_this_ffmpeg_has_not() -> None:
    with pytest.raises(EncodeError, match="has no encoder 'libx999'; choose another `codec`"):
        _formats("libx999")


@needs_pipes
def test_a_pipe_is_no_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"pipe\.mp4: not a regular file but a pipe, socket or device"):
        check_input_file(tmp_path / "pipe.mp4")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices here")
def test_a_device_is_no_output() -> None:
    with pytest.raises(OutputError, match=r"/dev/null: not a file but a device, pipe or socket\. Name a file; a dry run"):
        plan_output(probe(TAPE), Path("/dev/null"), EncodeSettings(), force=True)


@needs_pipes
def test_a_pipe_is_no_output(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.mp4")
    with pytest.raises(OutputError, match=r"out\.mp4: not a file but a device, pipe or socket"):
        plan_output(probe(TAPE), tmp_path / "out.mp4", EncodeSettings(), force=True)


def test_a_name_that_leaves_no_room_for_what_is_written_beside_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="this name is too long for what is written beside it while working"):
        plan_output(probe(TAPE), tmp_path / f"{'a' * 250}.mp4", EncodeSettings(), force=False)


@pytest.mark.parametrize("name", ["out.avi", "out.gif", "out.txt"])
def test_a_kind_of_file_that_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises((OutputError, UsageError), match=rf"{name}"):
        plan_output(probe(TAPE), tmp_path / name, EncodeSettings(), force=False)


def test_an_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        plan_output(probe(TAPE), tmp_path / "file" / "out.mp4", EncodeSettings(), force=False)


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31, 2)], ids=["wide and high", "wide"])
def test_a_picture_larger_than_any_film(size: tuple[int, int]) -> None:
    with pytest.raises(VideoOpenError, match=rf"its header claims pictures of {size[0]}x{size[1]} px"):
        check_picture_size(TAPE, *size)


def test_a_time_after_the_clip_when_it_is_read_frame_by_frame() -> None:
    access = RandomAccess(TAPE, ReadSettings(), allow_decord=False)
    end = access.info.first_pts + int(10_000 / access.info.time_base)
    with pytest.raises(DecodeError, match=rf"no frame at or after PTS {end}; the clip ends before\. Ask for an earlier time"):
        access.frame_at(end)
    assert access.frame_at(access.info.first_pts).pts == access.info.first_pts


def test_an_input_that_is_the_output(tmp_path: Path) -> None:
    own = tmp_path / "tape.mp4"
    own.write_bytes(TAPE.read_bytes())
    with pytest.raises(OutputError, match=r"tape\.mp4: .*input"):
        plan_output(replace(probe(own), path=own), own, EncodeSettings(), force=True)
