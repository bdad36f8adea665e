"""`iconface-video evaluate` from the command line to the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from iconface_video.cli.main import main

QUICK = ("--size", "64", "--count", "4", "--identity", "embedded", "--batch", "3", "--seed", "3", "--quiet")


@pytest.fixture(scope="module")
def report(faces_folder, dimming_onnx, tmp_path_factory) -> Path:
    """With references, another person's, an ONNX baseline that changes nothing; the command's name left out."""
    out = tmp_path_factory.mktemp("report") / "out"
    words = ["--strengths", "6,9-16", "--references", "0,1,1of2,wrong", "--sheet-rows", "2", "--onnx-weight", "1"]
    baseline = ["--baseline-onnx", f"same={dimming_onnx}"]
    assert main(["evaluate", "--data", str(faces_folder), "-o", str(out), *words, *baseline, *QUICK]) == 0
    return out


def figures(folder: Path) -> dict[str, float]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))["figures"]


def test_every_row_is_measured_at_every_strength(report):
    found = figures(report)
    rows = ("input", "unsharp", "onnx-1", "0", "1", "1of2", "wrong")
    for metric in ("psnr", "ssim", "sharpness", "gt_id", "ref_id", "wrong_id", "mistaken"):
        missing = [
            f"{metric}/{row}@{level}" for row in rows for level in ("6", "9-16") if f"{metric}/{row}@{level}" not in found
        ]
        assert missing == []
    assert found["gt_id/clean"] == pytest.approx(1, abs=1e-4)
    assert found["sharpness/clean"] == pytest.approx(1)
    assert found["mistaken/clean"] == 0, "the two people are easily told apart"
    assert 0 <= found["mistaken_input@9-16"] <= 100
    assert found["gt_id_by_1of2@4-8"] == pytest.approx(found["gt_id/1of2@6"] - found["gt_id/1@6"], abs=1e-6)
    assert found["psnr/onnx-1@6"] == pytest.approx(found["psnr/input@6"], abs=1), "this baseline gives the input back"
    assert found["gain_psnr_1@4-8"] == pytest.approx(found["psnr/1@6"] - found["psnr/input@6"], abs=1e-6)


def test_each_face_has_its_own_line(report):
    """The lines' mean is the figure."""
    with (report / "faces.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if (row["strength"], row["row"]) == ("6", "1")]
    assert len(rows) == 4
    assert np.mean([float(row["psnr"]) for row in rows]) == pytest.approx(figures(report)["psnr/1@6"], rel=1e-4)


def test_page_names_rows_and_shows_sheets(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    for words in ("restored, no reference", "restored, 1 of another person", "same", "LPIPS", "Norm of the embedding"):
        assert words in page
    sheet = cv2.imread(str(report / "pictures" / "faces-6.png"))
    assert sheet.shape[1] >= 8 * 64


def test_sheet_shows_the_input_that_was_measured(report, faces_folder):
    """Input and truth cut out of the sheet give about the PSNR of the report: an independent way round."""
    sheet = cv2.imread(str(report / "pictures" / "faces-9-16.png"))
    columns = json.loads((report / "report.json").read_text(encoding="utf-8"))
    (info,) = [i for s in columns["sections"] for i in s["items"] if i.get("name") == "faces-9-16"]
    step = (sheet.shape[1] + 4) // len(info["columns"])
    tiles = [sheet[40:104, k * step : k * step + 64] for k in range(len(info["columns"]))]
    source, truth = tiles[info["columns"].index("input")], tiles[info["columns"].index("truth")]
    assert np.abs(truth.astype(int) - source).mean() > 1
    assert 10 < peak_signal_noise_ratio(truth, source) < 45


def test_same_seed_same_figures_with_other_rows_beside_them(report, faces_folder, tmp_path):
    skipped = [word for name in ("niqe", "identity", "landmarks", "sheets", "encoder", "unsharp") for word in ("--skip", name)]
    words = ["--model", "none", "--strengths", "9-16,6", "--references", "0,1,wrong", *skipped]
    assert main(["evaluate", "faces", "--data", str(faces_folder), "-o", str(tmp_path / "b"), *words, *QUICK]) == 0
    before, after = figures(report), figures(tmp_path / "b")
    for key in ("psnr/input@6", "ssim/input@9-16", "sharpness/input@9-16"):
        assert after[key] == pytest.approx(before[key], rel=1e-9)


def test_a_folder_in_use_is_refused_before_any_work(faces_folder, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["evaluate", "faces", "--data", str(faces_folder), "-o", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_encoder_command(faces_folder, tmp_path):
    assert main(["evaluate", "encoder", "--data", str(faces_folder), "-o", str(tmp_path / "out")]) == 0
    found = figures(tmp_path / "out")
    name = next(key for key in found if key.endswith("accuracy clean")).split("/")[0]
    assert 0 <= found[f"{name}/norm ranked"] <= 1
    assert found[f"{name}/accuracy clean"] > 0.5


def test_detector_command_needs_one_kind_of_pictures(tmp_path, capsys):
    assert main(["evaluate", "detector", "--yunet", str(tmp_path / "y.onnx"), "-o", str(tmp_path / "out")]) == 2
    assert "either --data" in capsys.readouterr().err


def test_a_misspelt_command_is_answered(capsys):
    assert main(["evaluate", "facs"]) == 2
    assert "facs" in capsys.readouterr().err
