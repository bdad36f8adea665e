"""What the run's settings say of the model reaches its loading."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from iconface_video.errors import UsageError
from iconface_video.restore.face_model import neighbours_of
from iconface_video.restore.iconface import IConFaceRestorer, load_face_model
from iconface_video.settings import RestoreSettings


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="shows what happens without the package")
def test_a_number_format_whose_package_is_missing_is_told():
    with pytest.raises(UsageError, match="quantize=nf4 needs the bitsandbytes package"):
        load_face_model(RestoreSettings(device="cpu", quantize="nf4"))


def test_the_format_that_is_asked_for_is_the_one_that_is_used():
    model = load_face_model(RestoreSettings(device="cpu", dtype="float32"))
    assert model.identity["format"] == str(torch.float32)


def test_a_restorer_looks_at_the_neighbours_that_its_settings_want():
    """However it was made: whoever brings a loaded network gets them, too."""
    whole = load_face_model(RestoreSettings(device="cpu"))
    alone = IConFaceRestorer(whole.network, RestoreSettings(neighbours=0))
    again = IConFaceRestorer(whole.network, RestoreSettings(neighbours=2))
    assert [neighbours_of(model) for model in (whole, alone, again, object())] == [3, 0, 2, 0]
    with pytest.raises(ValueError, match="looks at no neighbours"):
        alone.fuse([np.zeros((64, 64, 3), np.uint8)] * 3)
