"""The same frames make the same file, to the byte, however many processors there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iconface_video.settings import EncodeSettings
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter


def encode(clip: Path, output: Path, codec: str) -> bytes:
    settings = EncodeSettings(codec=codec, preset="medium" if codec == "h264" else "ultrafast")
    with VideoReader(clip) as reader:
        plan = plan_output(reader.info, output, settings, force=True)
        with VideoWriter(plan, reader.info, settings) as writer:
            for frame in reader.frames():
                writer.write(frame)
    return output.read_bytes()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "h264"), ("a.mkv", "h264"), ("a.ts", "h264"), ("a.mp4", "hevc"), ("a.mov", "prores"), ("a.mkv", "ffv1")],
)
def test_the_same_frames_make_the_same_file(name, codec, face_clip, tmp_path):
    first = encode(face_clip, tmp_path / name, codec)
    if not hasattr(os, "sched_setaffinity"):
        assert encode(face_clip, tmp_path / name, codec) == first
        return
    processors = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(processors)})
        assert encode(face_clip, tmp_path / name, codec) == first
    finally:
        os.sched_setaffinity(0, processors)
