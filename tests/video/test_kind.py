"""What kind of recording a clip is: damage of each medium is told apart, with reasons; where nothing tells, nothing is claimed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

from iconface_video.cli.main import main
from iconface_video.degrade.clip_effects import ClipFormat, degrade_frames
from iconface_video.degrade.presets import PRESETS
from iconface_video.video.kind import judge, kind_of, kind_of_runs
from iconface_video.video.kind_lines import lines_of
from iconface_video.video.kind_measures import Measures, measures_of_runs
from iconface_video.video.probe import probe

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def clean() -> list[np.ndarray]:
    """22 frames (320, 432, 3) of a portrait under a moving camera."""
    large = cv2.resize(data.astronaut()[:420], (620, 508), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(large[40 + i // 3 : 360 + i // 3, 30 + 2 * i : 462 + 2 * i]) for i in range(22)]


def looked_at(frames, preset=None, seed=5):
    clip = ClipFormat(frames[0].shape[1], frames[0].shape[0], 25.0)
    shown = list(degrade_frames(iter(frames), PRESETS[preset], clip, seed)) if preset else frames
    return [shown[3:12], shown[12:21]]


@pytest.mark.parametrize(
    ("preset", "kind", "words"),
    [
        ("vhs-sp", "tape", "color noise"),
        ("vhs-ep", "tape", "color lies"),
        ("video8", "tape", "color noise"),
        ("super8", "film", "the picture jumps"),
        ("16mm-bw", "film", "black and white"),
        ("phone", "camera", ""),
        ("heavy", "camera", ""),
        ("broadcast", "broadcast", "fields"),
    ],
)
def test_each_medium_is_known_by_its_traces(clean, preset, kind, words):
    verdict = kind_of_runs(looked_at(clean, preset), 25.0)
    assert verdict.kind == kind, verdict
    assert words in "; ".join(verdict.reasons)
    assert verdict.reasons[0] in verdict.sentence


def test_the_same_pictures_give_the_same_answer(clean):
    runs = looked_at(clean, "hi8")
    assert measures_of_runs(runs, 25.0) == measures_of_runs(runs, 25.0)


def test_a_still_clean_picture_claims_nothing(clean):
    verdict = kind_of_runs([[clean[0]] * 9], 25.0)
    assert verdict.kind == "unknown"
    assert verdict.preset == "default"
    assert verdict.sentence.startswith("not clear")
    assert kind_of_runs([], 25.0).kind == "unknown"


def test_the_worn_sample_is_a_tape_and_the_whole_file_is_looked_at():
    verdict = kind_of(probe(SAMPLES / "tape.mp4"))
    assert (verdict.kind, verdict.preset) == ("tape", "family")
    assert kind_of(probe(SAMPLES / "clean.mp4")).kind in ("unknown", "camera")


def test_two_kinds_at_once_are_not_decided(clean):
    """Traces of a tape and of film in equal parts: the defaults stay."""
    tape = measures_of_runs(looked_at(clean, "vhs-sp"), 25.0)
    assert tape is not None
    both = replace(tape, jump=2.0, rebound=0.5, specks=4.0, scratch=9.0, tint=0.0, flicker=1.0, fields=0.0, color_noise=0.0)
    assert judge(tape).kind == "tape"
    assert judge(replace(both, line_jitter=2.0, color_narrow=3.0, color_lag=4.0, streaks=2.0, line_noise=2.0)).kind in (
        "film",
        "unknown",
    )


def light_and_color(frames):
    ycc = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in frames]).astype(np.float32)
    return np.ascontiguousarray(ycc[..., 0]), ycc[..., 1:] - 128


def test_fields_are_told_by_their_moments_in_either_order(clean):
    def woven(first, second):
        frames = [frame.copy() for frame in clean[0:20:2]]
        for frame, early, late in zip(frames, clean[0:20:2], clean[1:20:2]):
            frame[0::2], frame[1::2] = (early, late)[first][0::2], (early, late)[second][1::2]
        return lines_of(*light_and_color(frames))["fields"]

    assert woven(0, 1) == pytest.approx(0.5, abs=0.2)
    assert woven(1, 0) == pytest.approx(-0.5, abs=0.2)
    assert woven(0, 0) == pytest.approx(0.0, abs=0.1)


def test_late_color_is_measured_in_px_of_720(clean):
    def lag(px):
        light, color = light_and_color(clean[:6])
        return lines_of(light, np.ascontiguousarray(np.roll(color, px, axis=2)))["color_lag"]

    assert lag(4) - lag(0) == pytest.approx(4 * 720 / 432, abs=1.2)
    assert lag(-4) - lag(0) == pytest.approx(-4 * 720 / 432, abs=1.2)


def written(frames, path: Path, rate: int = 25) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_probe_says_what_a_recording_looks_like_and_why(clean, tmp_path, capsys):
    clip = ClipFormat(432, 320, 25.0)
    path = written(list(degrade_frames(iter(clean), PRESETS["vhs-ep"], clip, 2)), tmp_path / "tape.mp4")
    assert main(["probe", "--kind", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "a tape" in shown
    assert "family" in shown
    assert main(["probe", "--kind", "--json", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)["kind"]
    assert facts["kind"] == "tape"
    assert facts["preset"] == "family"
    assert facts["reasons"]
    assert main(["probe", "--json", str(path)]) == 0
    assert "kind" not in json.loads(capsys.readouterr().out)


def test_film_is_told_with_its_reasons_and_its_preset(clean, tmp_path, capsys):
    clip = ClipFormat(432, 320, 25.0)
    path = written(list(degrade_frames(iter(clean), PRESETS["16mm-bw"], clip, 2)), tmp_path / "film.mp4")
    assert main(["probe", "--kind", str(path)]) == 0
    said = capsys.readouterr().out
    assert "black and white" in said
    assert "preset" in said


def test_measures_are_finite_for_odd_and_empty_pictures():
    for frames in ([np.zeros((66, 98, 3), np.uint8)] * 3, [np.full((161, 99, 3), 255, np.uint8)] * 5):
        measures = measures_of_runs([frames], 0.0)
        assert isinstance(measures, Measures)
        assert all(np.isfinite(value) for value in vars(measures).values())
