"""A batch over real files: one model, names kept apart, finished outputs left alone."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest

from iconface_video.pipelines.batch import BatchOptions, restore_batch
from iconface_video.pipelines.people import find_people
from iconface_video.pipelines.restore import ReferenceChoice
from iconface_video.session.clip_batch import RECORD
from iconface_video.settings import EncodeSettings, RenderSettings
from tests.pipelines.conftest import Sharpener, audio_md5, grey_embed


class Refusing(Sharpener):
    """Must not be called."""

    def restore(self, crops, contexts, noise):
        raise AssertionError("the model was run")


@pytest.fixture
def options(settings) -> BatchOptions:
    return BatchOptions(replace(settings, encode=EncodeSettings(codec="h264", preset="ultrafast")), ReferenceChoice())


class Renamed(Refusing):
    name = "another model"


def other_results(options: BatchOptions) -> list[tuple[BatchOptions, str]]:
    """Options that make something else, and what is said of them."""

    def changed(section: str, **values) -> BatchOptions:
        settings = options.settings
        return replace(options, settings=replace(settings, **{section: replace(getattr(settings, section), **values)}))

    return [
        (changed("restore", crop_size=64), "crop_size (None -> 64)"),
        (changed("restore", guidance_scale=2.0), "guidance_scale (None -> 2.0)"),
        (changed("encode", crf=30), "crf (16 -> 30)"),
        (changed("survey", min_face_px=30.0), "the model, photos or other settings"),
        (options, "the model, photos or other settings"),
    ]


def states(rows) -> list[str]:
    return [row.state for row in rows]


def test_a_batch_from_beginning_to_end(face_clip, empty_clip, options, tmp_path):
    for name in ("a/x.mp4", "b/x.mp4"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(face_clip if name.startswith("a") else empty_clip, tmp_path / name)
    (tmp_path / "a" / "broken.mp4").write_text("no video")
    out = tmp_path / "out" / "deep"
    patterns = [str(tmp_path / "a"), str(tmp_path / "b")]
    model = Sharpener()
    rows = restore_batch(patterns, out, options, model=model, embed=grey_embed)
    assert states(rows) == ["failed", "restored", "restored"]
    assert "broken.mp4" in rows[0].reason
    assert model.faces > 0
    made = {row.output.name: row.output for row in rows[1:]}
    assert set(made) == {"x.restored.mp4", "b-x.restored.mp4"}
    assert audio_md5(made["x.restored.mp4"]) == audio_md5(face_clip)
    before = {name: path.stat().st_mtime_ns for name, path in made.items()}
    assert sorted(path.name for path in out.iterdir()) == ["b-x.restored.mp4", "batch.csv", "batch.json", "x.restored.mp4"]

    again = restore_batch(patterns, out, options, model=Refusing(), embed=grey_embed)
    assert states(again) == ["failed", "skipped", "skipped"]
    assert {name: path.stat().st_mtime_ns for name, path in made.items()} == before

    weaker = replace(options, settings=replace(options.settings, render=RenderSettings(strength=0.5)))
    changed = restore_batch([str(tmp_path / "a" / "x.mp4")], out, weaker, model=Sharpener(), embed=grey_embed)
    assert states(changed) == ["restored"]
    assert "settings.render.strength (1.0 -> 0.5)" in changed[0].reason

    # Without the record, the mark in the output tells; an output without a mark might be anybody's.
    (out / RECORD).unlink()
    rows = restore_batch(patterns[:1], out, weaker, model=Refusing(), embed=grey_embed)
    assert states(rows) == ["failed", "skipped"]
    assert "mark" in rows[1].reason
    for other, reason in other_results(weaker):
        (out / RECORD).unlink()
        rows = restore_batch(
            patterns[:1], out, other, model=Renamed() if other is weaker else Refusing(), embed=grey_embed, dry_run=True
        )
        assert states(rows) == ["failed", "planned"]
        assert reason in rows[1].reason
        restore_batch(patterns[:1], out, weaker, model=Refusing(), embed=grey_embed)
    (out / RECORD).unlink()
    (out / "b-x.restored.mp4").rename(out / "x.restored.mp4")
    rows = restore_batch(patterns[1:], out, options, model=Refusing(), embed=grey_embed)
    assert states(rows) == ["failed"]
    assert "`force`" in rows[0].reason


def test_a_container_that_has_to_change_takes_no_other_files_name(empty_clip, options, tmp_path):
    """a.mp4 with sound that MP4 does not hold becomes a MOV file, and a.mov is there, too."""
    command = ["ffmpeg", "-v", "error", "-i", str(empty_clip), "-c:v", "copy", "-c:a", "pcm_s16le"]
    for name, kind in (("a.mp4", "mov"), ("a.mov", "mov")):
        subprocess.run([*command, "-f", kind, str(tmp_path / name)], check=True)
    rows = restore_batch([str(tmp_path)], tmp_path / "out", options, model=Refusing(), embed=grey_embed)
    assert states(rows) == ["restored", "restored"]
    assert len({row.output for row in rows}) == 2
    again = restore_batch([str(tmp_path)], tmp_path / "out", options, model=Refusing(), embed=grey_embed)
    assert states(again) == ["skipped", "skipped"]


def test_a_dry_run_writes_nothing(empty_clip, options, tmp_path):
    (tmp_path / "tapes").mkdir()
    shutil.copy(empty_clip, tmp_path / "tapes" / "a.mp4")
    out = tmp_path / "out"
    rows = restore_batch([str(tmp_path / "tapes")], out, options, model=Refusing(), embed=grey_embed, dry_run=True)
    assert states(rows) == ["planned"]
    assert rows[0].output == out / "a.restored.mp4"
    assert not out.exists()


def test_people_files_are_obeyed_and_pages_written(face_clip, options, tmp_path):
    shutil.copy(face_clip, tmp_path / "a.mp4")
    found = find_people(tmp_path / "a.mp4", settings=options.settings, embed=grey_embed)
    found.file.write_text(found.file.read_text().replace("skip: false", "skip: true"))
    chosen = replace(options, apply_people=True, pages=True)
    rows = restore_batch([str(tmp_path / "a.mp4")], tmp_path / "out", chosen, model=Refusing(), embed=grey_embed)
    assert states(rows) == ["restored"], rows[0].reason
    assert sum(rows[0].report.left_alone.values()) > 0
    assert (tmp_path / "out" / "a.restored.report.html").is_file()
