"""What the run's settings say of the model reaches its loading."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.restore.iconface import load_face_model
from iconface_video.settings import RestoreSettings


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="shows what happens without the package")
def test_a_number_format_whose_package_is_missing_is_told():
    with pytest.raises(UsageError, match="quantize=nf4 needs the bitsandbytes package"):
        load_face_model(RestoreSettings(device="cpu", quantize="nf4"))


def test_the_format_that_is_asked_for_is_the_one_that_is_used():
    model = load_face_model(RestoreSettings(device="cpu", dtype="float32"))
    assert model.identity["format"] == str(torch.float32)
