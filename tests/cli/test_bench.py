"""`bench`: every stage and every pass is timed, ratios are against the ffmpeg program."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from iconface_video.cli.main import main
from iconface_video.lab.bench.stages import measure
from iconface_video.personalize.recipe import PersonalizeSettings

TAPE = Path(__file__).parents[2] / "samples" / "tape.mp4"


def test_rates_are_medians_and_idle_jobs_are_left_out() -> None:
    pauses = iter([0.0, 0.02, 0.3, 0.04])  # the first is the warm-up

    def job() -> int:
        time.sleep(next(pauses))
        return 2

    (rate,) = measure({"waits": ("frames", job), "idle": ("faces", lambda: 0)}, rounds=3)
    assert rate.what == "waits"
    assert 0.04 <= rate.seconds < 0.2
    assert rate.median == pytest.approx(2 / rate.seconds)
    assert rate.slowest < rate.median < rate.fastest
    assert rate.cpu_seconds is not None
    assert rate.cpu_seconds < 0.04  # it slept


def test_every_stage_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "stages", str(TAPE), "--frames", "3", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [rate["what"] for rate in found["rates"]] == ["decode", "shots", "detect", "embed", "cut", "paste", "encode"]
    assert all(rate["median"] > 0 for rate in found["rates"])
    assert found["machine"]["cores"] >= 1


def test_passes_are_compared_with_the_ffmpeg_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "pipeline", str(TAPE), "--seconds", "0.3", "--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    for what in ("ffmpeg transcode", "run, strength 0", "survey", "run", "re-render, other strength"):
        assert what in shown
    assert "times the ffmpeg program's time" in shown


def test_two_revisions_run_in_turn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each with its own code: the other one here idles longer."""
    other = tmp_path / "other"
    for part in ("iconface_video/cli", "pipelines", "configs"):
        (other / part).mkdir(parents=True)
    for package in ("iconface_video", "iconface_video/cli"):
        (other / package / "__init__.py").touch()
    slow = "import time\ndef main():\n    until = time.process_time() + 1.5\n    while time.process_time() < until: pass\n"
    (other / "iconface_video" / "cli" / "main.py").write_text(slow)
    assert main(["bench", "compare", str(other), str(TAPE), "--what", "help", "--rounds", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["others"]) == len(found["own"]) == 2
    assert all(cost["processor_seconds"] > 1.5 for cost in found["others"])
    assert all(0 < cost["processor_seconds"] < 1.5 and cost["peak_bytes"] > 2**20 for cost in found["own"])
    assert 1 < found["processor"]["least"] <= found["processor"]["median"] <= found["processor"]["most"]
    (other / "iconface_video" / "cli" / "main.py").write_text("def main():\n    raise SystemExit('nothing goes')\n")
    assert main(["bench", "compare", str(other), str(TAPE), "--what", "help"]) == 1
    assert "nothing goes" in capsys.readouterr().err


def test_what_is_no_revision_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bench", "compare", str(tmp_path), str(TAPE)]) == 2
    assert "iconface_video is missing" in capsys.readouterr().err
    assert main(["bench", "compare", "no-such-revision", str(TAPE)]) == 2
    assert "neither a folder nor a commit" in capsys.readouterr().err


def test_a_missing_clip_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "stages", "no such.mp4"]) == 2
    assert "no such.mp4" in capsys.readouterr().err


def test_learning_a_person_is_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = PersonalizeSettings(steps=80, faces=1, size=64, rank=4)
    monkeypatch.setattr("iconface_video.personalize.recipe.PersonalizeSettings", lambda: quick)
    assert main(["bench", "personalize", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["person_seconds"] == pytest.approx(80 * found["step_seconds"])
    assert 0 < found["kilobytes"] < 4000
    assert found["change_seconds"] > 0
