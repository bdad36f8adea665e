"""The input is exchanged or written to: between two runs, or while a run reads it. Faces never land in another picture."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from iconface_video.errors import InputError, OutputError
from iconface_video.pipelines.compare import CompareRequest, compare_videos
from iconface_video.pipelines.render import render_store
from iconface_video.settings import EncodeSettings
from tests.conftest import ffmpeg
from tests.pipelines.conftest import face_clip, portrait  # noqa: F401 - fixtures
from tests.session.test_resume import Run


@pytest.fixture(scope="module")
def other_clip(face_clip, tmp_path_factory) -> Path:  # noqa: F811
    """The same film mirrored."""
    path = tmp_path_factory.mktemp("other") / "other.mkv"
    ffmpeg("-i", face_clip, "-vf", "hflip", "-c:v", "ffv1", path)
    return path


@pytest.fixture
def tape(face_clip, tmp_path) -> Path:  # noqa: F811
    return Path(shutil.copy(face_clip, tmp_path / f"tape{face_clip.suffix}"))


@pytest.fixture(scope="module")
def undisturbed(face_clip, tmp_path_factory) -> bytes:  # noqa: F811
    return Run(face_clip, tmp_path_factory.mktemp("whole") / "out.mp4").bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Once:
    """Does something the first time that a stage has come so far."""

    def __init__(self, stage: str, act) -> None:
        self._stage, self._act = stage, act

    def __call__(self, event) -> bool:
        if self._act is not None and event.stage == self._stage and event.done >= min(event.total or 5, 5):
            act, self._act = self._act, None
            act()
        return False


@pytest.mark.parametrize("stage", ["survey", "anchors", "restore", "render"])
def test_another_file_in_the_inputs_place_is_seen_in_every_stage(stage, tape, other_clip, undisturbed, tmp_path):
    def exchange() -> None:
        shutil.copy(other_clip, tmp_path / "aside")
        os.replace(tape, tmp_path / "kept")
        os.replace(tmp_path / "aside", tape)

    with pytest.raises(InputError, match=r"tape\.\w+: changed while it was being read"):
        Run(tape, tmp_path / "out.mp4", stop=Once(stage, exchange))
    work = [] if stage == "survey" else ["out.mp4.iconface-work"]
    assert names(tmp_path) == sorted(["kept", tape.name, *work])
    os.replace(tmp_path / "kept", tape)
    assert Run(tape, tmp_path / "out.mp4").bytes == undisturbed  # nothing of the other film was kept as this one's


def test_a_recording_that_still_grows_is_not_taken(face_clip, tmp_path):  # noqa: F811
    tape = tmp_path / "tape.ts"
    ffmpeg("-i", face_clip, "-c:v", "mpeg2video", "-q:v", "2", "-f", "mpegts", tape)
    more = tape.read_bytes()

    def grow() -> None:
        with open(tape, "ab") as file:
            file.write(more)

    with pytest.raises(InputError, match="it was written to; its size went from"):
        Run(tape, tmp_path / "out.mp4", stop=Once("survey", grow))
    assert names(tmp_path) == ["tape.ts"]


def test_a_file_that_is_only_touched_is_the_same_file(tape, undisturbed, tmp_path):
    run = Run(tape, tmp_path / "out.mp4", stop=Once("restore", lambda: os.utime(tape)))
    assert run.bytes == undisturbed


def test_bytes_replaced_between_those_that_were_sampled_make_another_input(face_clip, tmp_path):  # noqa: F811
    """Same path, size and date; first, middle and last megabyte as before."""
    tape = tmp_path / "tape.avi"
    ffmpeg("-i", face_clip, "-an", "-c:v", "rawvideo", "-pix_fmt", "bgr24", tape)
    data, dates = bytearray(tape.read_bytes()), tape.stat()
    assert len(data) > 3_400_000
    with pytest.raises(InputError):
        Run(tape, tmp_path / "out.mp4", stop=Once("render", lambda: tape.rename(tmp_path / "gone")))
    place = slice((1 << 20) + 1000, (3 << 19) + 1000)
    data[place] = bytes(255 - value for value in data[place])
    tape.write_bytes(data)
    os.utime(tape, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    again = Run(tape, tmp_path / "out.mp4")
    assert "survey" in again.stages
    assert again.model.faces > 0
    assert any("is not used: changed input" in note for note in again.report.notes)


def test_kept_faces_are_spared_and_never_land_in_another_video(tape, other_clip, tmp_path):
    run = Run(tape, tmp_path / "out.mp4", keep_work=True)
    kept = sorted((run.report.work / "crops").glob("*.crops"))
    with pytest.raises(OutputError, match="keeps the faces of another video"):
        Run(other_clip, tmp_path / "other.mp4", work=run.report.work)
    assert all(path.is_file() for path in kept)
    moved = tape.rename(tmp_path / f"moved{tape.suffix}")
    render_store(run.report.work, tmp_path / "same.mp4", input=moved, encode=EncodeSettings(preset="superfast"))
    shutil.copy(other_clip, tape)
    with pytest.raises(InputError, match=r"is not the video that .* was made from"):
        render_store(run.report.work, tmp_path / "mixed.mp4")
    assert not (tmp_path / "mixed.mp4").exists()


@pytest.mark.parametrize("which", [0, 1])
def test_compare_notices_it_too(which, tape, other_clip, tmp_path):
    other = Path(shutil.copy(other_clip, tmp_path / "other.mkv"))
    changing = (tape, other)[which]

    def write() -> None:
        with open(changing, "ab") as file:
            file.write(b"more")

    with pytest.raises(InputError, match="changed while it was being read"):
        compare_videos(CompareRequest(tape, other), tmp_path / "side.mp4", on_progress=Once("render", write))
    assert names(tmp_path) == sorted(["other.mkv", tape.name])
