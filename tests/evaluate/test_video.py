"""`evaluate --video`: from a clean clip to a report that tells the steadier variant."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from iconface_video.cli.main import main
from iconface_video.errors import InputError, OutputError, UsageError
from iconface_video.lab.evaluate.video_pipeline import VideoChoice, evaluate_video
from iconface_video.lab.evaluate.video_summary import aims
from iconface_video.lab.evaluate.video_variants import (
    GRID,
    NOISES,
    parse_variant,
    parse_variants,
    sound_offsets_ms,
    stream_times,
)
from iconface_video.settings import RestoreSettings, RunSettings, SurveySettings
from tests.conftest import ffmpeg

SETTINGS = RunSettings(survey=SurveySettings(detection_size=320, min_track_seconds=0.1))


class Inventor:
    """Stands in for a model: sharpens, and paints its noise (made coarser) onto the face."""

    name = "inventor"
    crop_sizes = (128,)

    def __init__(self, share: float) -> None:
        self.share = share

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        return 3, size, size

    def prepare(self, anchor, size):
        return None

    def restore(self, crops, contexts, noise):
        out = []
        for crop, field in zip(crops.astype(np.float32), noise):
            blobs = cv2.GaussianBlur(field.transpose(1, 2, 0), (0, 0), 1.5) * 30  # about six grey levels
            out.append(crop + 0.8 * (crop - cv2.GaussianBlur(crop, (0, 0), 2)) + self.share * blobs)
        return np.clip(np.array(out), 0, 255).astype(np.uint8)


def grey(crops) -> np.ndarray:
    """Identity for restoring: a picture's grey values."""
    small = [cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (32, 16), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.array([picture.ravel() - picture.mean() for picture in np.float32(small)], np.float32)


def evaluate(clip: Path, out: Path, model: Inventor, *variants: str, seconds: str = "0.9", against: Path | None = None):
    choice = VideoChoice(
        clips=(clip,),
        damages=("medium",),
        variants=parse_variants(variants),
        seconds=Fraction(seconds),
        size=128,
        settings=SETTINGS,
        against=against,
        identity="embedded",
    )
    return evaluate_video(choice, out, model=model, embed=grey)


@pytest.fixture(scope="module")
def found(face_clip, tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("report") / "steady"
    evaluate(face_clip, out, Inventor(1.0), "default", "independent", "no-filter", "independent+no-filter")
    return out, json.loads((out / "report.json").read_text())


def test_the_report_tells_the_steadier_variant(found):
    _, report = found
    flicker = {
        name: report["figures"][f"{name}.flicker"] for name in ("clean", "default", "independent", "independent-no-filter")
    }
    assert flicker["clean"] == 0
    assert flicker["default"] < 0.9 * flicker["independent"]
    assert flicker["independent"] < 0.8 * flicker["independent-no-filter"]
    assert report["figures"]["aim.flicker-against-independent-noise"] == pytest.approx(
        flicker["default"] / flicker["independent"]
    )


def test_quality_stands_beside_steadiness(found):
    _, report = found
    figures = report["figures"]
    assert figures["clean.sharpness"] == pytest.approx(1)
    assert figures["degraded.sharpness"] < figures["default.sharpness"]
    assert figures["clean.psnr"] > 60 > figures["default.psnr"] > 15
    assert figures["clean.drift"] < figures["independent-no-filter.drift"]


def test_sound_and_times_are_the_inputs(found):
    _, report = found
    for name in ("default", "no-filter"):
        assert report["figures"][f"{name}.late"] == 0
        assert abs(report["figures"][f"{name}.sound_begin"]) < 1


def test_the_folder_holds_tables_plots_slices_and_a_clip(found):
    out, report = found
    names = {item.get("name") for section in report["sections"] for item in section["items"]}
    assert {"aims", "all-steadiness", "all-quality", "face-medium-slices", "face-medium-flicker"} <= names
    (sheet,) = (out / "pictures").glob("face-medium-slices.*")
    slices = cv2.imread(str(sheet))
    assert slices.shape[0] > 128
    assert slices.shape[1] > 6 * 11 * 4  # six versions, eleven frames
    frames = ffmpeg("-i", out / "clips" / "face-medium.mp4", "-f", "rawvideo", "-pix_fmt", "gray", "-")
    assert len(frames) % (256 * 6 * 280) == 0
    assert len(frames) // (256 * 6 * 280) == 11  # 0.9 s at 12 a second, both ends
    assert "default" in (out / "report.html").read_text()


def test_a_model_that_noise_does_not_reach_is_told(face_clip, tmp_path):
    evaluate(face_clip, tmp_path / "blind", Inventor(0.0), "default", "independent", seconds="0.3")
    report = json.loads((tmp_path / "blind" / "report.json").read_text())
    notes = [item["text"] for section in report["sections"] for item in section["items"] if item["kind"] == "note"]
    assert any("'independent' restored the same faces as 'default', to the bit" in note for note in notes)


def test_an_earlier_report_stands_beside(face_clip, found, tmp_path):
    out, before = found
    evaluate(face_clip, tmp_path / "new", Inventor(0.5), "default", "no-filter", against=out)
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    now, then = report["figures"], before["figures"]
    assert now["against.default.flicker"] == pytest.approx(now["default.flicker"] / then["default.flicker"])
    assert now["against.default.flicker"] < 1
    assert now["against.default.psnr"] == pytest.approx(now["default.psnr"] - then["default.psnr"], abs=1e-6)
    assert now["against.clean.warp"] == pytest.approx(1)
    assert "against.independent.warp" not in now
    (section,) = [section for section in report["sections"] if section["title"].startswith("Against steady, version")]
    assert [item["kind"] for item in section["items"]] == ["table", "table"]  # no warning
    evaluate(face_clip, tmp_path / "short", Inventor(0.5), "default", seconds="0.3", against=out / "report.json")
    assert "differ in seconds" in (tmp_path / "short" / "report.html").read_text()


def test_what_is_no_report_of_videos_is_refused_before_any_work(face_clip, tmp_path):
    (tmp_path / "report.json").write_text('{"figures": {"psnr/3": 1}, "version": "1", "seed": 1, "settings": {}}')
    for other, sentence in ((tmp_path, "not a report of `evaluate video`"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(InputError, match=sentence):
            evaluate(face_clip, tmp_path / "out", Inventor(0.0), "default", against=other)
    assert not (tmp_path / "out").exists()


def test_an_earlier_report_is_not_overwritten(face_clip, found):
    out, _ = found
    with pytest.raises(OutputError, match="not empty"):
        evaluate(face_clip, out, Inventor(0.0), "default")


def test_a_clip_without_a_face_is_refused(empty_clip, tmp_path):
    with pytest.raises(InputError, match=r"bars\.mp4: no face in the chosen stretch"):
        evaluate(empty_clip, tmp_path / "none", Inventor(0.0), "default", seconds="0.3")


# ---- variants


def test_words_become_settings():
    base = RunSettings()
    chosen = parse_variant("warped+raw+no-filter+steps=2").settings(base)
    assert (chosen.restore.noise, chosen.survey.smoothing, chosen.render.temporal_filter, chosen.restore.steps) == (
        "warped", 0.0, False, 2,
    )  # fmt: skip
    assert parse_variant("default").settings(base) == base
    whole = {(v.settings(base).restore.noise, v.settings(base).survey.smoothing > 0, v.settings(base).render.temporal_filter)
             for v in parse_variants(GRID)}  # fmt: skip
    assert len(whole) == 4 * len(NOISES)


def test_per_frame_looks_at_one_frame():
    variant = parse_variant("per-frame")
    assert variant.settings(RunSettings()).restore == replace(RestoreSettings(), noise="independent", neighbours=0)
    assert parse_variant("alone").settings(RunSettings()).restore == replace(RestoreSettings(), neighbours=0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fixd", r"'fixd' is not known\. Did you mean 'fixed'"),
        ("step=2", r"no setting 'step'\. Did you mean 'steps'"),
        ("steps=0", r"variant 'steps=0': steps is 0, must be within"),
        ("start_sigma=x", r"start_sigma is 'x', must be a number"),
    ],
)
def test_unknown_words_name_the_nearest(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse_variant(text)


# ---- aims


def test_aims_compare_with_the_right_versions():
    keys = ("warp", "warp_excess", "flicker", "window_jitter", "shift_jitter", "jitter", "drift", "sharpness", "detail")
    row = dict.fromkeys(keys, 1.0)
    figures = {
        "clean": row,
        "degraded": {**row, "drift": 2.0},
        "default": {**row, "warp": 1.1, "warp_excess": 0.1, "window_jitter": 0.4},
        "independent": {**row, "warp_excess": 0.2},
        "raw": row,
        "per-frame": row,
    }
    by_text = {aim.text: aim for aim in aims(figures, "default")}
    assert by_text["E_warp against the clean video's own"].holds
    assert by_text["excess of E_warp over the clean video against independent noise"].value == pytest.approx(0.5)
    assert by_text["jitter of the crop window against raw landmarks"].holds
    assert by_text["jitter of landmarks (detected) against raw landmarks"].holds is False
    assert by_text["identity drift (VIDD) against the input"].value == pytest.approx(0.5)
    text = "excess of E_warp over the clean video against independent noise"
    changed = aims({**figures, "independent": {**row, "warp_excess": -0.1}}, "default")
    steadier = next(aim for aim in changed if aim.text == text)
    assert math.isnan(steadier.value)
    assert steadier.holds is None
    assert "steadier than the clean video" in steadier.note


# ---- container


def test_a_delayed_sound_is_measured(face_clip, tmp_path):
    late = tmp_path / "late.mkv"
    ffmpeg("-i", face_clip, "-itsoffset", "0.2", "-i", face_clip, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    begin, end = sound_offsets_ms(face_clip, late)
    assert begin == pytest.approx(200, abs=30)  # AAC frames are 23 ms long, Matroska rounds to 1 ms
    assert end == pytest.approx(200, abs=30)
    assert sound_offsets_ms(face_clip, face_clip) == (0, 0)


def test_lost_sound_is_infinitely_late_and_none_at_all_is_no_matter(face_clip, empty_clip, tmp_path):
    mute = tmp_path / "mute.mp4"
    ffmpeg("-i", face_clip, "-an", "-c", "copy", mute)
    assert sound_offsets_ms(face_clip, mute) == (math.inf, math.inf)
    assert sound_offsets_ms(empty_clip, mute) is None
    assert stream_times(empty_clip).video == pytest.approx((0, 1), abs=0.01)


# ---- command line


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--damage", "havy"], "preset is 'havy'"),
        (["--variant", "fixd"], "Did you mean 'fixed'"),
        (["--grid", "--variant", "raw"], "--grid and --variant"),
        (["--identity", "me"], "must be auto, dlib or embedded"),
    ],
)
def test_the_command_refuses_in_one_sentence(options, sentence, face_clip, tmp_path, capsys):
    assert main(["evaluate", "--video", str(face_clip), "-o", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_measures_the_embedded_model(face_clip, tmp_path, capsys):
    """End to end with the weights of the package, on a third of a second."""
    options = ["--seconds", "0.3", "--size", "128", "--damage", "light", "--identity", "embedded", "--json", "--quiet"]
    code = main(["evaluate", "--video", str(face_clip), "-o", str(tmp_path / "out"), "--variant", "default", *options])
    assert code == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["default.psnr"] > 20
    assert (tmp_path / "out" / "report.html").exists()
