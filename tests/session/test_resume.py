"""A run that was stopped goes on where it was, and what comes out is what an undisturbed run makes, to the bit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from iconface_video.errors import Cancelled, OutputError
from iconface_video.pipelines.restore import restore_video
from iconface_video.restore.crop_store import SegmentCrops
from iconface_video.session.journal import JOURNAL
from iconface_video.session.work import MARKER
from iconface_video.settings import EncodeSettings, RestoreSettings, RunSettings, SurveySettings
from tests.pipelines.conftest import Sharpener, face_clip, grey_embed, portrait  # noqa: F401 - fixtures

SEGMENTS = 4
SETTINGS = RunSettings(
    survey=SurveySettings(detection_size=256, min_track_seconds=0.1),
    restore=RestoreSettings(batch=4, segment_seconds=0.5),
    encode=EncodeSettings(codec="h264", preset="superfast"),
)


class Run:
    """One call of the recipe, remembered: what was asked of the model, which stages there were."""

    def __init__(self, clip: Path, output: Path, settings: RunSettings = SETTINGS, stop=lambda event: False, **options) -> None:
        self.model, self.stages, self.notes = Sharpener(), [], []
        self._wants_stop = False

        def on_progress(event) -> None:
            if event.done:
                self.stages.append(event.stage)
            self._wants_stop = self._wants_stop or stop(event)

        self.report = restore_video(
            clip, output, settings=settings, model=self.model, embed=grey_embed, on_progress=on_progress,
            should_stop=lambda: self._wants_stop, **options,
        )  # fmt: skip
        self.bytes = self.report.output.read_bytes()


@pytest.fixture(scope="module")
def undisturbed(face_clip, tmp_path_factory) -> Run:  # noqa: F811
    run = Run(face_clip, tmp_path_factory.mktemp("whole") / "out.mp4", keep_work=True)
    assert len(list((run.report.work / "crops").glob("*.npz"))) == SEGMENTS
    return run


@pytest.fixture
def kept(undisturbed, tmp_path) -> Path:
    """A copy of its work folder, as if it had been stopped before it rendered."""
    work = unfinished_copy(undisturbed, tmp_path)
    lines = (work / JOURNAL).read_bytes().splitlines(keepends=True)
    (work / JOURNAL).write_bytes(b"".join(line for line in lines if b'"complete"' not in line and b'"output"' not in line))
    return work


def unfinished_copy(run: Run, place: Path) -> Path:
    """Its work folder as it would be had it not been kept on purpose."""
    work = place / "out.mp4.iconface-work"
    shutil.copytree(run.report.work, work)
    (work / MARKER).write_text((work / MARKER).read_text().replace('"kept": true', '"kept": false'))
    return work


def faces_in(folder: Path, index: int) -> int:
    return len(SegmentCrops(folder / "crops", index))


def test_two_runs_give_the_same_file(undisturbed, face_clip, tmp_path):  # noqa: F811
    assert Run(face_clip, tmp_path / "out.mp4").bytes == undisturbed.bytes
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("stage", ["anchors", "restore", "render"])
def test_stopped_in_any_stage_it_goes_on(stage, undisturbed, face_clip, tmp_path):  # noqa: F811
    with pytest.raises(Cancelled):
        Run(face_clip, tmp_path / "out.mp4", stop=lambda event: event.stage == stage and event.done >= min(event.total, 9))
    work = tmp_path / "out.mp4.iconface-work"
    done = sum(faces_in(work, int(path.stem[-5:])) for path in (work / "crops").glob("*.npz"))
    assert {"anchors": done == 0, "restore": 0 < done < undisturbed.model.faces, "render": done > 0}[stage]
    again = Run(face_clip, tmp_path / "out.mp4")
    assert "survey" not in again.stages
    assert done == 0 or "anchors" not in again.stages
    assert again.bytes == undisturbed.bytes
    faces = undisturbed.report.faces_restored
    assert again.report.faces_restored == faces
    assert faces - done <= again.model.faces <= faces - done + 4 * SEGMENTS  # batches are filled up
    assert stage != "render" or again.model.faces == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_what_only_rendering_needs_renders_from_the_store(kept, undisturbed, face_clip, tmp_path):  # noqa: F811
    weaker = replace(SETTINGS, render=replace(SETTINGS.render, strength=0.5, mask="square"), encode=EncodeSettings(crf=30))
    again = Run(face_clip, tmp_path / "out.mp4", weaker)
    assert again.model.faces == 0
    assert set(again.stages) == {"render"}
    assert "going on from an earlier run: 4 of 4 segments are restored" in again.report.notes
    assert again.bytes != undisturbed.bytes


def test_another_seed_keeps_the_survey_and_says_why_the_faces_are_made_again(kept, undisturbed, face_clip, tmp_path):  # noqa: F811
    other = replace(SETTINGS, restore=replace(SETTINGS.restore, seed=7))
    again = Run(face_clip, tmp_path / "out.mp4", other)
    assert again.model.faces >= undisturbed.report.faces_restored
    assert "survey" not in again.stages
    assert "the restored faces of an earlier run are not used: changed settings.seed (42 -> 7)" in again.report.notes


def test_another_input_starts_afresh_altogether(kept, face_clip, tmp_path):  # noqa: F811
    other = tmp_path / "other.mp4"
    other.write_bytes(face_clip.read_bytes() + b"\0\0\0\x08free")
    again = Run(other, tmp_path / "out.mp4")
    assert list(dict.fromkeys(again.stages)) == ["survey", "anchors", "restore", "render"]
    assert "the survey of an earlier run is not used: changed input" in again.report.notes


def test_a_damaged_segment_alone_is_made_again(kept, undisturbed, face_clip, tmp_path):  # noqa: F811
    blobs = kept / "crops" / "segment-00002.crops"
    data = bytearray(blobs.read_bytes())
    data[len(data) // 3] ^= 1
    blobs.write_bytes(data)
    faces = faces_in(kept, 2)
    again = Run(face_clip, tmp_path / "out.mp4")
    assert faces <= again.model.faces < faces + 4
    assert "segment 2 damaged in the store: made again" in again.report.notes
    assert again.bytes == undisturbed.bytes


@pytest.mark.parametrize("part", ["survey/survey.json", "anchors/anchors.npz"])
def test_damaged_findings_are_made_again_and_spare_the_faces(part, kept, undisturbed, face_clip, tmp_path):  # noqa: F811
    (kept / part).write_bytes((kept / part).read_bytes()[:-30])
    again = Run(face_clip, tmp_path / "out.mp4")
    assert part.split("/")[0] in again.stages
    assert again.model.faces == 0
    assert again.bytes == undisturbed.bytes


def test_killed_between_the_outputs_name_and_the_end_there_is_nothing_left_to_do(undisturbed, face_clip, tmp_path):  # noqa: F811
    journal = unfinished_copy(undisturbed, tmp_path) / JOURNAL
    output = tmp_path / "out.mp4"
    output.write_bytes(undisturbed.bytes)
    text = journal.read_bytes().decode()
    lines = [line for line in text.splitlines(keepends=True) if '"complete"' not in line]
    assert '"output"' in lines[-1]
    moved = json_line_with(lines[-1], output=str(output))
    journal.write_text("".join([*lines[:-1], moved]))
    again = Run(face_clip, output)
    assert again.stages == []
    assert again.report.frames == undisturbed.report.frames
    assert again.bytes == undisturbed.bytes
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with pytest.raises(OutputError, match="exists already"):
        Run(face_clip, output)


def json_line_with(line: str, **values) -> str:
    import json
    import zlib

    text = json.dumps({**json.loads(line.partition(" ")[2]), **values}, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def test_another_file_under_the_outputs_name_is_never_replaced(kept, face_clip, tmp_path):  # noqa: F811
    (tmp_path / "out.mp4").write_bytes(b"my holiday")
    with pytest.raises(OutputError, match="exists already"):
        Run(face_clip, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"my holiday"
    assert kept.is_dir()


def test_fresh_forgets(kept, undisturbed, face_clip, tmp_path):  # noqa: F811
    again = Run(face_clip, tmp_path / "out.mp4", fresh=True)
    assert list(dict.fromkeys(again.stages)) == ["survey", "anchors", "restore", "render"]
    assert again.bytes == undisturbed.bytes
