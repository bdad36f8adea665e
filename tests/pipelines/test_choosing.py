"""Without a preset the recording is looked at, once: what was found is told, kept with unfinished work, and named in report and mark."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from iconface_video.configs import SettingsChoice, load_preset
from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.presets import PRESETS
from iconface_video.errors import Cancelled, UsageError
from iconface_video.pipelines import choosing
from iconface_video.pipelines.batch import BatchOptions, restore_batch
from iconface_video.pipelines.choosing import choose_settings
from iconface_video.pipelines.people import find_people
from iconface_video.pipelines.restore import ReferenceChoice, restore_video
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.settings import RunSettings
from iconface_video.video.probe import probe
from tests.pipelines.conftest import Sharpener, grey_embed, write_clip

SMALL = SettingsChoice(
    overrides={
        "survey": {"detection_size": 256, "min_track_seconds": 0.1},
        "encode": {"codec": "ffv1", "encoder_threads": 1},
        "engine": {"overlap": False},
    }
)


@pytest.fixture(scope="module")
def film(tmp_path_factory, portrait) -> Path:
    """Twenty frames of a moving portrait as 16 mm film in black and white leaves it."""
    frames = [np.ascontiguousarray(portrait[20 + i // 3 : 308 + i // 3, 60 + 2 * i : 444 + 2 * i]) for i in range(20)]
    worn = list(degrade_frames(iter(frames), PRESETS["16mm-bw"], ClipFormat(384, 288, 24.0), 2))
    return write_clip(tmp_path_factory.mktemp("film") / "film.mp4", worn)


@pytest.fixture
def looks(monkeypatch) -> list[Path]:
    """Which files were looked at."""
    seen: list[Path] = []
    real = choosing.kind_of
    monkeypatch.setattr(choosing, "kind_of", lambda info: (seen.append(info.path), real(info))[1])
    return seen


def test_a_film_gets_its_preset_and_everybody_is_told(film, looks, tmp_path):
    said: list[str] = []
    report = restore_video(
        film,
        tmp_path / "out.mkv",
        settings=SMALL,
        model=Sharpener(),
        embed=grey_embed,
        on_progress=lambda event: said.append(event.message),
    )
    assert (report.kind, report.preset) == ("film", "film")
    (told,) = [note for note in report.notes if "film" in note]
    assert told in said
    assert "black and white" in told
    assert "`preset`" in told
    (mark,) = read_restoration_marks(probe(report.output).metadata)
    assert (mark["kind"], mark["preset"]) == ("film", "film")
    assert (mark["strength"], mark["grain"]) == (0.75, 1.0)
    assert looks == [film]


def test_who_goes_on_decides_nothing_again(film, looks, tmp_path):
    class Stopping(Sharpener):
        def restore(self, crops, contexts, noise):
            raise Cancelled("stopped")

    whole = restore_video(film, tmp_path / "whole.mkv", settings=SMALL, model=Sharpener(), embed=grey_embed)
    output = tmp_path / "out.mkv"
    with pytest.raises(Cancelled):
        restore_video(film, output, settings=SMALL, model=Stopping(), embed=grey_embed)
    looks.clear()
    report = restore_video(film, output, settings=SMALL, model=Sharpener(), embed=grey_embed)
    assert looks == []
    assert (report.kind, report.looks_like) == ("film", whole.looks_like)
    assert output.read_bytes() == whole.output.read_bytes()
    with pytest.raises(Cancelled):
        restore_video(film, output, settings=SMALL, model=Stopping(), embed=grey_embed, force=True)
    restore_video(film, output, settings=SMALL, model=Sharpener(), embed=grey_embed, fresh=True, force=True)
    assert len(looks) == 2


def test_what_the_user_names_is_obeyed_without_a_look(film, face_clip, looks, tmp_path):
    named = choose_settings(film, SettingsChoice("family", {"render": {"strength": 0.5}}))
    assert named.settings == load_preset("family").settings({"render": {"strength": 0.5}})
    assert (named.preset.name, named.preset.kind, named.preset.sentence) == ("family", None, "")
    own = tmp_path / "mine.yaml"
    own.write_text("render:\n  strength: 0.25\n")
    mine = choose_settings(film, SettingsChoice(str(own)))
    assert (mine.preset.name, mine.settings.render.strength) == ("mine.yaml", 0.25)
    given = choose_settings(film, RunSettings())
    assert (given.settings, given.preset) == (RunSettings(), None)
    with pytest.raises(UsageError, match="no preset"):
        choose_settings(film, SettingsChoice("fil"))
    assert looks == []


def test_what_is_not_clear_gets_the_defaults(tmp_path, portrait):
    still = write_clip(tmp_path / "still.mp4", [np.ascontiguousarray(portrait[:256, :320])] * 20)
    chosen = choose_settings(still)
    assert chosen.settings == RunSettings()
    assert (chosen.preset.kind, chosen.preset.name) == ("unknown", "default")
    assert "not clear" in chosen.preset.sentence


def test_a_batch_looks_at_each_file_once_for_all_its_calls(film, looks, tmp_path):
    shutil.copy(film, tmp_path / "a.mp4")
    options = BatchOptions(SMALL, ReferenceChoice())
    (row,) = restore_batch([str(tmp_path / "a.mp4")], tmp_path / "out", options, model=Sharpener(), embed=grey_embed)
    assert (row.state, row.report.preset) == ("restored", "film")
    assert len(looks) == 1
    (again,) = restore_batch([str(tmp_path / "a.mp4")], tmp_path / "out", options, model=Sharpener(), embed=grey_embed)
    assert again.state == "skipped", again.reason
    assert len(looks) == 1
    forced = BatchOptions(SMALL, ReferenceChoice(), force=True)
    (made,) = restore_batch([str(tmp_path / "a.mp4")], tmp_path / "out", forced, model=Sharpener(), embed=grey_embed)
    assert (made.state, made.report.looks_like) == ("restored", row.report.looks_like)
    assert len(looks) == 1


def test_people_and_run_agree_on_the_preset(film, tmp_path):
    found = find_people(film, tmp_path / "who", settings=SMALL, embed=grey_embed)
    assert any("preset film" in note for note in found.notes)
    report = restore_video(
        film,
        tmp_path / "out.mkv",
        settings=SMALL,
        references=ReferenceChoice(file=found.file),
        model=Sharpener(),
        embed=grey_embed,
    )
    assert not any("surveyed again" in note for note in report.notes)
