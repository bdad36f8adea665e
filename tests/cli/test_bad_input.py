"""Every refusal: one sentence on stderr, exit code 2, nothing written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import iconface_video
from iconface_video.cli.display import spelled
from iconface_video.cli.main import main
from iconface_video.errors import UsageError
from iconface_video.pipelines.restore import restore_video


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


LATE = [
    (["--device", "xyz"], "device is 'xyz', must be auto, cpu, cuda"),
    (["--device", "cuda:99"], "device 'cuda:99' is not there"),
    (["--device", "cpu,cpu", "--engine", "local"], "the local engine uses one device"),
    (["--model", "no/model"], "write hub:no/model"),
    (["--vae-tiling"], "has no latent autoencoder: leave --vae-tiling out"),
    (["--crop-size", "100"], "takes multiples of 16 px, such as 96 or 112"),
    (["--dtype", "float16"], "was tested with float32"),
    (["--max-memory", "0"], "max_memory is '0'"),
    (["--max-memory", "nan"], "max_memory is 'nan'"),
    (["--work", "/etc"], "/etc"),
    (["--start", "5", "--end", "2"], "does not lie after"),
    (["--start", "9999"], "lies beyond its end"),
]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(("arguments", "sentence"), LATE)
def test_what_cannot_work_is_found_before_any_work(arguments, sentence, dry, face_clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "iconface_video.session.clip_faces.run_survey", lambda *given, **named: pytest.fail("the survey was run")
    )
    options = [*arguments, *(["--dry-run"] if dry else [])]
    assert sentence in refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "out.mp4", *options)


def test_settings_are_checked_without_torch():
    code = (
        "import sys; from iconface_video.session.checks import check_settings; from iconface_video.settings import RunSettings; "
        "check_settings(RunSettings()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_dry_run_reads_the_people_file(face_clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("iconface_video.pipelines.estimate.estimate_run", lambda *given: None)
    video = tmp_path / "clip.mp4"
    video.write_bytes(face_clip.read_bytes())
    assert main(["people", str(video), "--detection-size", "256", "--quiet"]) == 0
    file = tmp_path / "clip.people" / "people.yaml"
    assert main(["run", str(video), "--people", str(file), "--detection-size", "256", "--dry-run"]) == 0
    capsys.readouterr()
    text = file.read_text()
    file.write_text(re.sub(r"(?m)^( +)same_as:.*", r"\1same_as: nobody", text, count=1))
    message = refused(capsys, tmp_path, "run", video, "--people", file, "--detection-size", "256", "--dry-run")
    assert "nobody" in message


def test_an_animated_webp_is_named(tmp_path, capsys):
    path = tmp_path / "wave.webp"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=60x40:r=5:d=1", "-c:v", "libwebp", "-f", "webp", path)
    message = refused(capsys, tmp_path, "run", path)
    assert "animated WebP" in message
    assert "single image" not in message


def test_a_photo_given_to_run_is_sent_to_image(astronaut_png, tmp_path, capsys):
    assert "`iconface-video image` restores a photo" in refused(capsys, tmp_path, "run", astronaut_png)


def test_an_encrypted_film_is_not_called_damaged(face_clip, tmp_path, capsys):
    path = tmp_path / "locked.mp4"
    scheme = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0" * 32, "-encryption_kid", "1" * 32]
    ffmpeg("-i", face_clip, "-an", "-c", "copy", *scheme, path)
    message = refused(capsys, tmp_path, "probe", path)
    assert "encrypted" in message
    assert "damaged" not in message


def test_a_title_that_sounds_encrypted_is_only_a_title(face_clip, tmp_path):
    path = tmp_path / "titled.mp4"
    ffmpeg("-i", face_clip, "-an", "-c", "copy", "-metadata", "title=encv", path)
    assert main(["probe", str(path)]) == 0


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_heic_photos_are_named(face_clip, tmp_path, capsys):
    (tmp_path / "anna").mkdir()
    photo = tmp_path / "anna" / "a.HEIC"
    photo.write_bytes(HEIC)
    for options in (["--person", f"anna={tmp_path / 'anna'}"], ["--reference", photo]):
        message = refused(capsys, tmp_path, "run", face_clip, "-o", tmp_path / "out.mp4", *options, "--dry-run")
        assert "HEIC" in message
        assert "JPEG" in message
    assert "HEIC" in refused(capsys, tmp_path, "run", photo)


def test_a_video_for_a_command_is_sent_to_run(tmp_path, capsys):
    assert "Did you mean 'run two.mp4'?" in refused(capsys, tmp_path, "two.mp4")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device")
def test_a_device_is_no_output(face_clip, tmp_path, capsys):
    message = refused(capsys, tmp_path, "run", face_clip, "-o", "/dev/null")
    assert "/dev/null: not a file but a device" in message


def test_yaml_of_brackets_is_refused_in_words(face_clip, tmp_path, capsys):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 5000)
    for options in (["--people", path], ["--preset", path]):
        assert "nested far too deep" in refused(capsys, tmp_path, "run", face_clip, *options, "--dry-run")


def test_help_loses_no_brackets(capsys):
    assert main(["serve", "--help"]) == 0
    assert "iconface-video[web]" in "".join(capsys.readouterr().out.split())


def test_the_library_names_its_arguments_and_the_command_its_options(face_clip, tmp_path, capsys):
    options = ["run", face_clip, "-o", tmp_path / "out.mp4", "--dry-run"]
    late = refused(capsys, tmp_path, *options, "--start", "9999")
    assert "--start 9999 s lies beyond its end" in late
    assert "`" not in late
    with pytest.raises(UsageError, match="`start` 9999 s lies beyond its end") as caught:
        restore_video(face_clip, tmp_path / "out.mp4", start=Fraction(9999))
    assert "--" not in str(caught.value)
    assert (
        spelled("see `max_memory`, `iconface-video people` and `nothing`")
        == "see --max-memory, `iconface-video people` and `nothing`"
    )


def test_no_module_of_the_run_names_an_option():
    """But for the program's own commands and other programs' options."""
    root = Path(iconface_video.__file__).parent
    named = re.compile(r"(?<![\w-])--(?:start|end|force|fresh|work|output|max-memory|codec|hardware|batch|min-similarity)\b")
    for room in ("run", "video", "restore", "identity"):
        for path in (root / room).rglob("*.py"):
            text = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not named.search(text), path
