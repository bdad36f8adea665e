"""A batch over real files: one model, names kept apart, finished outputs left alone."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from iconface_video.pipelines.batch import BatchOptions, restore_batch
from iconface_video.pipelines.restore import ReferenceChoice
from iconface_video.run.batch import RECORD
from iconface_video.settings import EncodeSettings, RenderSettings
from tests.pipelines.conftest import Sharpener, audio_md5, grey_embed


class Refusing(Sharpener):
    """Must not be called."""

    def restore(self, crops, contexts, noise):
        raise AssertionError("the model was run")


@pytest.fixture
def options(settings) -> BatchOptions:
    return BatchOptions(replace(settings, encode=EncodeSettings(codec="h264", preset="ultrafast")), ReferenceChoice())


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
    (out / RECORD).unlink()
    (out / "b-x.restored.mp4").rename(out / "x.restored.mp4")
    rows = restore_batch(patterns[1:], out, options, model=Refusing(), embed=grey_embed)
    assert states(rows) == ["failed"]
    assert "--force" in rows[0].reason
