"""The wire-format edit that frees the network's input size."""

from __future__ import annotations

import onnxruntime
import pytest

from iconface_video.faces.detector import find_model
from iconface_video.faces.onnx_shape import free_picture_size


def test_onnxruntime_reads_the_edited_network_as_free_in_size():
    """The runtime's own reading is the judge: one input of free size, all four maps still there."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        free_picture_size(find_model().read_bytes()), options, providers=["CPUExecutionProvider"]
    )
    (picture,) = session.get_inputs()
    assert picture.shape == ["batch", 3, "height", "width"]
    assert [item.name for item in session.get_outputs()] == ["537", "538", "539", "540"]


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x3a\x7f", b"\xff" * 40], ids=["empty", "text", "cut off", "noise"])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(ValueError, match=r"not an ONNX model|exactly one picture input"):
        free_picture_size(data)
