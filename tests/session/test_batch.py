"""Many files: names, what is finished, errors on the way; the work itself is stood in for."""

from __future__ import annotations

import csv
import json
from itertools import count
from pathlib import Path

import pytest

from iconface_video.errors import Cancelled, InputError, OutputError
from iconface_video.session.clip_batch import (
    RECORD,
    TABLE,
    Batch,
    BatchJob,
    BatchRecord,
    count_below,
    decide,
    find_inputs,
    name_jobs,
    write_table,
)
from iconface_video.session.run_report import RunReport
from iconface_video.settings import EncodeSettings
from iconface_video.video.output_plan import plan_output, usual_suffix
from iconface_video.video.probe import probe
from tests.conftest import ffmpeg


def files(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    return paths


def named(inputs: list[Path], out: Path, known: dict[Path, str] | None = None) -> list[str]:
    return [job.output.name for job in name_jobs(inputs, out, known or {})]


def test_names_stay_apart(tmp_path):
    inputs = files(tmp_path, "a/x.mp4", "b/x.mp4", "b/x.mkv", "c/X.mp4", "b/y.avi")
    names = named(inputs, tmp_path / "out")
    assert names[0] == "x.restored.mp4"
    assert names[1] == "b-x.restored.mp4"
    assert names[2] == "x.restored.mkv"  # no other output is named so
    assert names[4] == "y.restored.mp4"
    assert len({name.casefold() for name in names}) == 5  # on any disk


@pytest.mark.parametrize("name", ["x.mp4", "x.m4v", "x.mov", "x.mkv", "x.webm", "x.avi", "x.ts", "x.m2ts", "x.mts"])
def test_a_batch_gives_the_suffix_of_a_run_and_of_a_preview(name, face_clip, tmp_path):
    """One list of containers."""
    kinds = {".webm": "matroska", ".m4v": "mp4", ".m2ts": "mpegts", ".mts": "mpegts", ".ts": "mpegts", ".mkv": "matroska"}
    path = tmp_path / name
    if path.suffix in kinds:
        codec = ("-c:v", "mpeg2video") if kinds[path.suffix] == "mpegts" else ("-c:v", "libx264")
        ffmpeg("-i", face_clip, "-an", *codec, "-f", kinds[path.suffix], path)
    else:
        ffmpeg("-i", face_clip, "-an", "-c:v", "libx264" if path.suffix != ".avi" else "mpeg4", path)
    with_run = plan_output(probe(path), None, EncodeSettings(), force=False).path
    assert with_run.suffix == usual_suffix(path)
    assert named([path], tmp_path / "out") == [f"x.restored{with_run.suffix}"]


def test_a_file_keeps_its_name_when_others_join(tmp_path):
    a, b = files(tmp_path, "a/x.mp4", "b/x.mp4")
    assert named([a, b], tmp_path, {b.resolve(): "x.restored"}) == ["a-x.restored.mp4", "x.restored.mp4"]


def test_no_output_is_named_like_an_input(tmp_path):
    a, b = files(tmp_path, "in/x.mp4", "out/x.restored.mp4")
    assert "x.restored.mp4" not in named([a, b], tmp_path / "out")


def test_folders_and_patterns_find_videos_only(tmp_path):
    a, b, c, _, _ = files(tmp_path, "t/a.MP4", "t/b.mkv", "t/deep/c.mov", "t/notes.txt", "t/.hidden.mp4")
    out = tmp_path / "out"
    assert find_inputs([str(tmp_path / "t")], out, {}) == [a, b]
    assert find_inputs([str(tmp_path / "t" / "**" / "*.*")], out, {}) == [a, b, c]
    odd = files(tmp_path, "t/odd.name")[0]
    assert find_inputs([str(odd), str(tmp_path / "t"), str(a)], out, {}) == [odd, a, b]


def test_folders_below_are_counted_and_taken_on_request(tmp_path):
    a, b, _, _ = files(tmp_path, "t/a.mp4", "t/deep/b.mkv", "t/.trash/c.mp4", "t/a.mp4.iconface-work/d.mp4")
    assert find_inputs([str(tmp_path / "t")], tmp_path / "out", {}) == [a]
    assert count_below(tmp_path / "t") == 1
    assert find_inputs([str(tmp_path / "t")], tmp_path / "out", {}, recursive=True) == [a, b]


def test_outputs_beside_the_inputs_are_not_taken_for_inputs(tmp_path):
    a, _, mine = files(tmp_path, "a.mp4", "a.restored.mp4", "b-special.mp4")
    assert find_inputs([str(tmp_path)], tmp_path, {}) == [a, mine]
    assert find_inputs([str(tmp_path)], tmp_path, {a: "b-special"}) == [a]


def test_nothing_found_is_an_error_that_says_where(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video in this folder"):
        find_inputs([str(tmp_path / "empty")], tmp_path, {})
    with pytest.raises(InputError, match=r"tapes\.mp4: there is no such file"):
        find_inputs([str(tmp_path / "tapes.mp4")], tmp_path, {})


PARTS = {"input": "0" * 64, "settings": {"render": {"strength": 1.0}}}


def known_of(output: Path, record: BatchRecord, parts=PARTS) -> dict:
    from iconface_video.session.clip_batch import BatchRow

    job = BatchJob(Path("in.mp4"), output)
    record.finish(job, BatchRow(job.input, "restored", output), parts)
    return record.of(job.input)


def nothing(path: Path) -> None:
    return None


def test_what_is_finished_is_known_by_its_parts_and_content(tmp_path):
    (output,) = files(tmp_path, "x.restored.mp4")
    known = known_of(output, BatchRecord(tmp_path))
    assert decide(output, known, PARTS, nothing).is_finished
    changed = decide(output, known, {**PARTS, "settings": {"render": {"strength": 0.5}}}, nothing)
    assert not changed.is_finished
    assert changed.is_ours
    assert "settings.render.strength (1.0 -> 0.5)" in changed.reason
    other = decide(output, known, {**PARTS, "input": "1" * 64}, nothing)
    assert "input" in other.reason
    output.write_text("edited by hand")
    touched = decide(output, known, PARTS, nothing)
    assert "changed since" in touched.reason
    assert not touched.is_ours
    output.unlink()
    assert decide(output, known, PARTS, nothing).reason == "the output is gone"


def test_other_releases_of_libraries_are_told_and_make_nothing_again(tmp_path):
    (output,) = files(tmp_path, "x.restored.mp4")
    known = known_of(output, BatchRecord(tmp_path), {**PARTS, "libraries": {"torch": "2.6"}})
    found = decide(output, known, {**PARTS, "libraries": {"torch": "2.7"}}, nothing)
    assert found.is_finished
    assert found.reason == "finished before, with other releases of libraries: torch (2.6 -> 2.7)"
    earlier = known_of(output, BatchRecord(tmp_path))  # of a release that did not note them
    assert decide(output, earlier, {**PARTS, "libraries": {"torch": "2.7"}}, nothing).reason == "finished before"


def test_without_a_record_the_mark_in_the_output_tells(tmp_path):
    (output,) = files(tmp_path, "x.restored.mp4")
    assert decide(output, {}, PARTS, lambda path: []).is_finished
    again = decide(output, {}, PARTS, lambda path: ["strength (1.0 -> 0.5)"])
    assert again.is_ours
    assert "strength (1.0 -> 0.5)" in again.reason
    foreign = decide(output, {}, PARTS, nothing)
    assert not foreign.is_finished
    assert not foreign.is_ours


def batch_of(tmp_path: Path, restore, names=("a.mp4", "b.mp4", "c.mp4")) -> Batch:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    record = BatchRecord(out)
    jobs = tuple(name_jobs(files(tmp_path, *names), out, record.names()))
    parts = {"input": "same"}
    return Batch(
        out, jobs, record, lambda job: decide(job.output, record.of(job.input), parts, nothing), lambda job: parts, restore
    )


def restored(job: BatchJob, decision, on_progress) -> RunReport:
    job.output.write_text("whole")
    return RunReport(job.input, job.output, 10, 8, 1, 1, 8, 8, 0)


def run(batch: Batch) -> list[str]:
    told: list[tuple[int, str]] = []
    clock = count()
    batch.run(lambda index, row: told.append((index, row.state)), lambda index: None, lambda: float(next(clock)))
    assert [index for index, _ in told] == sorted(index for index, _ in told)
    return [row.state for row in batch.rows]


def test_an_error_is_the_files_own_affair_and_the_next_call_makes_only_what_is_missing(tmp_path):
    broken = {"b.mp4"}

    def restore(job, decision, on_progress):
        if job.input.name in broken:
            raise InputError(f"{job.input}: is broken")
        return restored(job, decision, on_progress)

    batch = batch_of(tmp_path, restore)
    assert run(batch) == ["restored", "failed", "restored"]
    assert "is broken" in batch.rows[1].reason
    with open(tmp_path / "out" / TABLE, newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["state"] for row in table] == ["restored", "failed", "restored"]
    assert table[0]["faces_restored"] == "8"
    broken.clear()
    assert run(batch_of(tmp_path, restore)) == ["skipped", "restored", "skipped"]


def test_a_bug_in_one_file_does_not_stop_the_others(tmp_path):
    def restore(job, decision, on_progress):
        if job.input.name == "a.mp4":
            raise ZeroDivisionError("oh")
        return restored(job, decision, on_progress)

    batch = batch_of(tmp_path, restore)
    assert run(batch) == ["failed", "restored", "restored"]
    assert batch.rows[0].reason == "unexpected ZeroDivisionError: oh"


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Cancelled("stopped")])
def test_an_interrupt_keeps_what_is_finished(stop, tmp_path):
    def restore(job, decision, on_progress):
        if job.input.name == "b.mp4":
            raise stop
        return restored(job, decision, on_progress)

    batch = batch_of(tmp_path, restore)
    with pytest.raises(Cancelled, match="1 of 3 files are finished and stay"):
        run(batch)
    assert [row.state for row in batch.rows] == ["restored", "stopped", "waiting"]
    assert [item["row"]["state"] for item in json.loads((tmp_path / "out" / RECORD).read_text())["files"].values()] == [
        "restored",
        "stopped",
    ]
    assert run(batch_of(tmp_path, restored)) == ["skipped", "restored", "restored"]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(OutputError, match=r"batch\.json: cannot be read"):
        BatchRecord(tmp_path)


def test_the_record_of_an_earlier_release_is_refused_in_words(tmp_path):
    (tmp_path / RECORD).write_text('{"version": 1, "files": {}}')
    with pytest.raises(OutputError, match=r"an earlier release wrote it, .* Move it away"):
        BatchRecord(tmp_path)


def test_a_table_of_another_make_is_not_replaced(tmp_path):
    (tmp_path / TABLE).write_text("my,own,list\n")
    with pytest.raises(OutputError, match="no table of this program"):
        BatchRecord(tmp_path)
    assert (tmp_path / TABLE).read_text() == "my,own,list\n"
    write_table(tmp_path / TABLE, [])
    BatchRecord(tmp_path)  # one of ours without its record
