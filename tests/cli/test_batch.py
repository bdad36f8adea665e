"""`batch` on the command line: exit codes, what is printed, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from iconface_video.cli.main import main

QUICK = ["--strength", "0", "--encoder-preset", "ultrafast"]


@pytest.fixture
def tapes(empty_clip, tmp_path) -> Path:
    folder = tmp_path / "tapes"
    folder.mkdir()
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(empty_clip, folder / name)
    return folder


def test_all_is_well_then_one_fails_then_nothing_is_found(tapes, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["batch", str(tapes), "-o", str(out), *QUICK]) == 0
    shown = capsys.readouterr()
    assert "2 files: 2 restored" in shown.out
    assert "[2/2]" in shown.err
    (tapes / "aaa.mp4").write_text("text")
    assert main(["batch", str(tapes), "-o", str(out), *QUICK, "--json"]) == 1
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert [item["state"] for item in told["files"]] == ["failed", "skipped", "skipped"]
    assert told["failed"] == 1
    events = [json.loads(line) for line in shown.err.splitlines()]
    assert {event["event"] for event in events} <= {"file", "progress"}
    assert main(["batch", str(tmp_path / "none"), "-o", str(out), *QUICK]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_done_and_what_lies_below(tapes, tmp_path, capsys):
    (tapes / "below").mkdir()
    shutil.copy(tapes / "one.mp4", tapes / "below" / "three.mp4")
    assert main(["batch", str(tapes), "-o", str(tmp_path / "out"), *QUICK, "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "a video in folders below it left out; --recursive takes them" in shown.err
    assert "2 files: 2 planned. Nothing was written." in shown.out
    assert main(["batch", str(tapes), "-o", str(tmp_path / "out"), *QUICK, "--dry-run", "--recursive"]) == 0
    shown = capsys.readouterr()
    assert "below" not in shown.err.replace("below/three.mp4", "")
    assert "3 files: 3 planned" in shown.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "suffix"), [("x.m4v", ".mp4"), ("x.m2ts", ".ts"), ("x.avi", ".mp4")])
def test_a_preview_has_the_suffix_of_the_run(name, suffix, empty_clip, tmp_path, capsys):
    path = tmp_path / name
    kind = {".m4v": "mp4", ".m2ts": "mpegts", ".avi": "avi"}[path.suffix]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(empty_clip), "-an", "-c:v", "mpeg4", "-f", kind, str(path)], check=True)
    for preview in ([], ["--preview", "1"]):
        assert main(["run", str(path), *preview, "--dry-run", *QUICK]) == 0
        kind = "preview" if preview else "restored"
        shown = capsys.readouterr().out
        assert str(tmp_path / f"x.{kind}{suffix}") in shown
        assert "frames, 0 faces to restore" in shown


def test_wrong_use_is_told_before_anything_is_made(tapes, tmp_path, capsys):
    assert main(["batch", str(tapes), "-o", str(tmp_path / "out"), "--preset", "famly"]) == 2
    assert "Did you mean 'family'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert main(["batch", str(tapes), "-o", str(tmp_path / "file"), *QUICK]) == 2
    assert "cannot be made into a folder" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_interrupted_what_is_finished_stays(tapes, face_clip, tmp_path):
    command = ["ffmpeg", "-v", "error", "-stream_loop", "119", "-i", str(face_clip), "-c", "copy", str(tapes / "zz-long.mp4")]
    subprocess.run(command, check=True)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "iconface_video",
        "batch",
        str(tapes),
        "-o",
        str(out),
        "--json",
        *QUICK[:2],
        "--encoder-preset",
        "slow",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("file") == 2 and event.get("stage") == "render" and list(out.glob(".*.partial")):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        code = process.wait(timeout=60)
    assert code == 130, rest
    assert "error: stopped; 2 of 3 files are finished and stay" in rest
    assert "Traceback" not in rest
    assert sorted(path.name for path in out.glob("*.mp4")) == ["one.restored.mp4", "two.restored.mp4"]
    assert not list(out.glob(".*"))
    assert (out / "batch.csv").read_text().count(",restored,") == 2
