"""A difference is put on a model and taken off without a trace."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from iconface_video.models.embedded import as_cascade
from iconface_video.personalize.difference import Factors, LowRank, Wearer, attach, learnt_factors, target_weights
from iconface_video.personalize.person_weights import weights_hash
from iconface_video.personalize.recipe import COARSE_DECODER


def random_factors(model: nn.Module, names: list[str], rank: int = 4, size: float = 0.05) -> dict[str, Factors]:
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name in names:
        rows, columns = model.get_parameter(name).flatten(1).shape
        up, down = (torch.randn(shape, generator=generator) * size for shape in ((rows, rank), (rank, columns)))
        made[name] = Factors(up.half(), down.half())
    return made


def test_only_the_coarse_decoder_is_learnt(model):
    for which, start in ((model, "autoencoder."), (as_cascade(model), "autoencoder.coarse.")):
        names = target_weights(which, COARSE_DECODER)
        assert len(names) > 20
        assert all(name.startswith(start) for name in names)
        assert not any(part in name for name in names for part in ("refiner", "encoder.stages", "to_tokens", "transformer."))


def test_taken_off_the_weights_are_the_same_to_the_bit(model):
    names = target_weights(model, COARSE_DECODER)
    before = weights_hash(model)
    wearer = Wearer(model)
    begun = time.perf_counter()
    wearer.put_on(random_factors(model, names))
    assert time.perf_counter() - begun < 1
    assert weights_hash(model) != before
    wearer.put_on(random_factors(model, names), 0.5)  # instead of the first, not on top of it
    wearer.take_off()
    assert weights_hash(model) == before


def test_strength_scales_the_difference():
    model = nn.Sequential(nn.Conv2d(16, 16, 3, bias=False), nn.Linear(16, 20))
    factors = random_factors(model, ["0.weight", "1.weight"])
    own = model[0].weight.detach().clone()
    wearer = Wearer(model)
    moved = []
    for strength in (0.0, 0.5, 1.0):
        wearer.put_on(factors, strength)
        moved.append(model[0].weight.detach() - own)
    assert not moved[0].any()
    torch.testing.assert_close(moved[2], factors["0.weight"].product().view_as(own), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(2 * moved[1], moved[2], atol=1e-6, rtol=1e-4)


def test_what_was_learnt_acts_as_it_did_while_learning():
    torch.manual_seed(0)
    base, learner = (nn.Sequential(nn.Conv2d(16, 32, 3), nn.Conv2d(32, 3, 3)) for _ in range(2))
    learner.load_state_dict(base.state_dict())
    picture = torch.randn(1, 16, 8, 8)
    names = target_weights(base, r".*\.weight")
    assert names == ["0.weight"]  # a head of three rows gets none
    differences = attach(learner, names, 4, torch.Generator().manual_seed(0))
    assert torch.equal(learner(picture), base(picture))
    with torch.no_grad():
        differences["0.weight"].up.normal_(std=0.1)
    Wearer(base).put_on(learnt_factors(differences))
    torch.testing.assert_close(base(picture), learner(picture), atol=5e-3, rtol=0)
    assert [name for name, weight in learner.named_parameters() if weight.requires_grad] == [
        "0.parametrizations.weight.0.up",
        "0.parametrizations.weight.0.down",
    ]


@pytest.mark.parametrize("shape", [(64, 16, 3, 3), (16, 64), (128, 32, 1, 1)])
def test_the_down_matrix_is_orthogonal_and_scaled_to_the_weight(shape):
    down = LowRank(torch.zeros(shape), 8, torch.Generator().manual_seed(0)).down.detach()
    rows, columns = shape[0], down.shape[1]
    torch.testing.assert_close(down @ down.T, torch.eye(8) * max(rows, columns) / rows, atol=1e-4, rtol=1e-4)
