"""What the restorer is compared with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from iconface_video.errors import CheckpointError, InputError
from iconface_video.lab.evaluate.face_rows import OnnxRestorer, Unsharp, parse_onnx
from tests.evaluate.conftest import portrait
from tests.evaluate.onnx_graph import classifier_graph


def test_onnx_restorer_gets_pictures_in_its_size_and_its_weight(dimming_onnx):
    """The graph gives w times the picture in [-1, 1]: w = 1 the picture itself (but for resizing), w = 0 mid grey."""
    faces = np.stack([portrait(0, 1, light, 64) for light in (1.0, 0.7, 0.4)])  # more than the graph's batch of one
    same = OnnxRestorer(dimming_onnx, weight=1.0).restore(faces)
    assert same.shape == faces.shape
    assert np.abs(same.astype(int) - faces).mean() < 2
    assert set(np.unique(OnnxRestorer(dimming_onnx, weight=0.0).restore(faces))) <= {127, 128}


def test_onnx_baseline_can_be_named(dimming_onnx):
    assert parse_onnx(f"CodeFormer={dimming_onnx}", 0.5).name == "CodeFormer"
    assert parse_onnx(str(dimming_onnx), 0.5).name == "dim"


def test_files_that_are_no_restorer_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        OnnxRestorer(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(CheckpointError, match="onnxruntime cannot use it"):
        OnnxRestorer(tmp_path / "text.onnx")
    (tmp_path / "other.onnx").write_bytes(classifier_graph())
    with pytest.raises(CheckpointError, match=r"has the inputs x \[1, 10\]; a restorer has one picture"):
        OnnxRestorer(tmp_path / "other.onnx")


def test_unsharp_sharpens_and_keeps_flat_areas():
    soft = cv2.GaussianBlur(portrait(0, 1, 1, 128), (0, 0), 1.5)[None]
    sharper = Unsharp().restore(soft)
    assert cv2.Laplacian(sharper[0], cv2.CV_64F).std() > 1.2 * cv2.Laplacian(soft[0], cv2.CV_64F).std()
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    assert (Unsharp().restore(flat) == flat).all()
