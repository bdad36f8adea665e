from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iconface_video.models.attention import ReferenceTokens, reference_bias, reference_slots
from iconface_video.models.local_attention import ReferenceAttention
from tests.models.tiny_models import tiny_transformer

Draw = Callable[..., Tensor]


def test_slots_repeat_and_weights_share_what_was_trained_for() -> None:
    assert reference_slots(5, 3).tolist() == [0, 1, 2, 0, 1]
    present = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])
    bias = reference_bias(present, 3)
    torch.testing.assert_close(bias[0], torch.full((5,), math.log(3 / 5)))
    assert bias[1].tolist() == [0, 0, -math.inf, -math.inf, -math.inf]
    assert bias[2].tolist() == [-math.inf] * 5


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_references_given_twice_are_worth_the_same_as_given_once(draw: Draw, causal: bool, autocast: bool) -> None:
    model = tiny_transformer(causal=causal)  # for at most three references
    references = draw(2, 3, 4, 12)
    given = (draw(2, 16, 12), torch.tensor([0.4, 0.9]), draw(1, 5, 24), (4, 4))
    identity, degraded = F.normalize(draw(2, 512)), draw(2, 16, 12)

    def run(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast), torch.no_grad():
            return model(*given, degraded=degraded, references=ReferenceTokens(tokens, (2, 2), mask), identity=identity).float()

    once, twice = run(references), run(torch.cat([references, references], 1))
    tolerance = 0.05 if autocast else 1e-4
    torch.testing.assert_close(twice, once, rtol=tolerance, atol=tolerance)
    more = run(torch.cat([references, draw(2, 2, 4, 12)], 1))
    assert (more - once).abs().max() > 1e-3
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    mixed = run(torch.cat([references, draw(2, 2, 4, 12)], 1), mask)
    torch.testing.assert_close(mixed[1], once[1], rtol=tolerance, atol=tolerance)


def test_shared_references_are_prepared_once_and_mean_the_same():
    """One context for the whole batch (a view, tiles made once) beside equal copies of it (each with tiles of its own)."""
    torch.manual_seed(0)
    layer = ReferenceAttention(width=16, channels=16, heads=2, window=5, detail=8, finer_width=4)
    torch.nn.init.normal_(layer.to_out.weight)
    torch.nn.init.normal_(layer.to_finer.weight)
    query, stored = torch.randn(3, 16, 8, 8), torch.randn(1, 2, 40, 8, 8)
    shared = layer(query, stored.expand(3, -1, -1, -1, -1))
    for found, wanted in zip(shared, layer(query, stored.repeat(3, 1, 1, 1, 1))):
        torch.testing.assert_close(found, wanted)
        assert found.abs().max() > 0.1
