"""Every refusal: one sentence on stderr, exit code 2, nothing written."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.cli.main import main


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str | Path) -> str:
    """The sentence, after checking the exit code, that there is no traceback and that no file appeared in `folder`."""
    before = sorted(folder.rglob("*"))
    code = main([str(item) for item in arguments])
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before
    return captured.err


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-loglevel", "error", "-nostdin", *map(str, arguments)], check=True)


def make_nothing(path: Path, clip: Path) -> None:
    pass


def make_empty(path: Path, clip: Path) -> None:
    path.touch()


def make_text(path: Path, clip: Path) -> None:
    path.write_text("this is no video\n" * 100)


def make_directory(path: Path, clip: Path) -> None:
    path.mkdir()


def make_truncated(path: Path, clip: Path) -> None:
    """The index (moov) stands at the end of the file and is lost."""
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])


def make_audio(path: Path, clip: Path) -> None:
    ffmpeg("-i", clip, "-vn", "-c", "copy", "-f", "mp4", path)


def make_image(path: Path, clip: Path) -> None:
    ffmpeg("-i", clip, "-frames:v", "1", "-f", "image2", "-c:v", "png", path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_nothing, r"there is no such video"),
        (make_empty, r"empty"),
        (make_text, r"text"),
        (make_directory, r"(directory|folder)"),
        (make_truncated, r"(truncated|incomplete|cut off|index)"),
        (make_audio, r"no video|only (audio|sound)|no picture"),
        (make_image, r"(picture|image)"),
    ],
)
@pytest.mark.parametrize("command", ["run", "probe"])
def test_what_is_no_video_is_refused_by_name(make, sentence, command, face_clip, tmp_path, capsys):
    path = tmp_path / "input.mp4"
    make(path, face_clip)
    message = refused(capsys, tmp_path, command, path)
    assert str(path) in message
    assert re.search(sentence, message, re.IGNORECASE), message


def test_reference_without_a_face(face_clip, tmp_path, capsys):
    photo = tmp_path / "wall.png"
    cv2.imwrite(str(photo), np.full((200, 300, 3), 128, np.uint8))
    message = refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "out.mp4", "--reference", photo)
    assert "wall.png" in message
    assert "no face" in message


def test_missing_reference_names_the_nearest_file(face_clip, tmp_path, capsys):
    (tmp_path / "anna.jpg").touch()
    message = refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "out.mp4", "--reference", tmp_path / "ana.jpg")
    assert "there is no such reference photo" in message
    assert "Did you mean 'anna.jpg'?" in message


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_write_permission(face_clip, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert "cannot write" in refused(capsys, tmp_path, "run", face_clip, "-o", locked / "out.mp4")


def test_output_below_a_file(face_clip, tmp_path, capsys):
    """A folder that nobody can write into, not even root."""
    (tmp_path / "file").touch()
    message = refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "file" / "out.mp4")
    assert str(tmp_path / "file") in message


def test_missing_output_folder(face_clip, tmp_path, capsys):
    message = refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "nowhere" / "out.mp4")
    assert "nowhere does not exist" in message


def test_existing_output_needs_force(face_clip, tmp_path, capsys):
    (tmp_path / "out.mp4").write_bytes(b"precious")
    assert "--force" in refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--strenght", "1"], "No such option: --strenght. Did you mean '--strength'?"),
        (["--strength", "1.4"], "strength is 1.4, must be within [0.0, 1.0]"),
        (["--codec", "h265"], "codec is 'h265', must be one of h264, hevc, prores, ffv1"),
        (["--preset", "famly"], "there is no preset 'famly'. Did you mean 'family'?"),
        (["--person", "anna"], "--person is 'anna', must be NAME=FOLDER"),
        (["--start", "1:75"], "'1:75' is no time"),
        (["--start", "soon"], "'soon' is no time"),
        (["--preview", "2", "--end", "3"], "--preview and --end cannot be given together"),
    ],
)
def test_wrong_options_say_what_is_right(arguments, sentence, face_clip, tmp_path, capsys):
    assert sentence in refused(capsys, tmp_path, "run", face_clip, *arguments)


def test_mistyped_command_names_the_nearest(tmp_path, capsys):
    assert "Did you mean 'probe'?" in refused(capsys, tmp_path, "prob", "x.mp4")


def test_mistyped_person_folder_names_the_nearest(face_clip, tmp_path, capsys):
    (tmp_path / "anna").mkdir()
    message = refused(capsys, tmp_path, "run", face_clip, "--person", f"anna={tmp_path / 'ana'}")
    assert "Did you mean 'anna'?" in message


def test_render_from_a_folder_that_is_no_store(tmp_path, capsys):
    assert main(["render", str(tmp_path)]) in (1, 2)
    assert str(tmp_path) in capsys.readouterr().err


def test_a_photo_is_never_written_over_by_its_output(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link.png").hardlink_to(tmp_path / "a.png")
    for out in ("a.png", "b.png", "link.png"):
        words = ["image", str(tmp_path / "a.png"), "-r", str(tmp_path / "b.png"), "-o", str(tmp_path / out), "--force"]
        assert main(words) == 2
        assert "the output would overwrite an input" in capsys.readouterr().err
    assert (tmp_path / "b.png").read_text() == "b.png"
