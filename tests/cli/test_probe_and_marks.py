"""`probe`, and the mark that says a generative model restored the faces."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from iconface_video.cli.main import main
from iconface_video.session.fingerprint import read_restoration_marks, restoration_mark

FACTS = {"model": "embedded", "seed": 42, "strength": 0.8}


def test_probe_tells_what_ffprobe_tells(face_clip, capsys):
    assert main(["probe", "--json", str(face_clip)]) == 0
    told = json.loads(capsys.readouterr().out)
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(face_clip)]
    truth = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    video, audio = truth["streams"]
    assert (told["width"], told["height"]) == (video["width"], video["height"])
    assert told["pix_fmt"] == video["pix_fmt"]
    assert told["average_rate"] == video["avg_frame_rate"].removesuffix("/1")
    assert told["frame_count_declared"] == int(video["nb_frames"])
    assert [(item["kind"], item["codec"]) for item in told["streams"]] == [("audio", audio["codec_name"])]
    assert told["restorations"] == []


def test_probe_prints_a_table(face_clip, capsys):
    assert main(["probe", str(face_clip)]) == 0
    shown = capsys.readouterr().out
    assert "320x240" in shown
    assert "aac" in shown
    assert "restored" not in shown


def test_mark_is_read_back():
    assert read_restoration_marks(restoration_mark({}, FACTS))[0] | {"version": ""} == FACTS | {"version": ""}


def test_mark_keeps_the_comment_and_earlier_marks():
    once = restoration_mark({"title": "Summer", "COMMENT": "from tape 12"}, FACTS)
    assert once["COMMENT"].startswith("from tape 12\n")
    twice = restoration_mark(once, {**FACTS, "seed": 7})
    assert [mark["seed"] for mark in read_restoration_marks(twice)] == [42, 7]


def test_other_comments_are_no_marks():
    assert read_restoration_marks({"comment": "Faces in this video were restored by hand, {}"}) == []
    assert read_restoration_marks({}) == []


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_mark_survives_the_container(container, face_clip, tmp_path, capsys):
    """Written by ffmpeg, read by our probe."""
    path = tmp_path / f"marked.{container}"
    (text,) = restoration_mark({}, FACTS).values()
    command = ["ffmpeg", "-v", "error", "-i", str(face_clip), "-c", "copy", "-metadata", f"comment={text}", str(path)]
    subprocess.run(command, check=True)
    assert main(["probe", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "restored by a generative model" in shown
    assert "strength 0.8" in shown


def test_file_names_may_be_awkward(face_clip, tmp_path, capsys, monkeypatch):
    path = tmp_path / "-a 'très' \"odd\" name [b].mp4"
    path.write_bytes(Path(face_clip).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["probe", "--", path.name]) == 0
    assert path.name in capsys.readouterr().out
